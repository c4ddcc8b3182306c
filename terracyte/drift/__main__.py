"""`python -m terracyte.drift`: `terracyte drift` where the command is not installed."""

from terracyte.drift.command import main
from terracyte.errors import guarded

guarded(main)
