"""What any method must satisfy before it is worth running: ``dira-bench check NAME``.

Two steps of every phase on tiny images made here (noise and blobs), then the promises of the backbone: it loads, gives
a pyramid of the shapes it states, is the same under the same seed and another under another, and lets a gradient
through to every parameter of the encoder.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue, ValidationError
from torch import nn

from harness.contracts import Backbone, Conformance, Context, Obtain, Outcome, Work
from harness.identity import digest
from harness.seeding import seed as seed_of
from harness.spec import EncoderSpec, MethodPlan, PhasePlan, Status
from methods.networks.volumes import FORMS
from methods.phases import BackboneSpec
from methods.terms import load

STEPS = 2
TRAIN, VALIDATION = 24, 8
SCANS = 8  # to train on, half as many to validate; for methods in 3D
LARGEST_BATCH = 8


class _Check:
    """The checks of one method, one after the other.

    Attributes:
        results: (name, passed, message) so far.
        numbers: What two steps and the backbone gave.
    """

    def __init__(self, plan: MethodPlan, root: Path, seed: int) -> None:
        self._plan, self._root, self._seed = plan, root, seed
        self._size = input_size(plan)
        self._encoder = EncoderSpec.model_validate(plan.encoder)
        self._obtain: Obtain = load(self._encoder.obtain)
        self._folder: Path | None = None
        self._outcomes: list[Outcome] = []
        self.results: list[tuple[str, bool, str]] = []
        self.numbers: list[Mapping[str, object]] = []

    def attempt(self, name: str, what: Callable[[], str]) -> bool:
        """Do a check; anything it raises is a finding."""
        try:
            message = what()
        except Exception as error:  # a plug-in may raise whatever it likes
            self.results.append((name, False, f"{type(error).__name__}: {error}"))
            return False
        self.results.append((name, True, message))
        return True

    def run(self) -> Conformance:
        """Do all checks."""
        if self.attempt("two steps on phantoms", self._two_steps):
            if self._plan.phases:
                self.attempt("deterministic under a seed", self._same_again)
            # reading a file draws nothing
            if any(phase.outline.checkpoint_sha256 is None for phase in self._plan.phases):
                self.attempt("seeds reach the pretraining", self._seeds_reach)
            if self.attempt("loads", self._loads):
                self.attempt("initialisation is seeded", self._init_seed)
                self.attempt("pyramid of shapes", lambda: _pyramid(self._obtained[0], self._size))
                self.attempt("gradient reaches the encoder", lambda: _gradient(self._obtained[0], self._size))
        whole = all(passed for _, passed, _ in self.results[:1])
        return Conformance(tuple(self.results), digest(self.numbers) if whole else "")

    def _train(self, name: str, seed: int) -> tuple[Path | None, list[Outcome]]:
        return train_shortly(self._plan, self._root, name, seed)

    def _two_steps(self) -> str:
        self._folder, self._outcomes = self._train("first", self._seed)
        self.numbers += [{"values": outcome.values, "facts": outcome.facts} for outcome in self._outcomes]
        return f"{len(self._outcomes)} phases of {STEPS} steps" if self._outcomes else "no phase to train"

    def _same_again(self) -> str:
        _, again = self._train("again", self._seed)
        same = digest([one.facts for one in again]) == digest([one.facts for one in self._outcomes])
        expect(same, "other facts, same seed")
        return "the same seed gives the same numbers"

    def _seeds_reach(self) -> str:
        _, outcomes = self._train("other", self._seed + 1)
        for before, after in zip(self._outcomes, outcomes, strict=True):
            expect(before.facts != after.facts, "another seed gives the same facts")
        return "another seed gives other numbers"

    def _made(self, seed: int) -> tuple[Backbone, dict[str, str]]:
        return self._obtain(self._plan.encoder, self._folder, seed)

    @cached_property
    def _obtained(self) -> tuple[Backbone, dict[str, str]]:
        return self._made(self._seed)

    def _loads(self) -> str:
        backbone, facts = self._obtained
        self.numbers.append(facts)
        expect("encoder_sha256" in facts, "no encoder_sha256 among the facts")
        return f"{sum(p.numel() for p in _module(backbone).parameters()):,} parameters"

    def _init_seed(self) -> str:
        facts = self._obtained[1]
        expect(self._made(self._seed)[1] == facts, "the same seed gives another backbone")
        trained = self._encoder.encoder == self._encoder.decoder == "trained"
        expect(trained or self._made(self._seed + 1)[1] != facts, "another seed gives the same backbone")
        return "the same seed gives the same backbone" + ("" if trained else ", another seed another")


def check(plan: MethodPlan, seed: int = 0) -> Conformance:
    """Check a resolved method.

    Args:
        plan: From ``methods.configuration.resolve``; profile ``smoke`` makes it a matter of seconds.
        seed: Everything is drawn from it.
    """
    if plan.unavailable is not None:
        return Conformance((("available", False, plan.unavailable),), "")
    with tempfile.TemporaryDirectory(prefix="conformance-") as temporary:
        root = Path(temporary)
        size = input_size(plan)
        write_phantom_cohort(root / "cohort", 2 * size[0], seed)
        if len(size) == 3:
            write_phantom_scans(root / "cohort", size, seed)
        return _Check(plan, root, seed).run()


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
        outline = phase.outline
        if outline.views is not None and outline.views.cube is not None:
            return outline.views.cube
        px = outline.image_px if outline.views is None else outline.views.image_px
        if px is not None:
            return (px, px)
    try:
        in_3d = BackboneSpec.model_validate(plan.encoder).network.name in FORMS
    except ValidationError:  # somebody's own way to obtain a backbone
        in_3d = False
    return (16, 16, 8) if in_3d else (64, 64)


def shorten(phase: PhasePlan, steps: int = STEPS, batch: int = LARGEST_BATCH, every: int = 1) -> dict[str, JsonValue]:
    """Return the configuration of a phase cut down to a few steps of a small batch, as far as it says of both.

    Args:
        phase: The phase.
        steps: How many.
        batch: At most so many images in a step; at least two for each part of a split norm.
        every: Steps between two validations.
    """
    outline = phase.outline
    short: dict[str, JsonValue] = copy.deepcopy(phase.configuration)
    if "budget" in short:
        short["budget"] = {"unit": "steps", "count": steps}
    if outline.batch is not None:
        splits = outline.norm_splits or 1
        short["batch"] = max(min(outline.batch, batch) // splits * splits, 2 * splits)
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
    short: Callable[[PhasePlan], dict[str, JsonValue]] = shorten,
    report: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> tuple[Path | None, list[Outcome]]:
    """Train every phase of a method for a few steps; ``root/cohort`` holds what ``write_phantom_cohort`` wrote.

    Args:
        plan: The method.
        root: Where folders of phases go.
        name: Distinct for each call.
        seed: Of the phases.
        device: ``cpu`` or ``cuda:0``.
        short: Phase → the configuration to train with.
        report: As ``harness.contracts.Context`` has it.

    Returns:
        The folder of the last phase, and what each returned.
    """
    parent: str | None = None
    inputs = {"cohort": root / "cohort"}
    outcomes: list[Outcome] = []
    for position, phase in enumerate(plan.phases):
        folder, resume = root / f"{name}-{position}", root / f"{name}-{position}-resume"
        folder.mkdir()
        resume.mkdir()
        spec: dict[str, JsonValue] = {
            "phase": phase.name,
            "configuration": short(phase),
            "cohort": "cohort",
            "parent": parent,
            "base_seed": seed,
            "pretrain_seed": 0,
            "seed": seed_of(seed, "phase", position),
        }
        if phase.uses:
            spec["uses"] = {earlier.name: f"phase-{number}" for number, earlier in enumerate(plan.phases[:position])}
        context = Context(device=device, folder=folder, inputs=dict(inputs), resume=resume, report=report)
        work: Work = load(phase.run)
        outcome = work(spec, context)
        expect(outcome.status is Status.OK, f"phase {phase.name} ended {outcome.status}: {outcome.message}")
        outcomes.append(outcome)
        parent = f"phase-{position}"
        inputs[parent] = folder
    return (inputs[parent] if parent else None), outcomes


def _module(backbone: Backbone) -> nn.Module:
    """Return a backbone as the module that it must be.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"found a {type(backbone).__name__}; expected a torch.nn.Module")
    return backbone


