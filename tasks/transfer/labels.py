"""Which labels are trained and which are scored, and what an uncertain cell (−1) stands for. No torch.

Policies, of the authors' code and of Irvin et al. 2019:

* ``ones``, ``zeros``: 1 or 0;
* ``lsr_ones``, ``lsr_zeros``: label smoothing, a number drawn from U(0.55, 0.85) or U(0, 0.3) for each sample, epoch
  and class, from the trial's augmentation seed (the authors' draws are unseeded);
* ``ignore``: left out of the loss.

For validation the smoothed ones are their means, 0.70 and 0.15: a loss that is drawn anew is noisier.
Empty cells are 0 under every policy, as the authors read them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import DataError
from harness.metrics.ranking import auc_by_class
from harness.seeding import seed
from tasks.inputs.draws import uniforms
from tasks.specs import ClassificationSpec

UNCERTAIN = -1
RANGES = {"ones": (1.0, 1.0), "zeros": (0.0, 0.0), "lsr_ones": (0.55, 0.85), "lsr_zeros": (0.0, 0.3)}


def trained_labels(labels: Sequence[str], transfer: ClassificationSpec, task: str) -> list[str]:
    """Return the labels that have an output: all, or those scored if the entry has only as many outputs.

    Raises:
        DataError: If the entry's outputs are neither number, or a label to score is none of the data set's.
    """
    scored = list(transfer.scored_labels or ())
    missing = [name for name in scored if name not in labels]
    if missing:
        raise DataError(
            f"{task} is to be scored on {', '.join(missing)}; its cohort has {', '.join(labels)}; correct scored_labels"
        )
    if transfer.outputs == len(labels):
        return list(labels)
    if scored and transfer.outputs == len(scored):
        return scored
    also = f" (or {len(scored)}, the scored ones)" if scored else ""
    raise DataError(
        f"the cohort of {task} has {len(labels)} labels{also}; its entry says outputs: {transfer.outputs}; "
        "make them agree"
    )


def scored_columns(names: Sequence[str], transfer: ClassificationSpec) -> list[int]:
    """Return which outputs are scored, in the order of the outputs."""
    scored = transfer.scored_labels or names
    return [column for column, name in enumerate(names) if name in scored]


def require_policy(states: np.ndarray, transfer: ClassificationSpec, task: str) -> None:
    """Refuse uncertain cells without a policy for them.

    Raises:
        DataError: If there are any and the transfer has no ``uncertain``.
    """
    if transfer.uncertain is None and (states == UNCERTAIN).any():
        raise DataError(
            f"the cohort of {task} has uncertain labels and its transfer no policy for them; expected one of "
            f"{', '.join((*RANGES, 'ignore'))}; write options: {{transfer: {{uncertain: lsr_ones}}}} in its entry"
        )


def training_targets(
    states: np.ndarray, policy: str | None, augment_seed: int, epochs: np.ndarray, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what a batch is trained towards.

    Args:
        states: 1, 0 or −1, float32 ``(B, C)``.
        policy: See the module; None where there are no uncertain cells.
        augment_seed: ``TrialSpec.seeds.augment``.
        epochs: Epoch of each sample, int ``(B,)``.
        samples: Which sample each is, int ``(B,)``.

    Returns:
        Targets in [0, 1], float32 ``(B, C)``, and weights of the cells, or None if all count.
    """
    unsure = states == UNCERTAIN
    if policy is None:
        return states, None
    if policy == "ignore":
        return np.where(unsure, np.float32(0), states), (~unsure).astype(np.float32)
    low, high = RANGES[policy]
    if low == high or not unsure.any():
        return np.where(unsure, np.float32(low), states), None
    drawn = low + (high - low) * uniforms(seed(augment_seed, "uncertain"), epochs, samples, states.shape[1])
    return np.where(unsure, drawn.astype(np.float32), states), None


def validation_targets(states: np.ndarray, policy: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return fixed targets for validation, and weights; see ``training_targets``."""
    unsure = states == UNCERTAIN
    if policy is None:
        return states, None
    if policy == "ignore":
        return np.where(unsure, np.float32(0), states), (~unsure).astype(np.float32)
    return np.where(unsure, np.float32(sum(RANGES[policy]) / 2), states), None


def validation_auc(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the area under the ROC curve of each class, float64 ``(C,)``; a smoothed target counts as its nearer side.

    Cells of weight 0 are left out.
    """
    positive = targets > 0.5
    if weights is None:
        return auc_by_class(positive, scores)
    known = weights > 0
    classes = range(targets.shape[1])
    return np.array(
        [auc_by_class(positive[known[:, c], c : c + 1], scores[known[:, c], c : c + 1])[0] for c in classes]
    )
