"""How fast this machine computes, so that what is proposed for it takes minutes."""

import time

import numpy as np

_REFERENCE = 80e9  # multiplications and additions per second, of a core of the server that `proposal` measured on
_EDGE, _PRODUCTS = 1024, 4


def relative_speed() -> float:
    """A core's speed in products of matrices, against the server's, as a power of 2: a proposal says no more.

    What all threads of the process took is counted, so that the number of cores has no say.
    """
    matrix = np.ones((_EDGE, _EDGE), np.float32)
    matrix @ matrix  # the first product starts the threads
    start = time.process_time()
    for _ in range(_PRODUCTS):
        matrix @ matrix
    operations = 2 * _PRODUCTS * _EDGE**3 / (time.process_time() - start)
    return float(2 ** np.clip(np.rint(np.log2(operations / _REFERENCE)), -3, 3))
