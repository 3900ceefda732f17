"""On every task: who knows the answer scores 1, who says the same of everything 0.5, who draws nothing what is stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.metrics import Segmented, metric_of
from harness.metrics.overlap import PixelCounts
from harness.metrics.ranking import auc_by_class, macro
from harness.pixels import Pixels
from harness.registry import load_registry
from tasks.scoring.evaluation import Segmenting, count_pixels
from tests.tasks.conftest import built, plan_of

BATCH = 32
PERFECT = ("dice", "dice_positive", "dice_pooled", "iou", "iou_mean", "iou_case_mean", "pixel_average_precision")


@pytest.fixture(scope="module", params=list(load_registry().under("smoke").tasks.by_name))
def judged(request, tmp_path_factory) -> tuple[str, Pixels]:
    return request.param, Pixels(built(request.param, tmp_path_factory.mktemp(request.param)))


def drawn(pixels: Pixels, task: str, split: str, model) -> PixelCounts:
    """Count the pixels of a model that is given the masks as its images."""
    rows = pixels.rows(split)
    how = Segmenting(plan_of(task).transfer["metric"]["threshold"], dice_smooth=1.0)

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(rows), BATCH):
            truth = torch.from_numpy(np.asarray(pixels.masks[rows[start : start + BATCH]]))
            yield truth[:, None].float(), truth

    return count_pixels(model, parts(), len(rows), how, "cpu")[0]


def scores(pixels: Pixels, task: str, model) -> dict[str, float]:
    test, validation = drawn(pixels, task, "test", model), drawn(pixels, task, "validation", model)
    protocol = plan_of(task).transfer["metric"]
    voxels = int(np.prod(pixels.masks.shape[1:]))
    cases = Segmented.of(test, protocol["threshold"], protocol["empty_score"], validation=validation, pixels=voxels)
    return {name: metric_of(name).value(cases) for name in plan_of(task).metrics}


def test_knowing_saying_the_same_and_saying_nothing(judged: tuple[str, Pixels], tmp_path: Path) -> None:
    task, pixels = judged
    if plan_of(task).transfer["kind"] == "classification":
        names = pixels.manifest["labels"]
        labels = pixels.cases.set_index("row").loc[pixels.rows("test"), names].to_numpy(np.float32)
        labels = (labels > 0).astype(np.float32)
        scored = [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
        assert scored
        mean, count = macro(auc_by_class(labels, labels))
        assert (mean, count) == (1.0, len(scored))  # a class without positives is left out and counted
        assert macro(auc_by_class(labels, np.full_like(labels, 0.3)))[0] == 0.5
        return
    known = scores(pixels, task, lambda masks: 60.0 * masks - 30.0)
    assert {name: known[name] for name in PERFECT if name in known} == pytest.approx(
        dict.fromkeys([name for name in PERFECT if name in known], 1.0)
    )
    nothing = scores(pixels, task, lambda masks: torch.full_like(masks, -30.0))
    stated = pixels.manifest["always_empty"]
    for name in ("dice", "dice_positive", "dice_pooled"):
        if name in nothing and stated[name] is not None:
            assert nothing[name] == pytest.approx(stated[name])
    assert nothing["dice"] == pytest.approx(stated["empty_masks"] / stated["test_images"])
