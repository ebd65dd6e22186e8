"""What to run: one typed configuration for the command line, YAML files and Python.

- `fields`: what an option can be, and how a field is declared
- `training_config`: what one training run needs
- `study_config`: what a study adds to that
- `command_line`: flags and YAML files, and who wins
"""

__all__ = ["command_line", "fields", "study_config", "training_config"]
