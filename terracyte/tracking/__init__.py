"""MLflow, the record of runs; no other package imports mlflow.

DVC's outputs stay the truth: a lost, broken or half-written record is made again by `reconcile`.
"""

from terracyte.tracking.report import log_report
from terracyte.tracking.runs import CLUSTER, LIVE, LiveRun, check, measured, reconcile, training_run
from terracyte.tracking.studies import log_study

__all__ = ["CLUSTER", "LIVE", "LiveRun", "check", "log_report", "log_study", "measured", "reconcile", "training_run"]
