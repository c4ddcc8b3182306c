"""Terracyte: two image challenges as one experiment-tracked pipeline.

Every tool that could phone home or chatter is told not to, before it is imported; what the user has set stays.

Ctrl-C is one line from here on, while the first modules are imported, too: `core.errors.guarded` begins after that.
"""

import os
import sys
from types import TracebackType

__version__ = "0.2.0"

_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # MLflow, and the server that `terracyte ui` starts
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # a server that does not answer is reported within seconds, not after the default of minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # its processes work for language models only
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show
