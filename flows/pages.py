"""The HTML pages among the artifacts: where each can be opened, and how Prefect shows it.

`sluice serve` answers `/<stage>/<version>` on loopback and tells its runs the address by `SLUICE_REPORTS_URL`; without
a server a page is opened as a file.
"""

import os
from pathlib import Path

from infra.store import Artifact

# stage -> its page
PAGES = {"report": "report.html", "curation-report": "curation.html", "scaling-fit": "scaling.html"}
ADDRESS_VARIABLE = "SLUICE_REPORTS_URL"


def page_link(artifact: Artifact) -> str:
    """Where to open an artifact's page: the address `sluice serve` gives its runs, else the file itself."""
    base = os.environ.get(ADDRESS_VARIABLE)
    if base:
        return f"{base}/{artifact.stage}/{artifact.version}"
    return Path(artifact.file(PAGES[artifact.stage])).as_uri()


def show_page(artifact: Artifact) -> None:
    """Show a page's link and the funnel of its lineage on the run's page in Prefect."""
    from prefect.artifacts import create_markdown_artifact

    from tasks.report.funnel import funnel_markdown

    funnel = funnel_markdown([one.manifest for one in artifact.ancestors()])
    link = page_link(artifact)
    create_markdown_artifact(
        f"[Open the report]({link})\n\n{funnel}", key=artifact.stage, description=f"Funnel and [report]({link})"
    )
