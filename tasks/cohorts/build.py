"""The work of a cohort item: bring images into reach, verify them, decode them once, say what they are.

Phantoms are written in the data set's true layout and read back by the same adapter and verifier as real files; the
layout is removed afterwards (thousands of small files), a picture of a few cases stays.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from harness.contracts import Context, Outcome
from harness.errors import DataError, Unavailable
from harness.identity import file_sha256
from harness.metrics import Segmented
from harness.metrics.registered import DICE, DICE_POOLED, DICE_POSITIVE
from harness.pixels import SPLITS, Pixels
from harness.whole_files import write_whole
from tasks.cohorts.decode import write_pixels
from tasks.cohorts.patches import middle_slice, write_patches
from tasks.cohorts.scans import write_scans
from tasks.datasets.catalogue import adapter_of, phantom_of
from tasks.datasets.opening import open_adapter, read_index
from tasks.layouts.adapter import Adapter, VolumeAdapter
from tasks.layouts.index import Finding, Index, declared
from tasks.options import Split

SAMPLE = 32  # cases in the picture


def build(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Build or index the cohort of a task.

    Args:
        spec: ``{"task": name, "configuration": TaskPlan.cohort}``.
        context: ``data_roots`` is used for real files, ``folder`` receives the cohort (``harness.pixels``).

    Returns:
        Values ``images`` and ``patients``; the manifest as facts.

    Raises:
        DataError: If the verifier fails, with everything it found.
        Unavailable: If no data root is known.
    """
    configuration = spec["configuration"]
    adapter = open_adapter(configuration)
    split = Split.model_validate(configuration["split"])
    phantom = configuration["source"] == "phantom"
    made: Mapping[str, Any] = {}
    if phantom:
        root = context.folder / "layout"
        root.mkdir()
        context.report(0, 1, "making phantoms")
        name = configuration["generator"]
        made = _facts(name, phantom_of(name).write(root, configuration["generator_options"]))
    else:
        root = _data_root(spec, context, adapter)
    whole = not phantom and not split.sample
    findings = [*declared(split), *adapter.verify(root, split, published=whole, decode=False)]
    failures = [finding.message for finding in findings if finding.level == "fail"]
    if failures:
        raise DataError(f"{spec['task']} at {root} fails its verifier:\n" + "\n".join(f"  - {f}" for f in failures))
    index = read_index(adapter, root, configuration)
    if "patches" in configuration:
        patches, volumes = configuration["patches"], _of_volumes(adapter)
        write_patches(context.folder, root, index, volumes, patches, context.workers, context.report)
        if "scans" in configuration:
            write_scans(context.folder, root, volumes, configuration["scans"], context.report)
    else:
        side, resize = configuration["cache_px"], configuration["resize"]
        write_pixels(context.folder, root, index, side, resize, context.workers, context.report)
    if phantom:
        shutil.rmtree(root)
    _write_sample(context.folder)
    manifest = _manifest(spec, context.folder, index, findings, made)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_whole(context.folder / "manifest.json", text.encode(), durable=False)
    counts = manifest["counts"]
    return Outcome(values={"images": float(counts["images"]), "patients": float(counts["patients"])}, facts=manifest)


def _of_volumes(adapter: Adapter) -> VolumeAdapter:
    if not isinstance(adapter, VolumeAdapter):
        raise DataError(f"adapter {adapter.name} reads no volumes; expected one that does (tasks.layouts.adapter)")
    return adapter


def _facts(name: str, made: Any) -> Mapping[str, Any]:
    """Return what a generator says of its phantom; it may say nothing."""
    if made is None:
        return {}
    if not isinstance(made, Mapping):
        raise DataError(f"generator {name} returned {type(made).__name__}; expected a mapping of facts, or nothing")
    return made


def _data_root(spec: Mapping[str, Any], context: Context, adapter: Adapter) -> Path:
    root = context.data_roots.get(spec["task"])
    if root is None:
        raise Unavailable(f"no data root for {spec['task']}; set DIRA_BENCH_DATA_{spec['task'].upper()} to its folder.")
    configuration = spec["configuration"]
    found, planned = adapter.fingerprint(root), configuration["fingerprint"]
    usual = adapter_of(configuration["adapter"])
    if found != planned and usual.fingerprint(root) != planned:  # a plan may ask the adapter without its options
        raise DataError(
            f"the files at {root} have fingerprint {found[:12]}, the plan was made for {planned[:12]}; "
            "expected them unchanged since; run again to plan for what is there"
        )
    return root


