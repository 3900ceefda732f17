"""What any method must satisfy before it is worth running: ``dira-bench check NAME``.

Two steps of every phase on tiny images made here (noise and blobs), then the promises of the backbone: it loads, gives
a pyramid of the shapes it states, is the same under the same seed and another under another, and lets a gradient
through to every parameter of the encoder.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.contracts import Conformance, Context, Outcome
from harness.identity import digest
from harness.seeding import seed as seed_of
from harness.spec import MethodPlan, Status
from methods.networks.volumes import FORMS
from methods.terms import load

STEPS = 2
TRAIN, VALIDATION = 24, 8
SCANS = 8  # to train on, half as many to validate; for methods in 3D
LARGEST_BATCH = 8


def check(plan: MethodPlan, seed: int = 0) -> Conformance:
    """Check a resolved method.

    Args:
        plan: From ``methods.configuration.resolve``; profile ``smoke`` makes it a matter of seconds.
        seed: Everything is drawn from it.
    """
    results: list[tuple[str, bool, str]] = []
    numbers: list[Any] = []

    def attempt(name: str, what: Callable[[], str]) -> bool:
        try:
            message = what()
        except Exception as error:  # anything a plug-in raises is a finding
            results.append((name, False, f"{type(error).__name__}: {error}"))
            return False
        results.append((name, True, message))
        return True

    if plan.unavailable is not None:
        return Conformance([("available", False, plan.unavailable)], None)
    with tempfile.TemporaryDirectory(prefix="conformance-") as temporary:
        root = Path(temporary)
        size = input_size(plan)
        write_phantom_cohort(root / "cohort", 2 * size[0], seed)
        if len(size) == 3:
            write_phantom_scans(root / "cohort", size, seed)

        def train(name: str, train_seed: int) -> tuple[Path | None, list[Outcome]]:
            return train_shortly(plan, root, name, train_seed)

        made: dict[str, Any] = {}

        def two_steps() -> str:
            made["folder"], outcomes = train("first", seed)
            for outcome in outcomes:
                numbers.append({"values": outcome.values, "facts": outcome.facts})
            return f"{len(outcomes)} phases of {STEPS} steps" if outcomes else "no phase to train"

        def same_again() -> str:
            _, outcomes = train("again", seed)
            expect(
                digest([o.facts for o in outcomes]) == digest([n["facts"] for n in numbers]), "other facts, same seed"
            )
            return "the same seed gives the same numbers"

        def seeds_reach() -> str:
            _, outcomes = train("other", seed + 1)
            for before, after in zip(numbers, outcomes, strict=True):
                expect(before["facts"] != after.facts, "another seed gives the same facts")
            return "another seed gives other numbers"

        if not attempt("two steps on phantoms", two_steps):
            return Conformance(results, None)
        if plan.phases:
            attempt("deterministic under a seed", same_again)
        if any("checkpoint_sha256" not in phase.configuration for phase in plan.phases):  # reading a file draws nothing
            attempt("seeds reach the pretraining", seeds_reach)

        obtain = load(plan.encoder["obtain"])

        def loads() -> str:
            backbone, facts = obtain(plan.encoder, made["folder"], seed)
            made["backbone"], made["facts"] = backbone, facts
            numbers.append(facts)
            expect("encoder_sha256" in facts, "no encoder_sha256 among the facts")
            return f"{sum(p.numel() for p in backbone.parameters()):,} parameters"

        def init_seed() -> str:
            _, again = obtain(plan.encoder, made["folder"], seed)
            expect(again == made["facts"], "the same seed gives another backbone")
            _, other = obtain(plan.encoder, made["folder"], seed + 1)
            trained = plan.encoder.get("encoder") == "trained" and plan.encoder.get("decoder") == "trained"
            expect(trained or other != made["facts"], "another seed gives the same backbone")
            return "the same seed gives the same backbone" + ("" if trained else ", another seed another")

        if attempt("loads", loads):
            attempt("initialisation is seeded", init_seed)
            attempt("pyramid of shapes", lambda: _pyramid(made["backbone"], size))
            attempt("gradient reaches the encoder", lambda: _gradient(made["backbone"], size))
    return Conformance(results, digest(numbers))


def expect(holds: bool, otherwise: str) -> None:
    """Raise ``ValueError`` with the sentence unless it holds."""
    if not holds:
        raise ValueError(otherwise)


def write_phantom_cohort(folder: Path, px: int, seed: int, train: int = TRAIN) -> None:
    """Write a cohort of a few noisy blobs, with a label and a pseudo-label, in the layout of ``harness.pixels``."""
    generator = np.random.Generator(np.random.PCG64(seed_of(seed, "conformance")))
    total = train + VALIDATION
    y, x = np.mgrid[0:px, 0:px] / px
    centre_y, centre_x, width = generator.uniform(0.2, 0.8, (3, total, 1, 1))
    blobs = 180 * np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (0.1 * width))
    images = np.clip(blobs + generator.normal(40, 10, (total, px, px)), 0, 255).astype(np.uint8)
    folder.mkdir(parents=True)
    np.save(folder / "pixels.npy", images)
    cases = {
        "row": range(total),
        "case": [f"case{row}" for row in range(total)],
        "patient": [f"patient{row}" for row in range(total)],
        "split": ["train"] * train + ["validation"] * VALIDATION,
        "bright": (width.ravel() > np.median(width)).astype(int),
        "cluster": (2 * (centre_y.ravel() > 0.5) + (centre_x.ravel() > 0.5)).astype(int),
    }
    pd.DataFrame(cases).to_csv(folder / "cases.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"recipe": "conformance", "seed": seed, "labels": ["bright"]}))


def write_phantom_scans(folder: Path, cube: tuple[int, ...], seed: int) -> None:
    """Write a few scans of noise with a denser rim, large enough for cubes, as ``methods.volumes.scans`` reads them."""
    generator = np.random.Generator(np.random.PCG64(seed_of(seed, "conformance scans")))
    shape = tuple(2 * side + 8 for side in cube)
    scans = generator.normal(60, 15, (SCANS + SCANS // 2, *shape))
    scans[:, :3] += 100
    scans[1::2] += 20
    np.save(folder / "scans.npy", np.clip(scans, 0, 255).astype(np.uint8))
    rows = range(len(scans))
    table = {
        "row": rows,
        "case": [f"scan{row}" for row in rows],
        "patient": [f"patient{row}" for row in rows],
        "split": ["train"] * SCANS + ["validation"] * (SCANS // 2),
    }
    pd.DataFrame(table).to_csv(folder / "scans.csv", index=False)


def input_size(plan: MethodPlan) -> tuple[int, ...]:
    """Return the sides of what the network sees: of a square image, or of a cube."""
    for phase in plan.phases:
        views = phase.configuration.get("views", {})
        if "cube" in views:
            return tuple(views["cube"])
        px = views.get("image_px", phase.configuration.get("image_px"))
        if px is not None:
            return (int(px),) * 2
    return (16, 16, 8) if plan.encoder.get("network", {}).get("name") in FORMS else (64, 64)


def shorten(
    configuration: dict[str, Any], steps: int = STEPS, batch: int = LARGEST_BATCH, every: int = 1
) -> dict[str, Any]:
    """Cut a phase down to a few steps of a small batch, where it has the keys of the pretext recipe.

    Args:
        configuration: Of the phase; left as it is.
        steps: How many.
        batch: At most so many images in a step; at least two for each part of a split norm.
        every: Steps between two validations.
    """
    short = copy.deepcopy(configuration)
    if "budget" in short:
        short["budget"] = {"unit": "steps", "count": steps}
    if "batch" in short:
        splits = short.get("norm_splits", 1)
        short["batch"] = max(min(short["batch"], batch) // splits * splits, 2 * splits)
    if "validation" in short:
        short["validation"] = {"unit": "steps", "every": every, "images": VALIDATION}
    return short


def train_shortly(
    plan: MethodPlan,
    root: Path,
    name: str,
    seed: int,
    *,
    device: str = "cpu",
    short: Callable[[dict[str, Any]], dict[str, Any]] = shorten,
    report: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> tuple[Path | None, list[Outcome]]:
    """Train every phase of a method for a few steps; ``root/cohort`` holds what ``write_phantom_cohort`` wrote.

    Args:
        plan: The method.
        root: Where folders of phases go.
        name: Distinct for each call.
        seed: Of the phases.
        device: ``cpu`` or ``cuda:0``.
        short: Configuration → the one to train with.
        report: As ``harness.contracts.Context`` has it.

    Returns:
        The folder of the last phase, and what each returned.
    """
    parent: str | None = None
    inputs = {"cohort": root / "cohort"}
    outcomes = []
    for position, phase in enumerate(plan.phases):
        folder, resume = root / f"{name}-{position}", root / f"{name}-{position}-resume"
        folder.mkdir()
        resume.mkdir()
        spec = {
            "phase": phase.name,
            "configuration": short(phase.configuration),
            "cohort": "cohort",
            "parent": parent,
            "base_seed": seed,
            "pretrain_seed": 0,
            "seed": seed_of(seed, "phase", position),
        }
        if phase.uses:
            spec["uses"] = {earlier.name: f"phase-{number}" for number, earlier in enumerate(plan.phases[:position])}
        context = Context(device=device, folder=folder, inputs=dict(inputs), resume=resume, report=report)
        outcome = load(phase.run)(spec, context)
        expect(outcome.status is Status.OK, f"phase {phase.name} ended {outcome.status}: {outcome.message}")
        outcomes.append(outcome)
        parent = f"phase-{position}"
        inputs[parent] = folder
    return (inputs[parent] if parent else None), outcomes


def _pyramid(backbone: Any, size: tuple[int, ...]) -> str:
    images = torch.zeros(2, backbone.in_channels, *size)
    backbone.eval()
    with torch.no_grad():
        features = backbone.encode(images)
        decoded = backbone.decode(features)
    expect(len(features) == len(backbone.channels) == len(backbone.strides), "channels, strides and features differ")
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        wanted = (2, channels, *(-(-side // stride) for side in size))
        expect(tuple(feature.shape) == wanted, f"found a feature map {tuple(feature.shape)}; expected {wanted}")
    wanted = (2, backbone.decoder_channels, *size)
    expect(tuple(decoded.shape) == wanted, f"decode gives {tuple(decoded.shape)}; expected {wanted}")
    return f"channels {backbone.channels}, strides {backbone.strides}"


def _gradient(backbone: Any, size: tuple[int, ...]) -> str:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, backbone.in_channels, *(2 * side for side in size), generator=generator)
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    features = backbone.encode(images)
    sum(feature.square().mean() for feature in features).backward()
    parameters = list(backbone.encoder.named_parameters()) if hasattr(backbone, "encoder") else []
    silent = [name for name, p in parameters if p.grad is None or not torch.isfinite(p.grad).all()]
    expect(not silent, f"no finite gradient at {silent[:3]}")
    expect(any(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters()), "every gradient is 0")
    backbone.zero_grad(set_to_none=True)
    backbone.load_state_dict(before)
    return f"{len(parameters)} parameters of the encoder"
