"""How everything here is measured: variants in turn within one process, order reversed every other repeat."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.processes import times
from harness.environment import cores, instruction_set, library_versions, provenance

Variant = Callable[[], Any]


def one_thread() -> None:
    """Let torch and OpenCV use one thread, so that processor time is what a core does."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def in_turn(variants: Mapping[str, Variant], repeats: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Call every variant once per repeat, after one call each to warm up.

    Args:
        variants: Name → what to time.
        repeats: How often; every other one in reverse order.
        clock: ``time.process_time`` on a shared CPU; a synchronising wall clock on a GPU.

    Returns:
        Name → seconds of each repeat.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    for repeat in range(repeats):
        names = list(variants) if repeat % 2 == 0 else list(variants)[::-1]
        for name in names:
            begun = clock()
            variants[name]()
            seconds[name].append(clock() - begun)
    return seconds


def ratio(base: list[float], other: list[float]) -> dict[str, float]:
    """Return how many times as long ``base`` took, of pairs within a repeat: median, least and most."""
    ratios = [a / b for a, b in zip(base, other, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def words(of: Mapping[str, float]) -> str:
    """Write a ratio as ``1.20 [1.18..1.24]``."""
    return f"{of['median']:.3g} [{of['min']:.3g}..{of['max']:.3g}]"


def plain_arrangement(*modules: nn.Module) -> None:
    """Take from networks what ours spare: folded enlargements, activations in place and another memory layout."""
    for module in modules:
        module.to(memory_format=torch.contiguous_format)
        for layer in module.modules():
            if isinstance(layer, nn.LeakyReLU):
                layer.inplace = False
            if hasattr(layer, "folds"):
                layer.folds = False


def synchronised_clock() -> float:
    """Return the wall clock once the GPU has nothing left to do."""
    torch.cuda.synchronize()
    return time.perf_counter()


def machine() -> dict[str, Any]:
    """Describe where this runs, without the host's name."""
    made = {key: value for key, value in provenance().items() if key in ("processor", "instruction_set", "python")}
    return {
        **made,
        "instruction_set": instruction_set(),
        "cores": cores(),
        "load": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": {
            k: v
            for k, v in library_versions().items()
            if k in ("torch", "torchvision", "numpy", "pillow", "opencv-python-headless")
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


def parser(about: str, repeats: int) -> argparse.ArgumentParser:
    """Return the options every benchmark has."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--repeats", type=times, default=repeats, help="how often each variant is timed")
    options.add_argument("--out", type=Path, help="write the result there as JSON")
    return options


def finish(result: Mapping[str, Any], out: Path | None) -> None:
    """Write the result, with what it was measured on."""
    whole = {"machine": machine(), **result}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(whole, indent=1) + "\n")
