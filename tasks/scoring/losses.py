"""What fine-tuning minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy over cases and classes, of the cells of weight 1 where weights are given."""
    if weights is None:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)
    cells = F.binary_cross_entropy_with_logits(logits.float(), labels, weights, reduction="sum")
    return cells / weights.sum().clamp(min=1.0)


def dice_sums(logits: Tensor, masks: Tensor) -> Tensor:
    """Return (Σ p·g, Σ p + Σ g) over a batch, float32 ``(2,)``; sums of batches add up."""
    probability = torch.sigmoid(logits.float())
    return torch.stack([(probability * masks).sum(), probability.sum() + masks.sum()])


def soft_dice(sums: Tensor, smooth: float) -> Tensor:
    """Return 1 − (2 Σ p·g + smooth) / (Σ p + Σ g + smooth), over a whole batch at once as the authors do.

    Args:
        sums: Of one batch ``(2,)``, or of several ``(2, G)``.
        smooth: Added above and below the line.

    Returns:
        A scalar, or ``(G,)``.
    """
    return 1.0 - (2.0 * sums[0] + smooth) / (sums[1] + smooth)
