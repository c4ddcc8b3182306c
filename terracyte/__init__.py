"""Terracyte: two image challenges as one experiment-tracked pipeline.

Every tool that could phone home or chatter is told not to, before it is imported.
"""

import os

__version__ = "0.1.0"

_QUIET = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)
