"""One page that says what a run did: where the pages went, what the models learnt, and what made them.

`stage.py` is the stage. `collect.py` reads the lineage of an evaluation into the typed `ReportData` of `data.py`;
`render.py` turns that into HTML (`report.html.jinja`, `style.css.jinja`) with the drawings of `charts.py` and
`graph.py`; `funnel.py` also serves the tables that Prefect shows.
"""

from tasks.report.stage import ReportParams, report

__all__ = ["ReportParams", "report"]
