"""Hypothesis' profiles: few and always the same examples in `make test`, many and new ones in `make fuzz`."""

from hypothesis import settings

settings.register_profile("few", max_examples=40, derandomize=True, database=None, deadline=None)
settings.register_profile("many", max_examples=5000, derandomize=False, database=None, deadline=None)
settings.load_profile("few")
