"""What to run: one typed configuration for the command line, YAML files and Python.

- `fields`: what an option can be, and how a field is declared
- `training_config`: what one training run needs
- `reevaluation_config`: what training it again from fresh seeds adds
- `search_config`: what a search is
- `study_config`: a study, which has all three
- `validation`: plain values made one of these
- `command_line`: flags and YAML files, and who wins
"""

__all__ = [
    "command_line",
    "fields",
    "reevaluation_config",
    "search_config",
    "study_config",
    "training_config",
    "validation",
]
