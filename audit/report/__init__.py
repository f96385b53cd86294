"""The report of a build: one HTML page that needs nothing else, and in which nothing from the web can act.

`page` puts it together from the templates beside it, and reads the first screen; `balance`, `captions`, `gallery`,
`classes` and `probes` read the facts of the other sections from the ledger; `figures` draws.
"""

from evenly.audit.report.page import read_sources, render_report, report_code, standing_of

__all__ = ["read_sources", "render_report", "report_code", "standing_of"]
