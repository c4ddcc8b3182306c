"""Logs the report as a run of the task's experiment."""

from collections.abc import Sequence
from pathlib import Path

from terracyte.tracking.client import all_runs, connected, experiment_id, set_tags, terminate

_REPORT = "report"


def log_report(task: str, pages: Sequence[Path]) -> None:
    """Log the latest report's files as artifacts of the experiment's only `report` run, which links to the first file.

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
        address = f"#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/{pages[0].name}"
        set_tags(client, run, {"mlflow.note.content": f"[The report page]({address}) with all tables and figures"})
        terminate(client, run)
