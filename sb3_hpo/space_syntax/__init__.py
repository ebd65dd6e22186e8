"""What a search-space file may say.

- `entries`: a range, choices or a constant
- `hydra`: the same in the words of Hydra's Optuna sweeper
- `yaml_files`: YAML files, read into `argument: entry`
"""

__all__ = ["entries", "hydra", "yaml_files"]
