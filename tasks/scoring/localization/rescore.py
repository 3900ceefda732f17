"""Scores localization from what a trial stored, under any options: nothing is trained and no image is read.

``rescore(store.arrays(record), options)`` with the arrays of a trial's record. The trial itself is scored by the same
function from the same arrays, so the recorded value is what re-scoring under the recorded options gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigurationError, DataError
from harness.metrics.registered import LOCALIZATION_BOXES, localization
from tasks.localization_options import Localization
from tasks.scoring.localization.boxes import Boxes, Regions, best_overlaps

PREFIX = "localization_"
STORED = ("cams", "side", "class", "class_names", "image", "case", "logits", "rank", "positives", "boxes", "box_pair")


@dataclass(frozen=True)
class Scores:
    """What localization comes to.

    Attributes:
        accuracy: δ → share of units found, a fraction; NaN if the denominator is empty.
        by_class: Class → share found at each δ; only classes with a unit in the denominator.
        units: Class → units in the denominator.
        boxes: Mean number of predicted boxes of a pair, over the pairs in the denominator. Of several thresholds:
            their sum under ``both``, their mean otherwise.
        overlap: The largest overlap of each pair over thresholds, boxes and real boxes, float64 ``(P,)``.
        found: The predicted box that has it, x₀, y₀, x₁, y₁ in fractions of the view ``(P, 4)``; NaN without one.
    """

    accuracy: dict[float, float]
    by_class: dict[str, tuple[float, ...]]
    units: dict[str, int]
    boxes: float
    overlap: np.ndarray
    found: np.ndarray

    @property
    def values(self) -> dict[str, float]:
        """The values of a trial: ``localization_10``, …, ``localization_boxes``."""
        by_delta = {localization(delta).name: value for delta, value in self.accuracy.items()}
        return {**by_delta, LOCALIZATION_BOXES.name: self.boxes}


def has_localization(arrays: Mapping[str, object]) -> bool:
    """Tell whether a trial stored evidence maps."""
    return PREFIX + "cams" in arrays


def regions_of(arrays: Mapping[str, np.ndarray], options: Localization) -> Regions:
    """Return the boxes of a trial's maps, which do not depend on thresholds, their rule or the kind of overlap."""
    cams, side = np.asarray(arrays[PREFIX + "cams"]), int(arrays[PREFIX + "side"])
    return Regions(cams, side, options.connectivity, options.component)


def rescore(
    arrays: Mapping[str, np.ndarray], options: Localization | None = None, regions: Regions | None = None
) -> Scores:
    """Score a trial's localization.

    Args:
        arrays: Of a trial's record: ``localization_cams`` float16 ``(P, h, w)``, ``_side`` the evaluation size in
            pixels, ``_class`` ``(P,)`` index into ``_class_names``, ``_image`` ``(P,)`` index into ``_case`` and
            ``_logits`` ``(images, outputs)``, ``_boxes`` x₀, y₀, x₁, y₁ in fractions of the view ``(G, 4)`` and
            ``_box_pair`` ``(G,)``.
        options: The protocol; the default one if not given. ``cam_level``, ``least_side`` and ``view`` were decided
            when the maps were made.
        regions: ``regions_of`` the same, where somebody has them already.

    Raises:
        DataError: If the trial stored no maps.
        ConfigurationError: If a threshold rule needs what is not there.
    """
    options = options or Localization()
    if not has_localization(arrays):
        raise DataError(
            "the trial stored no evidence maps; expected a trial on the whole label set of a task with boxes; "
            "choose such a one"
        )
    stored = {name: np.asarray(arrays[PREFIX + name]) for name in STORED if PREFIX + name in arrays}
    matched = _match(stored, options, regions or regions_of(arrays, options))
    pair_class, owner = stored["class"].astype(np.int64), stored["box_pair"].astype(np.int64)
    kept = _kept(stored, pair_class, options)
    overlap, unit_class, in_use = (
        (matched.by_pair, pair_class, kept)
        if options.unit == "pair"
        else (matched.by_box, pair_class[owner], kept[owner])
    )
    overlap, unit_class = overlap[:, in_use], unit_class[in_use]
    column = {str(name): i for i, name in enumerate(stored["class_names"].astype(str))}
    units = {name: int((unit_class == i).sum()) for name, i in column.items() if (unit_class == i).any()}
    members = [unit_class == column[name] for name in units]
    found = {delta: _shares(overlap >= delta, members, options) for delta in options.deltas}
    return Scores(
        accuracy={delta: total for delta, (total, _) in found.items()},
        by_class={name: tuple(shares[i] for _, shares in found.values()) for i, name in enumerate(units)},
        units=units,
        boxes=_mean_boxes(matched.predicted, kept, together=options.threshold_rule == "both"),
        overlap=matched.by_pair.max(axis=0),
        found=matched.nearest,
    )


