"""A storage looked into, and what is wrong with it repaired.

- `__main__`: the command `python -m sb3_hpo.doctor`
- `contents`: what is in a storage
- `journal_faults`: what is wrong with a journal file
- `journal_file`: a journal file, read without changing it
- `journal_repair`: what can be kept of a damaged one
- `stuck_trials`: running trials of this machine whose worker is gone
"""
