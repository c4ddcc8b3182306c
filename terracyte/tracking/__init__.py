"""MLflow, the record of runs.

DVC's outputs stay the truth: `reconcile` makes a lost, broken or half-written record again, in whichever store is used.
"""

from terracyte.tracking.report import log_report
from terracyte.tracking.runs import CLUSTER, LIVE, LiveRun, check, has_finished, reconcile, training_run
from terracyte.tracking.studies import log_study

__all__ = [
    "CLUSTER",
    "LIVE",
    "LiveRun",
    "check",
    "has_finished",
    "log_report",
    "log_study",
    "reconcile",
    "training_run",
]
