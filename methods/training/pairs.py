"""Where the second view of a pair comes from: the same image, or another of its class."""

from __future__ import annotations

import numpy as np

from harness.seeding import seed


class Pairs:
    """For each image, the image its key is a view of.

    Without classes it is the image itself. With them it is drawn uniformly, anew in each epoch, from the *other*
    images of the class among the candidates (DiRA §3.1: "two samples from the same cluster"); an image alone in its
    class, or without one, is paired with itself.
    """

    def __init__(self, candidates: np.ndarray, classes: np.ndarray | None = None) -> None:
        """Group the candidates.

        Args:
            candidates: Rows that may be chosen: those of one split, so that no pair crosses it.
            classes: Class of every row of the cohort, as text; "" for none. None pairs every image with itself.
        """
        self._classes = classes
        self._members: dict[str, np.ndarray] = {}
        if classes is not None:
            for name in np.unique(classes[candidates]):
                if name:
                    self._members[str(name)] = candidates[classes[candidates] == name]

    def of(self, rows: np.ndarray, stream_seed: int, epoch: int) -> np.ndarray:
        """Return the partner of each row, int64 ``(B,)``; a function of (seed, epoch, row) alone."""
        if self._classes is None:
            return rows
        chosen = rows.copy()
        for position, row in enumerate(rows.tolist()):
            members = self._members.get(str(self._classes[row]), rows[:0])
            others = members[members != row]
            if len(others):
                draw = np.random.Generator(np.random.PCG64(seed(stream_seed, "pair", epoch, row)))
                chosen[position] = others[draw.integers(len(others))]
        return chosen
