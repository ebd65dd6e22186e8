"""The report of a study as pages: `report.md` for a terminal, `report.html` with pictures."""

from sb3_hpo.pages.assemble import make_sections, plotly_js, write_pages

__all__ = ["make_sections", "plotly_js", "write_pages"]
