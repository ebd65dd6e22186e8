"""The answer in the forms that others read.

- `recipe`: what is needed to train a configuration again; `best.yaml`
- `script`: a script that trains it with SB3 alone; `train_best.py`
- `zoo_entry`: an entry for RL Zoo; `zoo.yml`
- `python_source`: Python source from plain values
"""

__all__ = ["recipe", "script", "zoo_entry"]
