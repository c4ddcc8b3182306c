"""`python -m terracyte.drift`: `terracyte drift` where the command is not installed."""

from terracyte.core.errors import guarded
from terracyte.drift.command import main

guarded(main)
