"""Randomness: a seed is a function of names, so that a new method or task shifts nobody else's numbers.

There is no global generator anywhere. Work draws from ``numpy.random.Generator(numpy.random.PCG64(seed))`` or a
``torch.Generator`` made from one of these seeds, and per sample from ``seed(trial seed, epoch, index)``.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from harness.identity import canonical_json, digest


def seed(*names: str | int | float) -> int:
    """Return a 63-bit seed that depends on the names, their order and their types only.

    Args:
        names: The path of what is to be drawn, e.g. ``(base_seed, "trial", "moco_v2", "montgomery", 0, 3, "init")``.

    Example:
        >>> seed(2022, "trial", "moco_v2", "montgomery", 0, 3, "init")
        4185895083106306962
        >>> seed(2022, "a") == seed(2022, "a"), seed(2022, "a", "b") == seed(2022, "b", "a")
        (True, False)
    """
    return int(digest(["seed", *names])[:16], 16) >> 1


class SeedsBelow:
    """Seeds whose first names are the same: what they share is hashed once.

    Example:
        >>> below = SeedsBelow(2022, "trial")
        >>> below.seed("moco_v2", 0) == seed(2022, "trial", "moco_v2", 0)
        True
    """

    def __init__(self, *names: str | int | float) -> None:
        """Hash the first names."""
        self._begun = hashlib.sha256(b'["seed"')  # canonical JSON of a list
        self._begun.update("".join(f",{canonical_json(name)}" for name in names).encode())

    def seed(self, *names: str | int | float) -> int:
        """Return ``seed`` of the first names and of these; at least one."""
        return self.of(",".join(map(canonical_json, names)))

    def of(self, written: str) -> int:
        """Return ``seed`` of the first names and of others, given as canonical JSON with commas between."""
        return self.after(f",{written}]".encode())

    def after(self, rest: bytes) -> int:
        """Return the same of ``,`` and the others as ``of`` takes them and ``]``, as bytes: for many, made once."""
        whole = self._begun.copy()
        whole.update(rest)
        return int.from_bytes(whole.digest()[:8]) >> 1


@lru_cache(maxsize=4096)  # every method asks for the same
def subset_seed(base_seed: int, task: str, repeat: int | None) -> int:
    """Return the seed of the one permutation of training units that every label fraction takes a prefix of.

    Args:
        base_seed: From ``params.yaml``.
        task: Task name. The method is left out on purpose: all methods see the same labels.
        repeat: Given only under ``subset: per_repeat``.

    Example:
        >>> subset_seed(2022, "montgomery", None) == subset_seed(2022, "montgomery", 0)
        False
    """
    return seed(base_seed, "subset", task) if repeat is None else seed(base_seed, "subset", task, repeat)
