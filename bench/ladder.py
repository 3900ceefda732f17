"""The ladder of every base on a GPU: images/s, data wait, peak memory, share of the memory-bound roofline, losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.measuring import synchronised_clock
from bench.pictures import write_cohort
from bench.trainings import configuration, training
from methods.training.images import ImageTraining


class BytesMoved(TorchDispatchMode):
    """Counts the bytes that eager operators read and write: every input and output of each, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, operator: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        """Run an operator and add what it touches."""
        output = operator(*given, **(named or {}))
        if not getattr(operator, "is_view", False):
            leaves = tree_leaves((given, named or {}, output))
            self.total += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
        return output


def bandwidth() -> float:
    """Measure bytes per second of a copy within the GPU's memory, read and written."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(6):
        begun = synchronised_clock()
        target.copy_(source)
        best = min(best, synchronised_clock() - begun)
    return 2 * source.numel() / best


def rung(
    made: Mapping[str, Any], cohort: Path, scratch: Path, steps: int, seconds: float, bytes_a_second: float
) -> dict[str, Any]:
    """Train a phase and measure.

    Args:
        made: Configuration of the phase.
        cohort: Synthetic pictures.
        scratch: Where a checkpoint would go.
        steps: At most so many, after ten to warm up.
        seconds: At most so long.
        bytes_a_second: What the GPU's memory moves.
    """
    torch.cuda.reset_peak_memory_stats()
    phase: ImageTraining = training(dict(made), cohort, scratch, "cuda")
    steps_made = phase._batches()
    batch, waited, curve, timed, begun = made["batch"], 0.0, [], 0, 0.0
    moved = BytesMoved()
    limit = time.monotonic() + seconds
    for step in range(steps + 10):
        if step == 10:
            begun, waited = synchronised_clock(), 0.0
        before = time.perf_counter()
        views = next(steps_made)
        waited += time.perf_counter() - before
        if step == 5:
            with moved:
                phase._take_step(views)
        else:
            phase._take_step(views)
        phase.step += 1
        if step % 10 == 9:
            curve.append(phase.losses.means())
            phase.losses.clear()
            if time.monotonic() > limit:
                break
        timed = step - 9
    taken = synchronised_clock() - begun
    rate = timed * batch / taken if timed > 0 else float("nan")
    bound = bytes_a_second / (moved.total / batch)
    totals = [row["total"] for row in curve]
    return {
        "batch": batch,
        "precision": made["precision"],
        "steps_timed": timed,
        "images_per_second": rate,
        "data_wait_share": waited / taken,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "mib_moved_per_image": moved.total / batch / 2**20,
        "share_of_memory_roofline": rate / bound,
        "finite": all(torch.isfinite(torch.tensor(totals)).tolist()),
        "falling": totals[-1] < totals[0] if len(totals) > 1 else None,
        "curve": curve,
    }


def climb(
    methods: Iterable[str],
    folder: Path,
    *,
    steps: int = 100,
    seconds: float = 40.0,
    batch: int = 256,
    compiled: bool = False,
    note: Callable[[dict[str, Any]], None] = print,
) -> list[dict[str, Any]]:
    """Measure every phase of some methods under the profile ``paper``; what fails is noted and the rest goes on.

    Args:
        methods: Names in the registry.
        folder: Scratch.
        steps: Per rung.
        seconds: Cap per rung.
        batch: Images in a step.
        compiled: Whether to time each rung's forward and backward passes under ``torch.compile`` as well.
        note: Hears of every finished rung.
    """
    from harness.registry import load_registry, project_root
    from methods.configuration import resolve

    moves = bandwidth()
    cohort = write_cohort(folder / "ladder", train=8 * batch, validation=0, px=512)
    found = []
    for method in methods:
        try:
            count = len(resolve(load_registry(project_root()).methods[method], "paper").phases)
        except Exception as error:  # a ladder goes on over a broken rung
            note({"method": method, "skipped": f"{type(error).__name__}: {error}"})
            continue
        for phase in range(count):
            row: dict[str, Any] = {"method": method, "phase": phase, "bandwidth_gb_s": moves / 1e9}
            try:
                changes = {"batch": batch, "budget": {"unit": "steps", "count": 10**6}}
                changes["schedule"] = {"name": "constant", "per": "step"}
                changes["validation"] = {"unit": "steps", "every": 10**6, "images": None}
                made = configuration(method, phase, "paper", **changes)
                row["terms"] = [term["role"] for term in made["terms"]]
                row.update(rung(made, cohort, folder, steps, seconds, moves))
                if compiled:
                    row["compiled"] = compile_gain(made, cohort, folder)
            except Exception as error:
                row["skipped"] = f"{type(error).__name__}: {error}"
            torch.cuda.empty_cache()
            found.append(row)
            note(row)
    return found


def compile_gain(made: Mapping[str, Any], cohort: Path, scratch: Path) -> dict[str, float]:
    """Time steps with the backbone under ``torch.compile``, plainly and with CUDA graphs, against eager ones."""
    times: dict[str, float] = {}
    for mode in ("eager", "default", "reduce-overhead"):
        phase = training(dict(made), cohort, scratch, "cuda")
        if mode != "eager":
            begun = synchronised_clock()
            phase.objective.backbone.encoder.compile(mode=mode)
            phase.objective.backbone.decoder.compile(mode=mode)
        views = next(phase._batches())
        for _ in range(3):
            phase._take_step(views)
        if mode != "eager":
            times[f"{mode}: seconds to compile"] = synchronised_clock() - begun
        begun = synchronised_clock()
        for _ in range(10):
            phase._take_step(views)
        times[f"{mode}: seconds a step"] = (synchronised_clock() - begun) / 10
        del phase
        torch.cuda.empty_cache()
    return times
