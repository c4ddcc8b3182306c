"""The report as a run of the task's experiment, and where the UI lists the current runs."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from terracyte.tracking.client import all_runs, connected, experiment_id

CURRENT = "tags.status = 'current'"  # what finds the declared runs in the UI's search field

_REPORT = "report"


def log_report(task: str, pages: Sequence[Path]) -> None:
    """Keep the files of the latest report as artifacts of the experiment's one run `report`.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        experiment = experiment_id(client, task)
        existing = [run for run in all_runs(client, experiment) if run.data.tags.get("kind") == _REPORT]
        tags = {"kind": _REPORT, "status": "current"}
        run = existing[0] if existing else client.create_run(experiment, run_name=_REPORT, tags=tags)
        for page in pages:
            client.log_artifact(run.info.run_id, str(page))
        client.set_terminated(run.info.run_id)


def page(task: str) -> str:
    """Where the UI lists the task's current runs: the part of the address after the host.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        query = urlencode({"workflowType": "machine_learning", "searchFilter": CURRENT}, quote_via=quote)
        return f"/#/experiments/{experiment_id(client, task)}/runs?{query}"
