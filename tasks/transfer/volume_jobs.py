"""The two transfers on volumes: what ``tasks.transfer.run`` fine-tunes and judges where a task has 3 dimensions.

Patches come as ``(N, X, Y, Z)`` or, with several channels, ``(N, C, X, Y, Z)``: uint8 of which 255 is 1, or float16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.contracts import Context
from harness.errors import ConfigurationError, DataError
from harness.metrics.overlap import PixelCounts, iou_by_image
from harness.metrics.ranking import auc_by_class, macro
from harness.metrics.resampling import resample_auc, resample_mean, resample_ratio
from harness.pixels import Pixels
from tasks.heads.patches import VolumeClassifier, VolumeSegmenter, take_channels
from tasks.inputs.loading import Batch, batches, load
from tasks.inputs.patch_augmentation import augment
from tasks.scoring.evaluation import count_pixels, cross_entropy
from tasks.scoring.losses import binary_cross_entropy, dice_sums, soft_dice, validated_together
from tasks.scoring.volume_scores import volume_scores
from tasks.transfer.subsets import judged_rows

EVALUATION_VOXELS = 2**22  # at once: 32 patches of 64×64×32, 2,048 of the miniature's


class _VolumeJob:
    """What the two transfers share."""

    model: Any
    elsewhere: tuple[str, ...] = ()  # metrics that do not apply to this trial

    def __init__(
        self, spec: Mapping[str, Any], context: Context, pixels: Pixels, backbone: Any, rows: np.ndarray
    ) -> None:
        self.spec, self.transfer, self.pixels, self.rows = spec, spec["transfer"], pixels, rows
        self.device, self.workers = context.device, context.workers
        self.validation, self.test = judged_rows(spec, pixels), pixels.rows("test")
        self.test_cases = pixels.cases.set_index("row").loc[self.test]
        take_channels(backbone, pixels.images.shape[1] if pixels.images.ndim == 5 else 1)
        self.model = self.make(backbone, torch.Generator().manual_seed(spec["seeds"]["init"])).to(context.device)

    def make(self, backbone: Any, generator: torch.Generator) -> Any:
        raise NotImplementedError

    def batches(self) -> Iterator[Batch]:
        """Yield the training batches; masks are gathered with the loss."""
        transfer = self.transfer
        order = batches(
            len(self.rows),
            transfer["batch"],
            self.spec["seeds"]["order"],
            steps=transfer["steps"],
            epochs=transfer["epochs"],
        )
        return load(
            order,
            self.pixels,
            self.rows,
            side=self.pixels.images.shape[-1],
            deformation=None,
            augment_seed=self.spec["seeds"]["augment"],
            workers=self.workers,
        )

    def on_device(self, images: np.ndarray) -> Tensor:
        """Return patches as float32 ``(B, C, X, Y, Z)`` in [0, 1]."""
        volumes = torch.from_numpy(images).to(self.device, non_blocking=True).float()
        if images.dtype == np.uint8:
            volumes = volumes.div_(255.0)
        return volumes if volumes.ndim == 5 else volumes[:, None]

    def augmented(self, batch: Batch, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        seed, options = self.spec["seeds"]["augment"], self.transfer["augmentation"]
        return augment(self.on_device(batch.images), masks, seed, batch.epochs, batch.samples, options)

    def parts(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield rows in groups that fit into memory together."""
        size = max(1, EVALUATION_VOXELS // int(np.prod(self.pixels.images.shape[1:])))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


class _Classification(_VolumeJob):
    """Fine-tune for labels of patches, judge by the area under the ROC curve over patches."""

    def make(self, backbone: Any, generator: torch.Generator) -> VolumeClassifier:
        self.names = self.pixels.manifest["labels"]
        if len(self.names) != self.transfer["outputs"]:
            raise DataError(
                f"the cohort of {self.spec['task']} has {len(self.names)} labels; its entry says outputs: "
                f"{self.transfer['outputs']}; make them agree"
            )
        self.labels = self.pixels.cases.set_index("row")[self.names].to_numpy(np.float32)
        return VolumeClassifier(backbone, len(self.names), self.transfer["head"]["hidden"], generator)

    def loss(self, batch: Batch) -> Tensor:
        images, _ = self.augmented(batch, None)
        labels = torch.from_numpy(self.labels[self.rows[batch.samples]]).to(self.device)
        return binary_cross_entropy(self.model(images), labels)

    @torch.inference_mode()
    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Return sigmoid outputs, float32 ``(N, outputs)``."""
        found = []
        for part in self.parts(rows):
            images = self.on_device(np.asarray(self.pixels.images[part]))
            half = self.transfer["precision"] == "bfloat16"
            with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half):
                logits = self.model(images)
            found.append(torch.sigmoid(logits.float()).cpu().numpy())
        return np.concatenate(found)

    def validate(self) -> tuple[float, float]:
        found, labels = self.probabilities(self.validation), self.labels[self.validation]
        if not np.isfinite(found).all():
            return math.nan, math.nan
        return cross_entropy(labels, found), macro(auc_by_class(labels, found))[0]

    def judge(self) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
        found, labels = self.probabilities(self.test), self.labels[self.test]
        by_class = auc_by_class(labels, found)
        mean, scored = macro(by_class)
        protocol, patients = self.transfer["metric"], self.test_cases["patient"].to_numpy()
        resamples = resample_auc(labels, found, patients, protocol["resamples"], self.spec["resample_seed"])
        facts = {
            "auc_by_class": {n: None if math.isnan(v) else float(v) for n, v in zip(self.names, by_class, strict=True)},
            "scored_classes": scored,
            "labelled_positives": dict(
                zip(self.names, (int(n) for n in (self.labels[self.rows] > 0).sum(axis=0)), strict=True)
            ),
        }
        values = {"auc": mean, "scored_classes": float(scored)}
        return values, facts, {"predictions": found, "resamples": resamples}


class _Segmentation(_VolumeJob):
    """Fine-tune for a foreground, judge by intersection over union."""

    def make(self, backbone: Any, generator: torch.Generator) -> VolumeSegmenter:
        return VolumeSegmenter(backbone, self.transfer["outputs"], generator)

    def loss(self, batch: Batch) -> Tensor:
        masks = torch.from_numpy(np.asarray(self.pixels.masks[self.rows[batch.samples]])).to(self.device).float()
        images, masks = self.augmented(batch, masks)
        return soft_dice(dice_sums(self.model(images)[:, 0], masks), self.transfer["dice_smooth"])

    def counts(self, rows: np.ndarray) -> tuple[PixelCounts, float]:
        """Return the counts of a segmentation of patches, and its soft Dice loss as validation takes it."""

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for part in self.parts(rows):
                truth = torch.from_numpy(np.asarray(self.pixels.masks[part])).to(self.device)
                yield self.on_device(np.asarray(self.pixels.images[part])), truth

        together = validated_together(self.transfer)
        return count_pixels(self.model, parts(), len(rows), self.transfer, self.device, together)

    def validate(self) -> tuple[float, float]:
        counts, loss = self.counts(self.validation)
        overlap, predicted = counts.at(self.transfer["metric"]["threshold"])
        pooled = iou_by_image(overlap.sum(), predicted.sum(), counts.true.sum(), 1.0)
        return loss, float(pooled)

    def judge(self) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
        protocol = self.transfer["metric"]
        threshold, empty = protocol["threshold"], protocol["empty_score"]
        test, _ = self.counts(self.test)
        values = volume_scores(test, int(np.prod(self.pixels.masks.shape[1:])), threshold, empty)
        overlap, predicted = test.at(threshold)
        draw = (self.test_cases["patient"].to_numpy(), protocol["resamples"], self.spec["resample_seed"])
        primary, total = self.spec["metrics"][0], predicted + test.true
        if primary == "iou":
            resamples = resample_ratio(overlap.astype(float), (total - overlap).astype(float), *draw)
        elif primary == "iou_case_mean":
            resamples = resample_mean(iou_by_image(overlap, predicted, test.true, empty), *draw)
        elif primary == "dice_pooled":
            resamples = resample_ratio(2.0 * overlap, total.astype(float), *draw)
        else:
            raise ConfigurationError(
                f'"{primary}" of {self.spec["task"]} has no patient resamples; expected iou, iou_case_mean or '
                "dice_pooled as the primary metric; correct the task's metric"
            )
        facts = {
            "empty_masks": int((test.true == 0).sum()),
            "pixels_labelled": int(np.asarray(self.pixels.masks[self.rows]).sum()),
        }
        arrays = {"overlap": overlap, "predicted": predicted, "true": test.true, "resamples": resamples}
        return values, facts, arrays


VOLUME_JOBS: dict[str, type[_VolumeJob]] = {"classification": _Classification, "segmentation": _Segmentation}
