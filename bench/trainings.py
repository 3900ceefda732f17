"""A phase of the suite on synthetic pictures, ready to take steps outside the pipeline."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from harness.contracts import Context
from harness.pixels import Pixels
from harness.registry import load_registry, project_root
from harness.seeding import seed
from methods.configuration import resolve
from methods.phases import ImageSpec
from methods.training.images import ImageTraining
from methods.training.objective import Objective


def configuration(method: str, phase: int, profile: str, **changes: Any) -> dict[str, Any]:
    """Return the configuration of a registered method's phase under a profile, with some keys changed.

    Args:
        method: Its name in the registry.
        phase: Which of its phases; −1 is the last.
        profile: Name of the profile.
        changes: Keys of the configuration and their values instead.
    """
    entry = load_registry(project_root()).methods[method]
    found = copy.deepcopy(dict(resolve(entry, profile).phases[phase].configuration))
    return {**found, **changes}


def training(made: dict[str, Any], cohort: Path, scratch: Path, device: str = "cpu") -> ImageTraining:
    """Build a phase as ``methods.pretext`` does, without its parent."""
    pixels = Pixels(cohort)
    told = {"phase": "bench", "configuration": made, "cohort": "cohort", "seed": seed("bench")}
    spec = ImageSpec.model_validate(told)
    context = Context(device=device, folder=scratch, inputs={}, resume=scratch / "resume")
    objective = Objective(spec.configuration, seed(spec.seed, "init"))
    return ImageTraining(objective, spec, context, pixels.images, pixels.rows("train"), pixels.rows("validation"))
