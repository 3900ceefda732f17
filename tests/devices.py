"""The device that tests marked ``gpu`` compute on.

A CUDA device unless ``DIRA_BENCH_TEST_DEVICE`` names another: with ``cpu`` the tests themselves are shown to work on a
machine without one.
"""

import os

import pytest
import torch

DEVICE = os.environ.get("DIRA_BENCH_TEST_DEVICE", "cuda:0")
ABSENT = DEVICE.startswith("cuda") and not torch.cuda.is_available()


def on_device(test):
    """Mark a test as one of the device; it is skipped where the device is absent."""
    skipped = pytest.mark.skipif(ABSENT, reason=f"found no {DEVICE}; DIRA_BENCH_TEST_DEVICE names another device")
    return pytest.mark.gpu(skipped(test))
