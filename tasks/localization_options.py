"""The options of weakly supervised localization: every choice that the paper leaves open has a name here. No torch.

The paper (App. A.1) says: Grad-CAM, min–max per map, cut at {60, 180} of 255, a box around each isolated region,
correct if the IoU reaches δ, mean over eight classes. What it leaves open is decided by the defaults below; every
alternative but ``cam_level`` and ``view`` can be scored again from what a trial stored
(``tasks.scoring.localization.rescore``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from harness.metrics.registered import LOCALIZATION_BOXES, localization
from harness.spec import Frozen

Threshold = Annotated[int, Field(ge=0, le=254)]


class Localization(Frozen):
    """How evidence maps become boxes, and boxes hits.

    Attributes:
        cam_level: Index of the feature map that is looked at, finest first; ``auto``: the coarsest of at least
            ``least_side`` × ``least_side`` (stride 32 at 224 px, stride 4 at 32 px).
        least_side: Of ``auto``; 7 is the side of a ResNet's last feature map at 224 px.
        view: ``resize``: the whole image at ``image_px``; ``centre_crop``: the middle of it at ``resize_px``, boxes
            found there mapped back.
        deltas: Overlaps from which on a box counts as found.
        thresholds: Of 255, on the map scaled to [0, 1]; a pixel above is evidence.
        threshold_rule: ``both``: boxes of all thresholds together; ``each``: the mean over thresholds scored alone;
            ``best``: at each δ the threshold that scores highest, chosen on the test images.
        component: Which isolated regions make a box: ``any`` (each), the ``largest``, the one with the ``highest``
            activation.
        unit: ``pair``: an (image, class) pair is found if any of its boxes is; ``box``: each real box counts.
        denominator: ``all``: every annotated pair; ``predicted``: those whose class probability reaches
            ``predicted_from``.
        predicted_from: Probability of ``predicted``.
        average: ``macro``: mean over classes that have a pair in the denominator; ``micro``: over all units.
        connectivity: Of regions, 8 or 4 neighbours.
        areas: ``half_open``: a box from x to x + w is w wide; ``inclusive``: w + 1, as with whole pixel corners.
        overlap: ``iou``; ``iobb``: intersection over the predicted box; ``either``: the larger of the two.
    """

    cam_level: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    least_side: int = Field(default=7, ge=2)
    view: Literal["resize", "centre_crop"] = "resize"
    deltas: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    thresholds: tuple[Threshold, ...] = (60, 180)
    threshold_rule: Literal["both", "each", "best"] = "both"
    component: Literal["any", "largest", "highest"] = "any"
    unit: Literal["pair", "box"] = "pair"
    denominator: Literal["all", "predicted"] = "all"
    predicted_from: float = Field(default=0.5, ge=0.0, le=1.0)
    average: Literal["macro", "micro"] = "macro"
    connectivity: Literal[4, 8] = 8
    areas: Literal["half_open", "inclusive"] = "half_open"
    overlap: Literal["iou", "iobb", "either"] = "iou"

    @field_validator("deltas", "thresholds")
    @classmethod
    def _distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"found {list(value)}; expected at least one, all different")
        return tuple(sorted(value))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the values: ``localization_10`` for δ = 0.1, …, then the mean number of predicted boxes."""
        return (*(localization(delta).name for delta in self.deltas), LOCALIZATION_BOXES.name)
