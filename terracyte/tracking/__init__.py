"""Records runs in MLflow.

DVC's outputs remain the source of truth: `reconcile` restores a lost, broken or incomplete record in any store.
"""

from terracyte.tracking.report import log_report
from terracyte.tracking.runs import CLUSTER, check, has_finished, reconcile, training_run
from terracyte.tracking.studies import log_study

__all__ = [
    "CLUSTER",
    "check",
    "has_finished",
    "log_report",
    "log_study",
    "reconcile",
    "training_run",
]
