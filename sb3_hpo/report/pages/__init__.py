"""The report of a study as pages: `report.md` for a terminal, `report.html` with pictures.

- `assemble`: all sections, written
- `document`: a report as data: sections of tables, lists and pictures
- `answer`: sections about the answer, race and test
- `costs`: sections about cost, settings, seeds and search space
- `markdown`, `html`: the two ways in which a document is written
"""

__all__ = ["assemble"]
