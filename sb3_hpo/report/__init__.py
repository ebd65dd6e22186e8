"""The answer, printed and written; nothing here trains.

- `deliver`: prints the answer and writes all that a user takes home
- `terminal`: the answer in words
- `pages`: `report.md` and `report.html`
- `figures`: their pictures
- `advice`: what to do next
- `__main__`: the command `python -m sb3_hpo.report`
"""

__all__ = ["advice", "deliver", "pages", "terminal"]
