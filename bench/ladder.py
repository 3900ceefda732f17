"""The ladder of every base on a GPU: images/s, data wait, peak memory, share of the memory-bound roofline, losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.measuring import synchronised_clock
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
        if not makes_view(operator):
            leaves = tree_leaves((given, named or {}, output))
            self.total += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
        return output


def makes_view(operator: Any) -> bool:
    """Say whether an operator only looks at its input in another way: it returns that memory, unwritten."""
    aliases = [returned.alias_info for returned in operator._schema.returns]
    unwritten = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
    return unwritten or operator._schema.name == "aten::_unsafe_view"


def clock(device: str) -> Callable[[], float]:
    """Return the wall clock of a device: on a GPU once it has nothing left to do."""
    return synchronised_clock if device.startswith("cuda") else time.perf_counter


def bandwidth(device: str = "cuda") -> float:
    """Measure bytes per second of a copy within a device's memory, read and written."""
    source = torch.empty(2**30 if device.startswith("cuda") else 2**26, dtype=torch.uint8, device=device)
    target, now = torch.empty_like(source), clock(device)
    best = float("inf")
    for _ in range(6):
        begun = now()
        target.copy_(source)
        best = min(best, now() - begun)
    return float(2 * source.numel() / best)


@dataclass(frozen=True)
class Pace:
    """How a rung is measured.

    Attributes:
        device: Where.
        steps: At most so many are timed, after ten to warm up.
        seconds: At most so long, after the warm-up.
        bandwidth: Bytes a second that the device's memory moves.
    """

    device: str
    steps: int
    seconds: float
    bandwidth: float


WARM_UP = 10


def rung(made: Mapping[str, Any], cohort: Path, scratch: Path, pace: Pace) -> dict[str, Any]:
    """Train a phase and measure: images/s, data wait, peak memory, share of the memory-bound roofline, losses.

    Args:
        made: Configuration of the phase.
        cohort: Synthetic pictures.
        scratch: Where a checkpoint would go.
        pace: How.
    """
    cuda, now = pace.device.startswith("cuda"), clock(pace.device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    phase: ImageTraining = training(dict(made), cohort, scratch, pace.device)
    batches, moved = phase._batches(), BytesMoved()
    waited, curve, timed = 0.0, [], 0
    limit = time.monotonic() + pace.seconds
    begun = now()
    for step in range(pace.steps + WARM_UP):
        if step == WARM_UP:
            begun, waited, timed = now(), 0.0, 0
            limit = time.monotonic() + pace.seconds
        before = time.perf_counter()
        views = next(batches)
        waited += time.perf_counter() - before
        with moved if step == WARM_UP // 2 else nullcontext():
            phase._take_step(views)
        phase.step += 1
        timed += 1
        if step % 10 == 9:
            curve.append(phase.losses.means())
            phase.losses.clear()
        if (step % 10 == 9 or not cuda) and step >= WARM_UP and time.monotonic() > limit:
            break
    taken = now() - begun
    rate, bound = timed * made["batch"] / taken, pace.bandwidth / (moved.total / made["batch"])
    totals = [row["total"] for row in curve]
    return {
        "batch": made["batch"],
        "precision": made["precision"],
        "steps_timed": timed,
        "images_per_second": rate,
        "data_wait_share": waited / taken,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "mib_moved_per_image": moved.total / made["batch"] / 2**20,
        "share_of_memory_roofline": rate / bound,
        "finite": all(torch.isfinite(torch.tensor(totals)).tolist()),
        "falling": totals[-1] < totals[0] if len(totals) > 1 else None,
        "curve": curve,
    }


def climb(
    method: str,
    phase: int,
    cohort: Path,
    scratch: Path,
    pace: Pace,
    *,
    profile: str = "paper",
    batch: int = 256,
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure a phase of a registered method.

    Args:
        method: Its name.
        phase: Which of its phases; −1 is the last.
        cohort: Synthetic pictures, at least ``batch`` of them.
        scratch: Where a checkpoint would go.
        pace: How.
        profile: Whose phase.
        batch: Images in a step.
        compiled: Whether to time its forward and backward passes under ``torch.compile`` as well.
    """
    changes = {"batch": batch, "budget": {"unit": "steps", "count": 10**6}}
    changes["schedule"] = {"name": "constant", "per": "step"}
    changes["validation"] = {"unit": "steps", "every": 10**6, "images": None}
    made = configuration(method, phase, profile, **changes)
    row: dict[str, Any] = {"method": method, "terms": [term["role"] for term in made["terms"]]}
    row |= rung(made, cohort, scratch, pace)
    if compiled:
        row["compiled"] = compile_gain(made, cohort, scratch)
    if pace.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return row


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
