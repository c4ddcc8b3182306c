"""MLflow, the record of runs; no other package imports mlflow.

DVC's outputs stay the truth: a lost, broken or half-written record is made again by `reconcile`. `registry` is not
imported here, so that no training depends on it.
"""

from terracyte.tracking.report import CURRENT, log_report, page
from terracyte.tracking.runs import LiveRun, measured, reconcile, training_run
from terracyte.tracking.studies import log_study

__all__ = ["CURRENT", "LiveRun", "log_report", "log_study", "measured", "page", "reconcile", "training_run"]
