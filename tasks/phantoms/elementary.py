"""Elementary functions whose single-precision results do not depend on the processor.

numpy has its own code for ``exp``, ``tanh``, ``power`` and the like for each width of vector unit, and in single
precision the last bit differs from one to the next: enough to turn grey values of a phantom. In double precision they
differ by one part in 10^16 or so; rounded to single precision afterwards, all but about one value in 10^8 is the same
everywhere, and of those one in 10^4 could turn a grey value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike


def exp(x: ArrayLike) -> np.ndarray:
    """Return e to the power of ``x``, in the precision of ``x``."""
    return _by_double(np.exp, x)


def tanh(x: ArrayLike) -> np.ndarray:
    """Return the hyperbolic tangent, in the precision of ``x``."""
    return _by_double(np.tanh, x)


def sin(x: ArrayLike) -> np.ndarray:
    """Return the sine of radians, in the precision of ``x``."""
    return _by_double(np.sin, x)


def cos(x: ArrayLike) -> np.ndarray:
    """Return the cosine of radians, in the precision of ``x``."""
    return _by_double(np.cos, x)


def arctan2(y: ArrayLike, x: ArrayLike) -> np.ndarray:
    """Return the angle of (x, y) in radians, in the precision of its arguments."""
    return _by_double(np.arctan2, y, x)


def power(x: ArrayLike, exponent: ArrayLike) -> np.ndarray:
    """Return ``x`` to a power, in the precision of its arguments."""
    return _by_double(np.power, x, exponent)


def _by_double(function: Callable[..., np.ndarray], *given: ArrayLike) -> np.ndarray:
    """Apply a function in double precision and round the result to the arguments' own."""
    found = function(*(np.asarray(value, np.float64) for value in given))
    return found.astype(np.result_type(*given)) if isinstance(found, np.ndarray) else found
