"""What anyone can run on a task entry, their own included: does it build, verify, score rightly, and obey its seeds?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import JsonValue

from harness.contracts import Backbone, Conformance, Context, Outcome
from harness.dotted import import_dotted
from harness.errors import DataError
from harness.identity import digest
from harness.pixels import Pixels
from harness.seeding import seed
from harness.spec import EncoderSpec, Status, TaskEntry, TaskPlan
from tasks.configuration import resolve
from tasks.options import Length
from tasks.specs import (
    ImageSegmentation,
    ImageTransfer,
    PatchClassification,
    PatchSegmentation,
    PatchTransfer,
    read_transfer,
)

STAND_IN = "tasks.conformance:obtain_stand_in"


def check(entry: TaskEntry, profile: str = "smoke") -> Conformance:
    """Check a task on its phantoms under a profile.

    Args:
        entry: One entry of a registry of tasks.
        profile: A profile with phantoms.

    A check that cannot be made because an earlier one failed is left out.
    """
    found: list[tuple[str, bool, str]] = []
    with tempfile.TemporaryDirectory(prefix="dira-bench-check-") as scratch:
        checks = _Checks(entry, profile, Path(scratch))
        for name, run in checks.in_order():
            try:
                found.append((name, True, run()))
            except Exception as error:  # whatever a task from outside raises is its result
                found.append((name, False, f"{type(error).__name__}: {error}"))
                break
    return Conformance(tuple(found), digest(checks.numbers))


class _Checks:
    """The checks of one entry; each uses what those before it made."""

    plan: TaskPlan
    cohort: Path
    first: Outcome

    def __init__(self, entry: TaskEntry, profile: str, scratch: Path) -> None:
        self.entry, self.profile, self.scratch = entry, profile, scratch
        self.numbers: dict[str, JsonValue] = {}

    def in_order(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield name and check."""
        yield "resolves", self.resolves
        yield "phantoms build and verify", self.builds
        yield "phantoms are a function of their seed", self.same_again
        if ":" not in self.entry.transfer:
            yield "metric of a scorer that knows and of one that does not", self.knows
        yield "two training steps", self.trains
        yield "deterministic", self.repeats
        yield "seeds reach it", self.seeds

    def resolves(self) -> str:
        """The entry makes a plan."""
        self.plan = resolve(self.entry, self.profile, {})
        if self.plan.unavailable:
            raise DataError(self.plan.unavailable)
        return f"{len(self.plan.metrics)} metrics, the primary one {self.plan.metrics[0]}"

    def builds(self) -> str:
        """The phantoms pass the verifier."""
        self.cohort = _build(self.entry, self.plan, self.scratch / "cohort")
        counts = Pixels(self.cohort).manifest["counts"]
        return f"{counts['images']} images of {counts['patients']} patients; its verifier passes"

    def same_again(self) -> str:
        """Two phantoms of one seed are the same files."""
        again = _build(self.entry, self.plan, self.scratch / "again")
        first, second = (Pixels(folder).manifest["sha256"] for folder in (self.cohort, again))
        _require(first == second, "built twice, the files differ; expected a generator that draws from its seed alone")
        self.numbers["cohort"] = dict(first)
        return "built twice, every file is the same"

    def knows(self) -> str:
        """A scorer that knows gets 1."""
        return _known_scores(read_transfer(self.plan.transfer), Pixels(self.cohort))

    def trains(self) -> str:
        """Two steps return every metric."""
        self.first = self._trial()
        _require(self.first.status is Status.OK, self.first.message)
        missing = set(self.plan.metrics) - set(self.first.values)
        _require(not missing, f"a trial returns no {', '.join(sorted(missing))}")
        self.numbers["trial"] = {
            "values": {k: repr(v) for k, v in self.first.values.items()},
            "curve": repr(self.first.curve),
        }
        return ", ".join(f"{name} {value:.3f}" for name, value in self.first.values.items())

    def repeats(self) -> str:
        """The same trial gives the same numbers."""
        again = self._trial()
        same = again.values == self.first.values and again.facts == self.first.facts
        _require(same, "the same trial twice gave two results; expected all randomness to come from the trial's seeds")
        return "the same trial twice gives the same numbers"

    def seeds(self) -> str:
        """Each seed changes something."""
        for role in ("init", "order", "augment"):
            other = self._trial(changed=role)
            _require(other.curve != self.first.curve, f"the seed {role} changes nothing; expected it to be used")
        return "init, order and augment each change the training"

    def _trial(self, changed: str | None = None) -> Outcome:
        return _trial(self.entry, self.plan, self.cohort, self.scratch, changed)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)


