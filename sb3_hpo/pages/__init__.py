"""The report of a study as pages: `report.md` for a terminal, `report.html` with pictures."""

from sb3_hpo.pages.assemble import PAGE, make_sections, plotly_js, write_pages

__all__ = ["PAGE", "make_sections", "plotly_js", "write_pages"]
