"""Randomness: a seed is a function of names, so that a new method or task shifts nobody else's numbers.

There is no global generator anywhere. Work draws from ``numpy.random.Generator(numpy.random.PCG64(seed))`` or a
``torch.Generator`` made from one of these seeds, and per sample from ``seed(trial seed, epoch, index)``.
"""

from __future__ import annotations

from harness.identity import digest


def seed(*names: str | int | float) -> int:
    """Return a 63-bit seed that depends on the names, their order and their types only.

    Args:
        names: The path of what is to be drawn, e.g. ``(base_seed, "trial", "moco_v2", "montgomery", 0, 3, "init")``.
    """
    return int(digest(["seed", *names])[:16], 16) >> 1


def subset_seed(base_seed: int, task: str, repeat: int | None) -> int:
    """Return the seed of the one permutation of training units that every label fraction takes a prefix of.

    Args:
        base_seed: From ``params.yaml``.
        task: Task name. The method is left out on purpose: all methods see the same labels.
        repeat: Given only under ``subset: per_repeat``.
    """
    return seed(base_seed, "subset", task) if repeat is None else seed(base_seed, "subset", task, repeat)