def _build(entry: TaskEntry, plan: TaskPlan, folder: Path) -> Path:
    folder.mkdir()
    import_dotted(plan.cohort_run)({"task": entry.name, "configuration": plan.cohort}, _context(folder))
    return folder


def _context(folder: Path, **inputs: Path) -> Context:
    return Context(device="cpu", folder=folder, inputs=inputs, resume=folder)


def _known_scores(transfer: ImageTransfer | PatchTransfer, pixels: Pixels) -> str:
    """A scorer that knows the answer must get 1; a constant one, what a constant deserves."""
    from harness.metrics.ranking import auc_by_class, macro

    test = pixels.rows("test")
    if isinstance(transfer, ImageSegmentation | PatchSegmentation):
        return _known_masks(np.asarray(pixels.masks[test]) > 0, transfer.metric.empty_score)
    labels = pixels.cases.set_index("row").loc[test, pixels.manifest["labels"]].to_numpy()
    known, scored = macro(auc_by_class(labels, labels.astype(float)))
    constant, _ = macro(auc_by_class(labels, np.full(labels.shape, 0.5)))
    _require(scored > 0, "no class of the test images has both positives and negatives; expected at least one")
    _require(known == 1.0 and constant == 0.5, f"knowing scores {known}, constant {constant}; expected 1 and 0.5")
    return f"AUC 1 and 0.5 over {scored} of {labels.shape[1]} classes"


def _known_masks(masks: np.ndarray, empty: float) -> str:
    from harness.metrics.overlap import dice_by_image

    true = masks.reshape(len(masks), -1).sum(axis=1)
    known = float(dice_by_image(true, true, true, empty).mean())
    nothing = float(dice_by_image(0 * true, 0 * true, true, empty).mean())
    everything = float(dice_by_image(true, np.full_like(true, masks[0].size), true, empty).mean())
    empty_share = float((true == 0).mean())
    _require(known == 1.0 or empty_share > 0, f"a scorer that knows the masks gets Dice {known}; expected 1")
    _require(
        abs(nothing - empty * empty_share) < 1e-12, f"empty predictions get Dice {nothing}; expected the empty share"
    )
    return f"Dice 1 for the masks, {nothing:.3f} for nothing, {everything:.3f} for everything"


def _two_steps(transfer: ImageTransfer | PatchTransfer) -> ImageTransfer | PatchTransfer:
    """Return a transfer of two steps, in which no augmentation is missed by chance."""
    changed: dict[str, object] = {
        "length": Length(unit="steps", count=2),
        "validation_every": 1,
        "batch": 8,
        "metric": transfer.metric.model_copy(update={"resamples": 20}),
    }
    if isinstance(transfer, PatchClassification | PatchSegmentation):
        likely = dict.fromkeys(("flip", "transpose", "rotate", "noise"), 0.5)
        changed["augmentation"] = transfer.augmentation.model_copy(update=likely)
    elif isinstance(transfer, ImageSegmentation):
        changed["augmentation"] = transfer.augmentation.model_copy(update={"intensity": 1.0, "deformation": 1.0})
    return transfer.model_copy(update=changed)


def _trial(entry: TaskEntry, plan: TaskPlan, cohort: Path, scratch: Path, changed: str | None = None) -> Outcome:
    foreign = ":" in entry.transfer
    transfer = plan.transfer if foreign else _two_steps(read_transfer(plan.transfer)).dump()
    seeds = {role: seed(0, "check", role) for role in ("init", "order", "augment")}
    if changed:
        seeds[changed] += 1
    spec: dict[str, JsonValue] = {
        "method": "stand_in",
        "method_version": 1,
        "task": entry.name,
        "task_version": entry.version,
        "encoder": {"obtain": STAND_IN, "dimensions": entry.dimensions},
        "phase": None,
        "cohort": "cohort",
        "transfer": transfer,
        "metrics": list(plan.metrics),
        "label_fraction": 1.0,
        "subset": {"rule": entry.subset, "seed": 1},
        "pretrain_seed": 0,
        "repeat": 0,
        "seeds": dict(seeds),
        "resample_seed": 2,
    }
    outcome: Outcome = import_dotted(plan.trial_run)(spec, _context(scratch, cohort=cohort))
    return outcome


class StandInEncoder(EncoderSpec):
    """What the stand-in needs to know."""

    dimensions: Literal[2, 3]


def obtain_stand_in(
    encoder: Mapping[str, JsonValue], phase: Path | None, init_seed: int
) -> tuple[Backbone, dict[str, JsonValue]]:
    """Return a backbone of four strided convolutions that belongs to no method (``harness.contracts.Obtain``)."""
    from tasks.stand_in import StandIn

    return StandIn(init_seed, StandInEncoder.model_validate(encoder).dimensions), {"encoder_sha256": "stand-in"}
