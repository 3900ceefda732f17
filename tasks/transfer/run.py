"""The work of a trial: obtain an encoder, fine-tune it on some labels, judge it on the test images.

The same code runs on a CPU and on a GPU. Randomness: the head from ``seeds.init``, the order from ``seeds.order``, the
augmentation from ``seeds.augment``, the label subset and the patient resamples from seeds of the task.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.contracts import Context, Outcome
from harness.dotted import import_dotted
from harness.errors import ConfigurationError, DataError
from harness.metrics.overlap import dice_by_image, iou_by_image, segmentation_scores
from harness.metrics.ranking import auc_by_class, macro
from harness.metrics.resampling import resample_auc, resample_mean, resample_ratio
from harness.pixels import Pixels
from harness.spec import Status
from tasks.heads.images import Classifier, Segmenter, module_hash
from tasks.inputs.deformation import Deformation
from tasks.inputs.draws import sample_seeds, uniforms
from tasks.inputs.image_augmentation import DRAWS, augment, normalise
from tasks.inputs.loading import Batch, OrderHash, batches, batches_per_epoch, load
from tasks.scoring.evaluation import class_probabilities, cross_entropy, pixel_counts
from tasks.scoring.localization.judge import has_boxes, judge_localization
from tasks.scoring.localization.options import Localization
from tasks.scoring.losses import binary_cross_entropy, dice_sums, soft_dice, validated_together
from tasks.transfer.kept_weights import KeptWeights
from tasks.transfer.labels import (
    require_policy,
    scored_columns,
    trained_labels,
    training_targets,
    validation_auc,
    validation_targets,
)
from tasks.transfer.subsets import judged_rows, subset_hash, training_rows
from tasks.transfer.training import Fit, fit
from tasks.transfer.volume_jobs import VOLUME_JOBS

CASE_HASH = 16  # hexadecimal digits of the SHA-256 of a case's name


def run_trial(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Run a trial.

    Args:
        spec: As the plan builds it: encoder, phase and cohort ids, transfer, metrics, label fraction, seeds.
        context: ``inputs`` holds the folders of the phase (if any) and the cohort.

    Returns:
        Values: every metric of ``spec["metrics"]`` that applies (localization: where there are boxes, and on the whole
        label set alone), fractions. Facts: hashes of the initial head, first batch, sample
        order and label subset, the selected step, the encoder's facts, per-class results. Arrays: predictions or
        counts per case, hashed case names, the primary metric on patient resamples. ``DIVERGED`` if a loss was not
        finite: with the scores of the best validated weights, if there are any.

    Raises:
        CheckpointError: If the encoder's weights do not fit.
        DataError: If the cohort does not have what the transfer needs.
    """
    transfer = spec["transfer"]
    if context.device == "cpu":
        torch.set_num_threads(transfer["threads"])
    pixels = Pixels(context.inputs[spec["cohort"]])
    if transfer["kind"] == "segmentation" and "masks.npy" not in pixels.manifest["sha256"]:
        raise DataError(
            f"the cohort of {spec['task']} has no masks; expected them for segmentation; correct its adapter"
        )
    phase = context.inputs[spec["phase"]] if spec["phase"] else None
    backbone, encoder_facts = import_dotted(spec["encoder"]["obtain"])(spec["encoder"], phase, spec["seeds"]["init"])
    if backbone.dimensions != transfer["dimensions"]:
        raise ConfigurationError(
            f"{spec['method']} has a {backbone.dimensions}D backbone; {spec['task']} expects "
            f"{transfer['dimensions']}D; enter it with other tasks"
        )
    rows = training_rows(pixels.cases, spec["label_fraction"], spec["subset"]["seed"], transfer["subset_unit"])
    jobs = IMAGE_JOBS if transfer["dimensions"] == 2 else VOLUME_JOBS
    job = jobs[transfer["kind"]](spec, context, pixels, backbone, rows)
    facts: dict[str, Any] = {
        "encoder": encoder_facts,
        "initial_head_sha256": module_hash(job.model.head),
        "subset_sha256": subset_hash(pixels.cases, rows),
        "labelled": len(rows),
        "validated": len(job.validation),
    }
    seen, kept = OrderHash(), KeptWeights(context.folder)
    result = fit(
        job.model,
        _noted(job.batches(), seen),
        job.loss,
        kept.watching(job.validate, job.model),
        transfer,
        batches_per_epoch(len(rows), transfer["batch"]),
        context.report,
    )
    if result.selected is not None:
        kept.judged(job.model)
    facts |= {
        "first_batch_sha256": seen.first,
        "sample_order_sha256": seen.order,
        "selected_step": result.selected,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
    }
    return _outcome(spec, job, result, facts)


