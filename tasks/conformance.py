"""What anyone can run on a task entry, their own included: does it build, verify, judge rightly, and obey its seeds?"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.contracts import Conformance, Context, Outcome
from harness.dotted import import_dotted
from harness.errors import DataError
from harness.identity import digest
from harness.pixels import Pixels
from harness.seeding import seed
from harness.spec import Status, TaskEntry, TaskPlan
from tasks.configuration import resolve

STAND_IN = "tasks.conformance:obtain_stand_in"


def check(entry: TaskEntry, profile: str = "smoke") -> Conformance:
    """Check a task on its phantoms under a profile.

    Args:
        entry: One entry of a registry of tasks.
        profile: A profile with phantoms.

    A check that cannot be made because an earlier one failed is left out.
    """
    found: list[tuple[str, bool, str]] = []
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dira-bench-check-") as scratch:
        for name, run in _checks(entry, profile, Path(scratch), numbers):
            try:
                found.append((name, True, run()))
            except Exception as error:  # whatever a task from outside raises is its result
                found.append((name, False, f"{type(error).__name__}: {error}"))
                break
    return Conformance(tuple(found), digest(numbers))


def _checks(
    entry: TaskEntry, profile: str, scratch: Path, numbers: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], str]]]:
    state: dict[str, Any] = {}

    def resolves() -> str:
        state["plan"] = plan = resolve(entry, profile, {})
        if plan.unavailable:
            raise DataError(plan.unavailable)
        return f"{len(plan.metrics)} metrics, the primary one {plan.metrics[0]}"

    def builds() -> str:
        state["cohort"] = _build(entry, state["plan"], scratch / "cohort")
        counts = Pixels(state["cohort"]).manifest["counts"]
        return f"{counts['images']} images of {counts['patients']} patients; its verifier passes"

    def same_again() -> str:
        again = _build(entry, state["plan"], scratch / "again")
        first, second = (Pixels(folder).manifest["sha256"] for folder in (state["cohort"], again))
        _require(first == second, "built twice, the files differ; expected a generator that draws from its seed alone")
        numbers["cohort"] = dict(first)
        return "built twice, every file is the same"

    def knows() -> str:
        return _known_scores(state["plan"], Pixels(state["cohort"]))

    def trains() -> str:
        state["first"] = _trial(entry, state["plan"], state["cohort"], scratch)
        _require(state["first"].status is Status.OK, state["first"].message)
        missing = set(state["plan"].metrics) - set(state["first"].values)
        _require(not missing, f"a trial returns no {', '.join(sorted(missing))}")
        numbers["trial"] = {
            "values": {k: repr(v) for k, v in state["first"].values.items()},
            "curve": repr(state["first"].curve),
        }
        return ", ".join(f"{name} {value:.3f}" for name, value in state["first"].values.items())

    def repeats() -> str:
        again = _trial(entry, state["plan"], state["cohort"], scratch)
        same = again.values == state["first"].values and again.facts == state["first"].facts
        _require(same, "the same trial twice gave two results; expected all randomness to come from the trial's seeds")
        return "the same trial twice gives the same numbers"

    def seeds() -> str:
        for role in ("init", "order", "augment"):
            other = _trial(entry, state["plan"], state["cohort"], scratch, changed=role)
            _require(other.curve != state["first"].curve, f"the seed {role} changes nothing; expected it to be used")
        return "init, order and augment each change the training"

    yield "resolves", resolves
    yield "phantoms build and verify", builds
    yield "phantoms are a function of their seed", same_again
    if ":" not in entry.transfer:
        yield "metric of a scorer that knows and of one that does not", knows
    yield "two training steps", trains
    yield "deterministic", repeats
    yield "seeds reach it", seeds


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)


def _build(entry: TaskEntry, plan: TaskPlan, folder: Path) -> Path:
    folder.mkdir()
    import_dotted(plan.cohort_run)({"task": entry.name, "configuration": plan.cohort}, _context(folder))
    return folder


def _context(folder: Path, **inputs: Path) -> Context:
    return Context(device="cpu", folder=folder, inputs=inputs, resume=folder)


def _known_scores(plan: TaskPlan, pixels: Pixels) -> str:
    """A scorer that knows the answer must get 1; a constant one, what a constant deserves."""
    from harness.metrics.overlap import dice_by_image
    from harness.metrics.ranking import auc_by_class, macro

    test = pixels.rows("test")
    if plan.transfer["kind"] == "classification":
        labels = pixels.cases.set_index("row").loc[test, pixels.manifest["labels"]].to_numpy()
        known, scored = macro(auc_by_class(labels, labels.astype(float)))
        constant, _ = macro(auc_by_class(labels, np.full(labels.shape, 0.5)))
        _require(scored > 0, "no class of the test images has both positives and negatives; expected at least one")
        _require(known == 1.0 and constant == 0.5, f"knowing scores {known}, constant {constant}; expected 1 and 0.5")
        return f"AUC 1 and 0.5 over {scored} of {labels.shape[1]} classes"
    masks = np.asarray(pixels.masks[test]) > 0
    true, empty = masks.reshape(len(masks), -1).sum(axis=1), plan.transfer["metric"]["empty_score"]
    known = float(dice_by_image(true, true, true, empty).mean())
    nothing = float(dice_by_image(0 * true, 0 * true, true, empty).mean())
    everything = float(dice_by_image(true, np.full_like(true, masks[0].size), true, empty).mean())
    empty_share = float((true == 0).mean())
    _require(known == 1.0 or empty_share > 0, f"a scorer that knows the masks gets Dice {known}; expected 1")
    _require(
        abs(nothing - empty * empty_share) < 1e-12, f"empty predictions get Dice {nothing}; expected the empty share"
    )
    return f"Dice 1 for the masks, {nothing:.3f} for nothing, {everything:.3f} for everything"


def _trial(entry: TaskEntry, plan: TaskPlan, cohort: Path, scratch: Path, changed: str | None = None) -> Outcome:
    transfer = copy.deepcopy(plan.transfer)
    if ":" not in entry.transfer:
        transfer |= {"steps": 2, "epochs": None, "evaluate_every": 1, "batch": 8}
        transfer["metric"]["resamples"] = 20
        if transfer["dimensions"] == 3:
            transfer["augmentation"] |= dict.fromkeys(("flip", "transpose", "rotate", "noise"), 0.5)
        elif transfer["kind"] == "segmentation":  # two steps must not miss the augmentation by chance
            transfer["augmentation"] |= {"intensity": 1.0, "deformation": 1.0}
    seeds = {role: seed(0, "check", role) for role in ("init", "order", "augment")}
    if changed:
        seeds[changed] += 1
    spec: Mapping[str, Any] = {
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
        "seeds": seeds,
        "resample_seed": 2,
    }
    outcome: Outcome = import_dotted(plan.trial_run)(spec, _context(scratch, cohort=cohort))
    return outcome


def obtain_stand_in(encoder: Mapping[str, Any], phase: Path | None, init_seed: int) -> tuple[Any, dict[str, Any]]:
    """Return a backbone of four strided convolutions that belongs to no method (``harness.contracts.Obtain``)."""
    from tasks.stand_in import StandIn

    return StandIn(init_seed, encoder["dimensions"]), {"encoder_sha256": "stand-in"}
