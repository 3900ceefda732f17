"""What an image costs: a few steps of every phase on made-up images, timed. ``dira-bench plan --probe``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from pydantic import JsonValue

from harness.spec import MethodPlan, PhaseOutline, PhasePlan
from methods.conformance import input_size, shorten, train_shortly, write_phantom_cohort, write_phantom_scans
from methods.phases import DiscoveryConfiguration

STEPS = {"cpu": 4, "cuda": 14}  # validation comes with the last, which is not counted
SKIPPED = {"cpu": 1, "cuda": 4}  # the first steps warm up
CPU_BATCH = 4  # a CPU gains nothing from more, and has not the memory
# Finds a few words in a few scans of noise; what it costs is not asked here.
SMALL_AUTOENCODER = {"batch": 2, "epochs": 1, "shape": (32, 32, 16)}
SMALL_WORDS = {"border": (8, 4), "tissue_share": 1.0, "nearest_training": 3, "nearest_validation": 1}
DISCOVERY = "methods.volumes.discovery:run_phase"


class Clock:
    """Notes the moment of every report of a training step, phase by phase."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.phases: list[list[float]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        """Hear that a step is done."""
        if what != "pretraining":
            return
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        if done == 1:
            self.phases.append([])
        self.phases[-1].append(time.perf_counter())


def small_discovery(configuration: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the configuration of a discovery that finds a few words in little time."""
    made = DiscoveryConfiguration.model_validate(configuration)
    changes = {
        "autoencoder": made.autoencoder.model_copy(update=SMALL_AUTOENCODER),
        "words": made.words.model_copy(update=SMALL_WORDS),
    }
    return made.model_copy(update=changes).dump()


def probe(plan: MethodPlan, device: str) -> list[float | None]:
    """Return seconds an image for every phase of a method.

    On a GPU with the phase's own batch, on a CPU with one of four: a step of a larger batch takes as much longer.
    Made-up images lie in memory, so a slow disk would add to it.

    Args:
        plan: The method, as resolved under a profile.
        device: ``cpu`` or ``cuda:0``.
    """
    kind = device.partition(":")[0]
    steps, skipped = STEPS[kind], SKIPPED[kind]
    batches: list[int | None] = []

    def short(phase: PhasePlan) -> dict[str, JsonValue]:
        most = CPU_BATCH if kind == "cpu" else phase.outline.batch or CPU_BATCH
        made = shorten(phase, steps, most, every=steps)
        batches.append(PhaseOutline.model_validate(made).batch)
        return small_discovery(made) if phase.run == DISCOVERY else made

    clock = Clock(device)
    with tempfile.TemporaryDirectory(prefix="probe-") as temporary:
        root = Path(temporary)
        size = input_size(plan)
        largest = max(phase.outline.batch or 0 for phase in plan.phases)
        write_phantom_cohort(root / "cohort", 2 * size[0], 0, train=max(largest, 2 * CPU_BATCH))
        if len(size) == 3:
            write_phantom_scans(root / "cohort", size, 0)
        train_shortly(plan, root, "probe", 0, device=device, short=short, report=clock)
    timed = iter(clock.phases)
    found: list[float | None] = []
    for batch in batches:
        if batch is None:
            found.append(None)
            continue
        moments = next(timed)[skipped - 1 : -1]
        found.append((moments[-1] - moments[0]) / (len(moments) - 1) / batch)
    return found
