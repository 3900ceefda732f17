"""What pretraining costs: every distinct phase with its budget, and hours from steps that were timed here.

A phase of a plan that cannot run yet (its data set is not on this machine) is listed as well: that is when its cost
is asked for. Timed steps are kept in ``.trials/probes.json``; they are a fact about a machine and no part of anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.contracts import Probe
from harness.dotted import import_dotted
from harness.identity import digest
from harness.plan import Plan
from harness.results import write_atomically
from harness.spec import PhasePlan
from harness.store.leases import read_object

PROBE = "methods.probe:probe"
Probes = dict[str, dict[str, float | None]]  # device → key of a phase → seconds an image, None if it takes none


@dataclass
class Pretraining:
    """A distinct phase of the plan.

    Attributes:
        key: Digest of its configuration and of those before it in its chain.
        phase: Its name, ``dis+res``.
        methods: Whose it is; a shared phase is trained once.
        count, unit: Its length as configured; ``epochs`` or ``steps``.
        batch: Images in a step; None for a phase that takes none (the discovery of visual words).
        images_seen: Images in all; None where the number of training images is not known.
        hours: Device → hours on one such device, where steps of it were timed.
    """

    key: str
    phase: str
    methods: list[str]
    count: float | None
    unit: str
    batch: int | None
    images_seen: int | None
    hours: dict[str, float] = field(default_factory=dict)


def pretrainings(plan: Plan, probes: Probes) -> list[Pretraining]:
    """List the distinct phases of a plan, whether or not their images are there.

    Args:
        plan: Whose methods' phases are listed, in the order of the registry.
        probes: What ``read_probes`` returned.
    """
    found: dict[str, Pretraining] = {}
    for name, method in plan.methods.items():
        if method.unavailable:
            continue
        for key, phase in zip(_keys(plan, name), method.phases, strict=True):
            if key in found:
                found[key].methods.append(name)
                continue
            told = phase.outline
            budget, batch = told.budget, told.batch
            count, unit = (None, "") if budget is None else (budget.count, budget.unit)
            images = _images(plan, name, phase)
            seen = None
            if count is not None and batch is not None:
                steps = count if unit == "steps" else None if images is None else count * (images // batch)
                seen = None if steps is None else int(steps * batch)
            hours = {
                device: each * seen / 3600
                for device, seconds in probes.items()
                if (each := seconds.get(key)) is not None and seen is not None
            }
            found[key] = Pretraining(key, phase.name, [name], count, unit, batch, seen, hours)
    return list(found.values())


def _keys(plan: Plan, method: str) -> list[str]:
    """Return a key for each phase of a method: what it is, on which images, and what came before it."""
    keys: list[str] = []
    for phase in plan.methods[method].phases:
        step = {"run": phase.run, "configuration": phase.configuration, "cohort": phase.cohort}
        keys.append(digest({"before": keys[-1:], **step})[:16])
    return keys


def _images(plan: Plan, method: str, phase: PhasePlan) -> int | None:
    """Return how many training images an epoch has: as the method's budget says, else as the data set is published."""
    own = [share.images_an_epoch for share in plan.methods[method].shares.phases or () if share.phase == phase.name]
    stated = next((images for images in own if images is not None), None)
    entry = plan.registry.tasks.by_name.get(phase.cohort or "")
    published = entry.training_images if entry is not None else None
    return published if stated is None else stated


def _file(root: Path) -> Path:
    return root / ".trials" / "probes.json"


def read_probes(root: Path) -> Probes:
    """Return what was timed on this machine so far."""
    kept = read_object(_file(root)) or {}  # damaged: timed again
    timed = {device: steps for device, steps in kept.items() if isinstance(steps, dict)}
    return {
        device: {step: taken for step, taken in steps.items() if taken is None or type(taken) in (int, float)}
        for device, steps in timed.items()
    }


def probe_missing(plan: Plan, root: Path, device: str, name: str, note: Callable[[str], object]) -> None:
    """Time a few steps of every phase that was not timed on this device yet, and keep the results.

    Args:
        plan: Whose phases.
        root: The project.
        device: ``cpu`` or ``cuda:0``.
        name: What the device is called; results are kept under it.
        note: Hears a sentence before each method.
    """
    probe: Probe = import_dotted(PROBE)
    probes = read_probes(root)
    known = probes.setdefault(name, {})
    for method, resolved in plan.methods.items():
        keys = _keys(plan, method)
        if resolved.unavailable or not set(keys) - set(known):
            continue
        note(f"timing steps of {method} on {name}")
        known |= dict(zip(keys, probe(resolved, device), strict=True))
        write_atomically(_file(root), json.dumps(probes, indent=1, sort_keys=True) + "\n")
