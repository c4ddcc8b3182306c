"""How fast this machine computes, so that the trainings proposed for it take minutes."""

import time

import numpy as np

_REFERENCE = 80e9  # multiplications and additions per second of one core of the server whose rates `proposal` holds
_EDGE, _PRODUCTS = 1024, 4


def relative_speed() -> float:
    """Return a core's speed in matrix products relative to the server's, rounded to a power of 2 from 1/8 to 8.

    The processor time of all threads counts, so that the number of cores does not matter.
    """
    matrix = np.ones((_EDGE, _EDGE), np.float32)
    matrix @ matrix  # the first product starts the threads
    start = time.process_time()
    for _ in range(_PRODUCTS):
        matrix @ matrix
    operations = 2 * _PRODUCTS * _EDGE**3 / (time.process_time() - start)
    return float(2 ** np.clip(np.rint(np.log2(operations / _REFERENCE)), -3, 3))
