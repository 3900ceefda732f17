"""What a trial does for localization: evidence maps of every annotated (image, class) pair, stored and scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.errors import DataError
from harness.pixels import Pixels
from tasks.inputs.image_augmentation import normalise, views
from tasks.inputs.loading import gather
from tasks.scoring.localization.gradcam import BATCH, choose_level, grad_cam
from tasks.scoring.localization.options import Localization
from tasks.scoring.localization.rescore import PREFIX, rescore, variants

CASE_HASH = 16  # hexadecimal digits, as of the trial's own case names


def has_boxes(pixels: Pixels) -> bool:
    """Tell whether a cohort has real boxes at all; a data root may lack the box file."""
    return (pixels.folder / "boxes.csv").is_file() and len(pixels.boxes) > 0


def judge_localization(
    classifier: Any,
    pixels: Pixels,
    test: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    transfer: Mapping[str, Any],
    device: str,
) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
    """Make, store and score the evidence maps.

    Args:
        classifier: A ``tasks.heads.images.Classifier`` in evaluation mode.
        pixels: The cohort; boxes on images outside ``test`` are passed over.
        test: Rows of the test images.
        probabilities: Of the test images, ``(N, C)``: they say where an image ranks among all by a class.
        labels: 0/1 of the test images, ``(N, C)``.
        names: Names of the outputs.
        transfer: The resolved transfer, with ``localization``.
        device: Where the classifier is.

    Returns:
        Values (``Localization.metrics``), facts and arrays (see ``tasks.scoring.localization.rescore``).

    Raises:
        DataError: If a box has a label that is no output, or no box lies on a test image.
    """
    options = Localization.model_validate(transfer["localization"])
    boxes = pixels.boxes[pixels.boxes["row"].isin(test)].reset_index(drop=True)
    strange = sorted(set(boxes["label"]) - set(names))
    if strange or not len(boxes):
        found = f"boxes of {', '.join(strange)}" if strange else "no box on a test image"
        raise DataError(f"{pixels.folder} has {found}; expected boxes of the task's labels on test images; correct it")
    pairs, owner = _pairs(boxes, list(names))
    rows, image = np.unique(pairs["row"].to_numpy(np.int64), return_inverse=True)
    classes = pairs["class"].to_numpy(np.int64, copy=True)
    shown = transfer["image_px"] if options.view == "resize" else transfer["resize_px"]
    cams, logits, level = _maps(classifier, pixels, rows, image, classes, options, transfer, shown, device)
    at = {int(row): position for position, row in enumerate(test)}
    position = np.array([at[int(row)] for row in rows])
    higher = probabilities[:, classes] > probabilities[position[image], classes]
    scale = np.abs(cams).max(axis=(1, 2))
    cases = pixels.cases.set_index("row").loc[rows, "case"]
    arrays: dict[str, np.ndarray] = {
        "cams": (cams / np.where(scale > 0, scale, 1.0)[:, None, None]).astype(np.float16),
        "scale": scale.astype(np.float32),
        "side": np.asarray(transfer["image_px"]),
        "class": classes.astype(np.int16),
        "class_names": np.array([name.encode() for name in names]),
        "image": image.astype(np.int32),
        "case": np.array([hashlib.sha256(c.encode()).hexdigest()[:CASE_HASH] for c in cases], dtype=f"S{CASE_HASH}"),
        "row": rows,
        "logits": logits,
        "rank": (1 + higher.sum(axis=0)).astype(np.int32),
        "positives": (labels > 0).sum(axis=0)[classes].astype(np.int32),
        "boxes": _corners(boxes, shown, transfer["image_px"]),
        "box_pair": owner.astype(np.int32),
    }
    arrays = {PREFIX + name: array for name, array in arrays.items()}
    scores = rescore(arrays, options)
    arrays[PREFIX + "overlap"] = scores.overlap.astype(np.float32)
    arrays[PREFIX + "found"] = scores.found.astype(np.float32)
    facts = {
        "localization": {
            "level": level,
            "map_px": int(cams.shape[-1]),
            "pairs": scores.units,
            "empty_maps": int((cams.max(axis=(1, 2)) <= 0).sum()),
            "variants": variants(arrays, options),
        }
    }
    return scores.values, facts, arrays


def _pairs(boxes: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the distinct (row, class) pairs, ordered by class then row, and the pair of each box."""
    keyed = boxes.assign(**{"class": [names.index(label) for label in boxes["label"]]})
    pairs = keyed[["row", "class"]].drop_duplicates().sort_values(["class", "row"]).reset_index(drop=True)
    number = {(int(r), int(c)): i for i, (r, c) in enumerate(pairs.itertuples(index=False, name=None))}
    return pairs, np.array(
        [number[int(r), int(c)] for r, c in zip(keyed["row"], keyed["class"], strict=True)], dtype=np.int64
    )


def _corners(boxes: pd.DataFrame, shown: int, side: int) -> np.ndarray:
    """Return boxes in fractions of the view.

    A crop moves and scales all boxes alike, which no overlap notices, so boxes of a centre crop are not cut off at its
    border: what lies outside counts as missed.
    """
    low = boxes[["x", "y"]].to_numpy(np.float64)
    high = low + boxes[["width", "height"]].to_numpy(np.float64)
    offset = round((shown - side) / 2.0)
    return np.hstack([(corner * shown - offset) / side for corner in (low, high)])


def _maps(
    classifier: Any,
    pixels: Pixels,
    rows: np.ndarray,
    image: np.ndarray,
    classes: np.ndarray,
    options: Localization,
    transfer: Mapping[str, Any],
    shown: int,
    device: str,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return maps ``(P, h, w)``, logits ``(images, outputs)``, both float32, and the level that was looked at."""
    side, channels = transfer["image_px"], classifier.backbone.in_channels
    cams, level = [], -1
    logits = np.empty((len(rows), transfer["outputs"]), np.float32)
    for start in range(0, len(image), BATCH):
        part = image[start : start + BATCH]
        grey = torch.from_numpy(gather(pixels, rows[part], None, masks=False)[0]).to(device).float().div_(255.0)
        ready = normalise(views(grey, side, shown, ten_crop=False)[0], transfer["normalisation"], channels)
        if level < 0:
            with torch.no_grad():
                sides = [int(feature.shape[-1]) for feature in classifier.features(ready[:1])]
            level = choose_level(sides, options.cam_level, options.least_side)
        targets = torch.from_numpy(classes[start : start + BATCH]).to(device)
        found, given = grad_cam(classifier, ready, targets, level)
        cams.append(found.cpu().numpy())
        logits[part] = given.cpu().numpy()
    return np.concatenate(cams), logits, level
