"""Uniform numbers that are a function of (seed, epoch, sample, position): no generator, no order, no worker.

SplitMix64 (Steele, Lea, Flood 2014) is used as a hash of a counter, so a batch's numbers come out of one vectorised
expression, and are the same whichever process asks for them and in whatever order.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser; wraps modulo 2⁶⁴ by design."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def sample_seeds(seed: int, epochs: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return a 64-bit seed per (epoch, sample), uint64 ``(B,)``."""
    with np.errstate(over="ignore"):
        state = _mix(np.full(len(samples), seed, np.uint64) + _GOLDEN)
        state = _mix(state + (np.asarray(epochs).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
        return _mix(state + (np.asarray(samples).astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniforms(seed: int, epochs: np.ndarray, samples: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` numbers in [0, 1) per (epoch, sample), float64 ``(B, count)``."""
    with np.errstate(over="ignore"):
        state = sample_seeds(seed, epochs, samples)[:, None]
        drawn = _mix(state + np.arange(1, count + 1, dtype=np.uint64)[None, :] * _GOLDEN)
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
