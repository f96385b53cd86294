"""The report of a build: one HTML page that needs nothing else, and in which nothing from the web can act.

`page` puts it together from the templates beside it; `funnel`, `balance`, `scores`, `gallery`, `adapters` and
`descriptions` read one section each from the ledger; `figures` draws, `thumbnails` makes small pictures.
"""

from evenly.audit.report.page import read_sources, render_report, report_code

__all__ = ["read_sources", "render_report", "report_code"]