def _noted(steps: Any, seen: OrderHash) -> Any:
    for batch in steps:
        seen.add(batch)
        yield batch


def _outcome(spec: Mapping[str, Any], job: Any, result: Fit, facts: dict[str, Any]) -> Outcome:
    diverged = Status.DIVERGED if result.diverged else Status.OK
    message = f"a loss was not finite after {result.steps} steps" if result.diverged else ""
    if result.selected is None:
        message += "; no validated weights to fall back on" if message else "no evaluation gave a finite score"
        return Outcome(facts=facts, curve=result.curve, status=Status.DIVERGED, message=message)
    values, more, arrays = job.judge()
    unknown = [name for name in spec["metrics"] if name not in values and name not in job.elsewhere]
    if unknown:
        raise ConfigurationError(
            f"metric {', '.join(unknown)} is not among {', '.join(values)} of {spec['task']}; correct its entry"
        )
    arrays["case_hash"] = np.array(
        [hashlib.sha256(case.encode()).hexdigest()[:CASE_HASH] for case in job.test_cases["case"]],
        dtype=f"S{CASE_HASH}",
    )
    chosen = {name: values[name] for name in spec["metrics"] if name in values}
    return Outcome(chosen, facts | more, arrays, result.curve, status=diverged, message=message)


class _Job:
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
        # Channels last: convolutions take it as it is, on a CPU a seventh sooner.
        model = self.make(backbone, torch.Generator().manual_seed(spec["seeds"]["init"]))
        self.model = model.to(context.device, memory_format=torch.channels_last)

    def make(self, backbone: Any, generator: torch.Generator) -> Any:
        raise NotImplementedError

    def batches(self) -> Any:
        """Yield the training batches."""
        transfer = self.transfer
        order = batches(
            len(self.rows),
            transfer["batch"],
            self.spec["seeds"]["order"],
            steps=transfer["steps"],
            epochs=transfer["epochs"],
        )
        deformation = transfer["augmentation"] if transfer["kind"] == "segmentation" else None
        return load(
            order,
            self.pixels,
            self.rows,
            side=transfer["image_px"],
            deformation=deformation,
            augment_seed=self.spec["seeds"]["augment"],
            workers=self.workers,
        )

    def ready(self, images: Tensor) -> Tensor:
        """Normalise grey ``(B, S, S)`` in [0, 1] and expand it to the backbone's channels."""
        return normalise(images, self.transfer["normalisation"], self.model.backbone.in_channels)

    def on_device(self, images: np.ndarray) -> Tensor:
        return torch.from_numpy(images).to(self.device, non_blocking=True).float().div_(255.0)


class _Classification(_Job):
    def make(self, backbone: Any, generator: torch.Generator) -> Classifier:
        labels = trained_labels(self.pixels.manifest["labels"], self.transfer, self.spec["task"])
        table = self.pixels.cases.set_index("row")[labels].to_numpy(np.float32)
        require_policy(table, self.transfer, self.spec["task"])
        self.scored = scored_columns(labels, self.transfer)
        self.labels = table
        self.names = labels
        return Classifier(backbone, len(labels), self.transfer["head"]["initial_std"], generator)

    def loss(self, batch: Batch) -> Tensor:
        transfer = self.transfer
        draws = uniforms(self.spec["seeds"]["augment"], batch.epochs, batch.samples, DRAWS)
        images = augment(self.on_device(batch.images), draws, transfer["image_px"], transfer["augmentation"])
        targets, weights = training_targets(
            self.labels[self.rows[batch.samples]],
            transfer.get("uncertain"),
            self.spec["seeds"]["augment"],
            batch.epochs,
            batch.samples,
        )
        labels = torch.from_numpy(targets).to(self.device)
        counted = None if weights is None else torch.from_numpy(weights).to(self.device)
        return binary_cross_entropy(self.model(self.ready(images)), labels, counted)

    def validate(self) -> tuple[float, float]:
        found = class_probabilities(
            self.model, self.pixels, self.validation, self.transfer, self.device, ten_crop=False
        )
        labels, weights = validation_targets(self.labels[self.validation], self.transfer.get("uncertain"))
        if not np.isfinite(found).all():
            return math.nan, math.nan
        by_class = validation_auc(labels, found, weights)
        return cross_entropy(labels, found, weights), macro(by_class[self.scored])[0]

    def judge(self) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
        ten = self.transfer["test_time_augmentation"] == "ten_crop"
        found = class_probabilities(self.model, self.pixels, self.test, self.transfer, self.device, ten_crop=ten)
        labels = self.labels[self.test]
        by_class = auc_by_class(labels, found)
        mean, scored = macro(by_class[self.scored])
        resamples = resample_auc(
            labels[:, self.scored],
            found[:, self.scored],
            self.test_cases["patient"].to_numpy(),
            self.transfer["metric"]["resamples"],
            self.spec["resample_seed"],
        )
        facts = {
            "auc_by_class": {n: None if math.isnan(v) else float(v) for n, v in zip(self.names, by_class, strict=True)},
            "scored_classes": scored,
            "labelled_positives": dict(
                zip(self.names, (int(n) for n in (self.labels[self.rows] > 0).sum(axis=0)), strict=True)
            ),
        }
        values, arrays = {"auc": mean, "scored_classes": float(scored)}, {"predictions": found, "resamples": resamples}
        options = self.transfer.get("localization")
        if options is None:
            return values, facts, arrays
        if self.spec["label_fraction"] != 1.0 or not has_boxes(self.pixels):
            self.elsewhere = Localization.model_validate(options).metrics
            return values, facts, arrays
        located = judge_localization(
            self.model, self.pixels, self.test, found, labels, self.names, self.transfer, self.device
        )
        return values | located[0], facts | located[1], arrays | located[2]