def _pyramid(backbone: Backbone, size: tuple[int, ...]) -> str:
    images = torch.zeros(2, backbone.in_channels, *size)
    _module(backbone).eval()
    with torch.no_grad():
        features = backbone.encode(images)
        decoded = backbone.decode(features)
    expect(len(features) == len(backbone.channels) == len(backbone.strides), "channels, strides and features differ")
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        of_level = (2, channels, *(-(-side // stride) for side in size))
        expect(tuple(feature.shape) == of_level, f"found a feature map {tuple(feature.shape)}; expected {of_level}")
    wanted = (2, backbone.decoder_channels, *size)
    expect(tuple(decoded.shape) == wanted, f"decode gives {tuple(decoded.shape)}; expected {wanted}")
    return f"channels {backbone.channels}, strides {backbone.strides}"


def _gradient(backbone: Backbone, size: tuple[int, ...]) -> str:
    generator, module = torch.Generator().manual_seed(0), _module(backbone)
    images = torch.rand(2, backbone.in_channels, *(2 * side for side in size), generator=generator)
    module.train()
    torch.stack([feature.square().mean() for feature in backbone.encode(images)]).sum().backward()
    parameters = list(module.encoder.named_parameters()) if hasattr(module, "encoder") else []
    silent = [name for name, p in parameters if p.grad is None or not torch.isfinite(p.grad).all()]
    expect(not silent, f"no finite gradient at {silent[:3]}")
    expect(any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters()), "every gradient is 0")
    return f"{len(parameters)} parameters of the encoder"