def _manifest(
    spec: Mapping[str, Any], folder: Path, index: Index, findings: list[Finding], made: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a reader and the statistics need to know; a function of the spec and the files alone."""
    cases, configuration = index.cases, spec["configuration"]
    synthetic = configuration["source"] == "phantom"
    in_split = {part: cases[cases["split"] == part] for part in SPLITS}
    counts: dict[str, Any] = {
        "images": len(cases),
        "patients": int(cases["patient"].nunique()),
        "patients_per_split": {part: int(frame["patient"].nunique()) for part, frame in in_split.items()},
        "positives": {
            part: {label: int((frame[label] > 0).sum()) for label in index.labels} for part, frame in in_split.items()
        },
    }
    counts |= {part: len(frame) for part, frame in in_split.items()}
    if index.boxes is not None:
        counts["boxes"] = len(index.boxes)
    more: dict[str, Any] = {"facts": dict(index.facts)} if index.facts else {}
    if "lists" in configuration:
        more["lists"] = configuration["lists"]
    if (folder / "masks.npy").is_file():
        more["always_empty"] = _always_empty(folder)
    own_test = "test" in configuration.get("lists", {})
    known = ("pixels.npy", "masks.npy", "cases.csv", "boxes.csv", "scans.npy", "scans.csv")
    files = [name for name in known if (folder / name).is_file()]
    return {
        "schema_version": 1,
        "task": spec["task"],
        "configuration": configuration,
        "labels": list(index.labels),
        "counts": counts,
        "image_px": configuration["patches"]["shape"] if "patches" in configuration else configuration["cache_px"],
        "split_rule": index.split_rule,
        "split_sha256": index.split_hashes(),
        "split_published": not synthetic and configuration["split"]["rule"] == "official" and not own_test,
        "training_units": counts["train"],
        "validation_units": counts["validation"],
        "findings": [{"level": f.level, "message": f.message} for f in findings],
        "synthetic": synthetic,
        "stamp": made.get("stamp", ""),
        "generator": configuration.get("generator"),
        "seed": configuration.get("generator_options", {}).get("seed"),
        "sha256": {name: file_sha256(folder / name) for name in files},
        **more,
    }


def _always_empty(folder: Path) -> dict[str, Any]:
    """Return what a model that never draws anything scores on the test images, under each variant of Dice.

    Where most masks are empty, the variant decides what a number means: 78 % empty masks alone give ``dice`` .78.
    """
    pixels = Pixels(folder)
    true = np.array([int(np.asarray(pixels.masks[row]).sum()) for row in pixels.rows("test")])
    nothing = np.zeros_like(true)
    cases = Segmented(nothing, nothing, true, empty_score=1.0)
    scores = {metric.name: metric.value(cases) for metric in (DICE, DICE_POSITIVE, DICE_POOLED)}
    return {
        "test_images": len(true),
        "empty_masks": int((true == 0).sum()),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
    }


def _write_sample(folder: Path) -> None:
    """Write a picture of the first cases of each split, masks outlined."""
    pixels = Pixels(folder)
    rows = np.concatenate([pixels.rows(part)[: SAMPLE // 2] for part in ("train", "test")])
    tiles = []
    for row in rows:
        image = np.asarray(pixels.images[row])
        tile = cv2.cvtColor(image if image.ndim == 2 else middle_slice(image), cv2.COLOR_GRAY2BGR)
        tile = cv2.resize(tile, (128, 128), interpolation=cv2.INTER_CUBIC)
        if (folder / "masks.npy").is_file():
            mask = np.asarray(pixels.masks[row])
            mask = mask if mask.ndim == 2 else middle_slice(mask)
            mask = cv2.resize(mask, (128, 128), interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, contours, -1, (0, 220, 255), 1)
        tiles.append(tile)
    while len(tiles) % 8:
        tiles.append(np.zeros_like(tiles[0]))
    sheet = np.vstack([np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)])
    cv2.imwrite(str(folder / "sample.png"), sheet)