class _Segmentation(_Job):
    def make(self, backbone: Any, generator: torch.Generator) -> Segmenter:
        self.deform: Any = None
        return Segmenter(backbone, self.transfer["outputs"], self.transfer["head"]["kernel"], generator)

    def loss(self, batch: Batch) -> Tensor:
        masks = torch.from_numpy(batch.masks).to(self.device).float()
        logits = self.model(self.ready(self.on_device(batch.images)))[:, 0]
        return soft_dice(dice_sums(logits, masks), self.transfer["dice_smooth"])

    def validate(self) -> tuple[float, float]:
        counts, loss = pixel_counts(
            self.model,
            self.pixels,
            self.validation,
            self.transfer,
            self.device,
            self._deform_validation(),
            validated_together(self.transfer),
        )
        empty = self.transfer["metric"]["empty_score"]
        by_image = dice_by_image(*counts.at(self.transfer["metric"]["threshold"]), counts.true, empty)
        return loss, float(by_image.mean())

    def _deform_validation(self) -> Any:
        """Augment the validation images the same way each time, if the transfer asks for it."""
        if not self.transfer["augment_validation"]:
            return None
        if self.deform is None:
            self.deform = Deformation(self.transfer["augmentation"], self.transfer["image_px"])
        positions = np.arange(len(self.validation))
        seeds = sample_seeds(self.spec["seeds"]["augment"] ^ 1, np.zeros_like(positions), positions)
        return lambda i, image, mask: self.deform(image, mask, int(seeds[i] >> np.uint64(33)))

    def judge(self) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
        transfer, protocol = self.transfer, self.transfer["metric"]
        test, _ = pixel_counts(self.model, self.pixels, self.test, transfer, self.device)
        validation, _ = pixel_counts(self.model, self.pixels, self.validation, transfer, self.device)
        threshold, empty = protocol["threshold"], protocol["empty_score"]
        values = segmentation_scores(test, validation, threshold, empty)
        overlap, predicted = test.at(threshold)
        patients = self.test_cases["patient"].to_numpy()
        draw = (patients, protocol["resamples"], self.spec["resample_seed"])
        primary = self.spec["metrics"][0]
        by_image = dice_by_image(overlap, predicted, test.true, empty)
        if primary in ("dice_pooled", "iou"):
            total = predicted + test.true
            top, below = (2 * overlap, total) if primary == "dice_pooled" else (overlap, total - overlap)
            resamples = resample_ratio(top.astype(float), below.astype(float), *draw)
        elif primary == "iou_mean":
            resamples = resample_mean(iou_by_image(overlap, predicted, test.true, empty), *draw)
        elif primary == "dice_positive":
            resamples = resample_mean(np.where(test.true > 0, by_image, np.nan), *draw)
        elif primary == "dice":
            resamples = resample_mean(by_image, *draw)
        else:
            raise ConfigurationError(
                f'"{primary}" of {self.spec["task"]} has no patient resamples; expected dice, dice_positive, '
                "dice_pooled, iou or iou_mean as the primary metric; correct the task's metric"
            )
        facts = {
            "empty_masks": int((test.true == 0).sum()),
            "pixels_labelled": int(np.asarray(self.pixels.masks[self.rows]).sum()),
        }
        arrays = {"overlap": overlap, "predicted": predicted, "true": test.true, "resamples": resamples}
        return values, facts, arrays


IMAGE_JOBS: dict[str, type[_Job]] = {"classification": _Classification, "segmentation": _Segmentation}