@dataclass(frozen=True)
class _Matched:
    """How predicted boxes overlap real ones.

    Attributes:
        predicted: Boxes of all maps at each threshold.
        by_box: The largest overlap of each real box at each threshold, float64 ``(T, G)``.
        by_pair: The same of each pair ``(T, P)``.
        nearest: The predicted box of each pair that has its largest overlap; see ``Scores.found``.
    """

    predicted: list[Boxes]
    by_box: np.ndarray
    by_pair: np.ndarray
    nearest: np.ndarray


def _match(stored: Mapping[str, np.ndarray], options: Localization, regions: Regions) -> _Matched:
    side, owner = int(stored["side"]), stored["box_pair"].astype(np.int64)
    real, pairs = stored["boxes"].astype(np.float64) * side, len(stored["class"])
    predicted = [regions.above(threshold) for threshold in options.thresholds]
    inclusive = options.areas == "inclusive"
    matched = [best_overlaps(p, real, owner, options.overlap, inclusive=inclusive) for p in predicted]
    best = np.stack([overlap for overlap, _ in matched])
    by_pair = np.zeros((len(predicted), pairs))
    for threshold in range(len(predicted)):
        np.maximum.at(by_pair[threshold], owner, best[threshold])
    nearest = np.full((pairs, 4), np.nan)
    for real_box in np.argsort(best.max(axis=0), kind="stable"):  # the largest last, and so kept
        nearest[owner[real_box]] = matched[int(best[:, real_box].argmax())][1][real_box] / side
    return _Matched(predicted, best, by_pair, nearest)


def _kept(stored: Mapping[str, np.ndarray], pair_class: np.ndarray, options: Localization) -> np.ndarray:
    """Return which pairs are in the denominator, bool ``(P,)``."""
    if options.denominator != "predicted":
        return np.ones(len(pair_class), bool)
    probability = 1.0 / (1.0 + np.exp(-stored["logits"].astype(np.float64)))
    kept: np.ndarray = probability[stored["image"], pair_class] >= options.predicted_from
    return kept


def _shares(hits: np.ndarray, members: Sequence[np.ndarray], options: Localization) -> tuple[float, list[float]]:
    """Return the share of units that are found, and that of each class.

    Args:
        hits: Whether each unit is found at each threshold, bool ``(T, U)``.
        members: Which units are of each class, bool ``(U,)`` each.
        options: How thresholds and classes are put together.
    """
    rows = np.asarray(hits.any(axis=0, keepdims=True)) if options.threshold_rule == "both" else hits
    if not members:
        return float("nan"), []
    share = np.array([[float(row[m].mean()) for m in members] for row in rows])  # (rows, classes)
    totals = share.mean(axis=1) if options.average == "macro" else _micro(rows)
    chosen = slice(None)
    if options.threshold_rule == "best":
        at = int(np.argmax(totals))
        chosen = slice(at, at + 1)
    return float(totals[chosen].mean()), [float(value) for value in share[chosen].mean(axis=0)]


def _micro(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=1) if rows.size else np.full(len(rows), np.nan)


def _mean_boxes(predicted: list[Boxes], kept: np.ndarray, *, together: bool) -> float:
    if not kept.any():
        return float("nan")
    counts = [float(kept[boxes.map].sum()) / float(kept.sum()) for boxes in predicted]
    return float(sum(counts)) if together else float(np.mean(counts))


def variants(
    arrays: Mapping[str, np.ndarray], options: Localization, regions: Regions | None = None
) -> dict[str, list[float | None]]:
    """Score what is logged beside the protocol: each threshold alone, and IoBB; δ in ascending order, 4 digits."""
    changes: dict[str, dict[str, object]] = {
        f"threshold_{t}": {"thresholds": (t,), "threshold_rule": "both"} for t in options.thresholds
    }
    changes["iobb"] = {"overlap": "iobb"}
    found: dict[str, list[float | None]] = {}
    regions = regions or regions_of(arrays, options)
    for name, change in changes.items():
        scores = rescore(arrays, options.model_copy(update=change), regions)
        found[name] = [None if np.isnan(v) else round(v, 4) for v in scores.accuracy.values()]
    return found


def parse(options: Mapping[str, object]) -> Localization:
    """Validate options given as a mapping, as in ``TaskPlan.transfer``.

    Raises:
        ConfigurationError: For an unknown key or value.
    """
    try:
        return Localization.model_validate(dict(options))
    except ValueError as error:
        raise ConfigurationError(f"localization: {error}") from error
