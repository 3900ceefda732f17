"""The work of a trial: load an encoder, fine-tune it on some labels, evaluate it on the test images.

The same code runs on a CPU and on a GPU. Randomness: the head from ``seeds.init``, the order from ``seeds.order``, the
augmentation from ``seeds.augment``, the label subset and the patient resamples from seeds of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn

from harness.contracts import Context, Outcome
from harness.dotted import import_dotted
from harness.errors import ConfigurationError, DataError
from harness.kernels import settle
from harness.pixels import Pixels
from harness.spec import Status
from tasks.heads.images import module_hash
from tasks.heads.patches import take_channels
from tasks.inputs.interface import Source
from tasks.inputs.loading import Batch, OrderHash, batches_per_epoch
from tasks.inputs.patches import channels_of
from tasks.scoring.case_names import hash_names
from tasks.specs import ImageClassification, PatchClassification, TrialSpec
from tasks.transfer.classification import Classification
from tasks.transfer.kept_weights import KeptWeights
from tasks.transfer.parts import Cases, Transfer
from tasks.transfer.resuming import Resuming
from tasks.transfer.segmentation import Segmentation
from tasks.transfer.subsets import evaluated_rows, subset_hash, training_rows
from tasks.transfer.training import FineTuning, Fit


def run_trial(raw: Mapping[str, object], context: Context) -> Outcome:
    """Run a trial.

    Args:
        raw: A ``TrialSpec`` as the plan writes it.
        context: ``inputs`` holds the folders of the phase (if any) and the cohort.

    Returns:
        Values: every metric of the spec that applies (localization: where there are boxes, and on the whole label set
        alone). Facts: hashes of the initial head, first batch, sample order and label subset, the selected step, the
        encoder's facts, per-class results. Arrays: predictions or counts per case, hashed case names, the primary
        metric on patient resamples. ``DIVERGED`` if a loss was not finite: with the scores of the best validated
        weights, if there are any.

    Raises:
        Preempted: If the attempt was asked to leave; the trial goes on from its checkpoint.
        CheckpointError: If the encoder's weights do not fit.
        DataError: If the cohort does not have what the transfer needs.
    """
    spec = TrialSpec.model_validate(raw)
    if context.device == "cpu":
        torch.set_num_threads(spec.transfer.threads)
    settle(spec.transfer.kernels)
    pixels = Pixels(context.inputs[spec.cohort])
    backbone, encoder_facts = _backbone(spec, context, pixels)
    rows = training_rows(pixels.cases, spec.label_fraction, spec.subset.seed, spec.transfer.subset_unit)
    resuming = Resuming(raw, context)
    cases = _cases(spec, context, pixels, rows, resuming.between_parts)
    transfer = make_transfer(cases, backbone)
    facts = {"encoder": encoder_facts, **_facts_before(cases, transfer)}
    seen, kept = OrderHash(), KeptWeights(context.folder)
    tuning = FineTuning(transfer.model, spec.transfer, batches_per_epoch(len(rows), spec.transfer.batch))
    resuming.take_up(tuning, seen, transfer.order())
    result = tuning.run(
        _noted(transfer.steps(tuning.result.steps), seen),
        transfer.loss,
        kept.watching(transfer.validate, transfer.model, len(tuning.result.curve)),
        context.report,
        resuming.after_step,
    )
    resuming.after_training()
    if result.selected is not None:
        kept.selected(transfer.model)
    facts |= {
        "first_batch_sha256": seen.first,
        "sample_order_sha256": seen.order,
        "selected_step": result.selected,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
    }
    return _outcome(cases, transfer, result, facts)


def _facts_before(cases: Cases, transfer: Transfer) -> dict[str, JsonValue]:
    """Return what is known before the first step."""
    rows = cases.source.rows
    return {
        "initial_head_sha256": module_hash(transfer.model.head),
        "subset_sha256": subset_hash(cases.source.pixels.cases, rows),
        "labelled": len(rows),
        "validated": len(cases.validation),
    }


def _backbone(spec: TrialSpec, context: Context, pixels: Pixels) -> tuple[nn.Module, JsonValue]:
    """Return the encoder that the method loads, and its facts.

    Raises:
        ConfigurationError: If it has other dimensions than the task.
        DataError: If the task is to segment and its cohort has no masks.
    """
    if spec.transfer.kind == "segmentation" and "masks.npy" not in pixels.manifest["sha256"]:
        raise DataError(f"the cohort of {spec.task} has no masks; expected them for segmentation; correct its adapter")
    phase = context.inputs[spec.phase] if spec.phase else None
    backbone, facts = import_dotted(spec.encoder.obtain)(spec.encoder.dump(), phase, spec.seeds.init)
    if backbone.dimensions != spec.transfer.dimensions:
        raise ConfigurationError(
            f"{spec.method} has a {backbone.dimensions}D backbone; {spec.task} expects {spec.transfer.dimensions}D; "
            "enter it with other tasks"
        )
    return backbone, facts


def _cases(spec: TrialSpec, context: Context, pixels: Pixels, rows: np.ndarray, ask: Callable[[], None]) -> Cases:
    test = pixels.rows("test")
    return Cases(
        spec=spec,
        source=Source(pixels, rows, spec.seeds, context.device, context.workers),
        validation=evaluated_rows(spec, pixels),
        test=test,
        tested=pixels.cases.set_index("row").loc[test],
        ask=ask,
    )


def make_transfer(cases: Cases, backbone: nn.Module) -> Transfer:
    """Put the head on a backbone, of which all weights are trained; in 3D it takes the patches' channels."""
    transfer = cases.spec.transfer
    if transfer.dimensions == 3:
        take_channels(backbone, channels_of(cases.source.pixels))
    generator = torch.Generator().manual_seed(cases.spec.seeds.init)
    if isinstance(transfer, ImageClassification | PatchClassification):
        return Classification(cases, transfer, backbone, generator)
    return Segmentation(cases, transfer, backbone, generator)


def _noted(steps: Iterator[Batch], seen: OrderHash) -> Iterator[Batch]:
    for batch in steps:
        seen.add(batch)
        yield batch


def _outcome(cases: Cases, transfer: Transfer, result: Fit, facts: dict[str, JsonValue]) -> Outcome:
    curve = [dict(row) for row in result.curve]
    status = Status.DIVERGED if result.diverged else Status.OK
    message = f"a loss was not finite after {result.steps} steps" if result.diverged else ""
    if result.selected is None:
        message += "; no validated weights to fall back on" if message else "no evaluation gave a finite score"
        return Outcome(facts=facts, curve=curve, status=Status.DIVERGED, message=message)
    scored, spec = transfer.score(), cases.spec
    unknown = [name for name in spec.metrics if name not in scored.values and name not in scored.elsewhere]
    if unknown:
        raise ConfigurationError(
            f"metric {', '.join(unknown)} is not among {', '.join(scored.values)} of {spec.task}; correct its entry"
        )
    scored.arrays["case_hash"] = hash_names(cases.tested["case"])
    values = {name: scored.values[name] for name in spec.metrics if name in scored.values}
    return Outcome(values, facts | scored.facts, scored.arrays, curve, status=status, message=message)
