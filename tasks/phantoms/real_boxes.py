"""Findings painted where true boxes say, into projections of a real scan."""

from __future__ import annotations

import numpy as np

from tasks.phantoms.elementary import power
from tasks.phantoms.findings import Painter
from tasks.phantoms.thorax import smooth_step


class RealPainter(Painter):
    """Paints what the analytic thorax draws by its shape, and what its box must hold."""

    def paint(self, label: str, rows: np.ndarray) -> None:
        """Paint one finding into some images, within its true box where there is one."""
        boxed = np.array([(int(row), label) in self.given for row in rows], bool)
        t = self.thorax
        if label == "Emphysema":
            t.depth[rows] -= 0.10 * self.strength * smooth_step(t.lung[rows] / 0.01)
        elif label == "Cardiomegaly":
            for row in rows[~boxed]:  # the heart's own shadow, larger
                t.depth[row] += 0.14 * self.strength * smooth_step((t.heart[row] + 0.035) / 0.01)
            self._fill(label, rows[boxed], 0.16)
        elif label in ("Effusion", "Pneumothorax"):
            super().paint(label, rows[~boxed])
            self._fill(label, rows[boxed], 0.30 if label == "Effusion" else -0.20)
        else:
            super().paint(label, rows)

    def _fill(self, label: str, rows: np.ndarray, contrast: float) -> None:
        """Fill true boxes with a soft-edged shadow; air stays within the chest wall."""
        t = self.thorax
        for row in rows:
            x, y, width, height = self.given[int(row), label]
            across = np.abs(t.u[row] - (x + width / 2 - 0.5)) / (width / 2)
            down = np.abs(t.v[row] - (y + height / 2 - 0.5)) / (height / 2)
            shadow = smooth_step((1.0 - power(power(across, 3) + power(down, 3), 1 / 3)) / 0.06)
            t.depth[row] += contrast * self.strength * shadow * smooth_step((t.wall[row] + 0.01) / 0.01)
