"""Saved views of a task's runs in MLflow's UI: what they find, in which order, with which columns."""

import base64
import dataclasses
import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from terracyte.tracking.client import all_runs, connected, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

CURRENT = "tags.status = 'current'"  # what finds the declared runs in the UI's search field

_TAG = "mlflow.sharedViewState."
_COMPRESSED = "deflate;"


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What the UI's menu "Views" offers.

    Attributes:
        key: part of its address.
        name: in the menu.
        search: what finds its runs.
        order: the metric by which they are sorted, highest first.
        columns: such as "metrics.`test_accuracy`", "params.`dropout`"; from left to right.
    """

    key: str
    name: str
    search: str
    order: str
    columns: tuple[str, ...]


def save_views(task: str, views: Sequence[View]) -> None:
    """Offer views of a task's runs; twice changes nothing.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        experiment = experiment_id(client, task)
        known = client.get_experiment(experiment).tags
        for number, view in enumerate(views):
            tag, value = f"{_TAG}{view.key}", _state(view, number)
            if known.get(tag) != value:
                client.set_experiment_tag(experiment, tag, value)


def page(task: str, key: str) -> str:
    """Where the UI shows a saved view: the part of the address after the host.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        query = urlencode({"workflowType": "machine_learning", "viewStateShareKey": key})
        return f"/#/experiments/{experiment_id(client, task)}/runs?{query}"


def comparison(task: str, variants: Sequence[str]) -> str | None:
    """Where the UI shows the current runs of some variants side by side; None where there are none to compare.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        experiment = experiment_id(client, task)
        runs = _current(client, experiment, variants)
    if len(runs) < 2:
        return None
    query = urlencode({"runs": json.dumps(runs), "experiments": json.dumps([experiment])}, quote_via=quote)
    return f"/#/compare-runs?{query}"


def _current(client: "MlflowClient", experiment: str, variants: Sequence[str]) -> list[str]:
    """Ids of the variants' current runs, in the order of the variants and their seeds."""
    found = [
        (variants.index(run.data.tags["variant"]), int(run.data.tags["seed"]), str(run.info.run_id))
        for run in all_runs(client, experiment)
        if run.data.tags.get("status") == "current" and run.data.tags.get("variant") in variants
    ]
    return [run_id for _, _, run_id in sorted(found)]


def _state(view: View, number: int) -> str:
    """What MLflow's UI keeps of a view, as MLflow 3.17 writes it; the number takes the place of its dates."""
    state = {
        "searchFilter": view.search,
        "orderByKey": f"metrics.`{view.order}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(view.columns),
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
        "groupBy": None,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": view.name, "createdAt": number, "updatedAt": number, "state": _COMPRESSED + packed})
