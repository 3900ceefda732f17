"""What a trial does for localization: evidence maps of every annotated (image, class) pair, stored and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue
from torch import nn

from harness.errors import DataError
from harness.pixels import Pixels
from tasks.inputs.image_augmentation import normalise, views
from tasks.inputs.images import grey
from tasks.inputs.loading import gather
from tasks.localization_options import Localization
from tasks.scoring.case_names import hash_names
from tasks.scoring.localization.gradcam import BATCH, choose_level, grad_cam
from tasks.scoring.localization.rescore import PREFIX, regions_of, rescore, variants
from tasks.specs import ImageClassification


def has_boxes(pixels: Pixels) -> bool:
    """Tell whether a cohort has real boxes at all; a data root may lack the box file."""
    return (pixels.folder / "boxes.csv").is_file() and len(pixels.boxes) > 0


def score_localization(
    classifier: nn.Module,
    pixels: Pixels,
    test: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    transfer: ImageClassification,
    device: str,
) -> tuple[dict[str, float], dict[str, JsonValue], dict[str, np.ndarray]]:
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
    options = transfer.localization or Localization()
    boxes = _boxes(pixels, test, names)
    pairs, owner = _pairs(boxes, list(names))
    rows, image = np.unique(pairs["row"].to_numpy(np.int64), return_inverse=True)
    classes = pairs["class"].to_numpy(np.int64, copy=True)
    asked = _Asked(rows, image, classes, transfer.image_px if options.view == "resize" else transfer.resize_px)
    cams, logits, level = _maps(classifier, pixels, asked, options, transfer, device)
    arrays = _scaled(cams) | {
        "side": np.asarray(transfer.image_px),
        "class": classes.astype(np.int16),
        "class_names": np.array([name.encode() for name in names]),
        "image": image.astype(np.int32),
        "case": hash_names(pixels.cases.set_index("row").loc[rows, "case"]),
        "row": rows,
        "logits": logits,
        "rank": _ranks(probabilities, test, rows[image], classes),
        "positives": (labels > 0).sum(axis=0)[classes].astype(np.int32),
        "boxes": _corners(boxes, asked.shown, transfer.image_px),
        "box_pair": owner.astype(np.int32),
    }
    arrays = {PREFIX + name: array for name, array in arrays.items()}
    return _scores(arrays, cams, level, options)


def _scores(
    arrays: dict[str, np.ndarray], cams: np.ndarray, level: int, options: Localization
) -> tuple[dict[str, float], dict[str, JsonValue], dict[str, np.ndarray]]:
    """Score what is stored; adds what each pair came to."""
    regions = regions_of(arrays, options)
    scores = rescore(arrays, options, regions)
    arrays[PREFIX + "overlap"] = scores.overlap.astype(np.float32)
    arrays[PREFIX + "found"] = scores.found.astype(np.float32)
    facts: dict[str, JsonValue] = {
        "level": level,
        "map_px": int(cams.shape[-1]),
        "pairs": dict(scores.units),
        "empty_maps": int((cams.max(axis=(1, 2)) <= 0).sum()),
        "variants": {name: list(found) for name, found in variants(arrays, options, regions).items()},
    }
    return scores.values, {"localization": facts}, arrays


@dataclass(frozen=True)
class _Asked:
    """Which maps are made.

    Attributes:
        rows: Of the images with a box, int64 ``(I,)``.
        image: Which of them each pair is on ``(P,)``.
        classes: The class of each pair ``(P,)``.
        shown: Side of the whole image in the view, in pixels.
    """

    rows: np.ndarray
    image: np.ndarray
    classes: np.ndarray
    shown: int


def _boxes(pixels: Pixels, test: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return the boxes on test images.

    Raises:
        DataError: If a box has a label that is no output, or there is none.
    """
    boxes = pixels.boxes[pixels.boxes["row"].isin(test)].reset_index(drop=True)
    strange = sorted(set(boxes["label"]) - set(names))
    if strange or not len(boxes):
        found = f"boxes of {', '.join(strange)}" if strange else "no box on a test image"
        raise DataError(f"{pixels.folder} has {found}; expected boxes of the task's labels on test images; correct it")
    return boxes


def _scaled(cams: np.ndarray) -> dict[str, np.ndarray]:
    """Return maps scaled to [−1, 1] in half precision, and what each was divided by."""
    scale = np.abs(cams).max(axis=(1, 2))
    return {
        "cams": (cams / np.where(scale > 0, scale, 1.0)[:, None, None]).astype(np.float16),
        "scale": scale.astype(np.float32),
    }


def _ranks(probabilities: np.ndarray, test: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return where the image of each pair ranks among all test images by its class, int32 ``(P,)`` from 1."""
    at = {int(row): position for position, row in enumerate(test)}
    position = np.array([at[int(row)] for row in rows])
    higher = probabilities[:, classes] > probabilities[position, classes]
    ranks: np.ndarray = (1 + higher.sum(axis=0)).astype(np.int32)
    return ranks


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
    classifier: nn.Module,
    pixels: Pixels,
    asked: _Asked,
    options: Localization,
    transfer: ImageClassification,
    device: str,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return maps ``(P, h, w)``, logits ``(images, outputs)``, both float32, and the level that was looked at."""
    side, channels = transfer.image_px, classifier.backbone.in_channels
    cams, level = [], -1
    logits = np.empty((len(asked.rows), transfer.outputs), np.float32)
    for start in range(0, len(asked.image), BATCH):
        part = asked.image[start : start + BATCH]
        images = grey(gather(pixels, asked.rows[part], None, masks=False)[0], device)
        ready = normalise(views(images, side, asked.shown, ten_crop=False)[0], transfer.normalisation, channels)
        if level < 0:
            with torch.no_grad():
                sides = [int(feature.shape[-1]) for feature in classifier.features(ready[:1])]
            level = choose_level(sides, options.cam_level, options.least_side)
        targets = torch.from_numpy(asked.classes[start : start + BATCH]).to(device)
        found, given = grad_cam(classifier, ready, targets, level)
        cams.append(found.cpu().numpy())
        logits[part] = given.cpu().numpy()
    return np.concatenate(cams), logits, level
