"""The work of a cohort item: bring images into reach, verify them, decode them once, say what they are.

Phantoms are written in the data set's true layout and read back by the same adapter and verifier as real files; the
layout is removed afterwards (thousands of small files), a picture of a few cases stays.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from pydantic import JsonValue

from harness.contracts import Context, Outcome
from harness.environment import cores
from harness.errors import DataError, Unavailable
from harness.metrics import Segmented
from harness.metrics.registered import DICE, DICE_POOLED, DICE_POSITIVE
from harness.pixels import SPLITS, Pixels
from harness.store.hashed import sha256_once
from harness.whole_files import write_whole
from tasks.cohorts.decode import write_pixels
from tasks.cohorts.filling import Filling, kept_beside
from tasks.cohorts.need import bytes_of, occupied, require_room
from tasks.cohorts.patches import middle_slice, write_patches
from tasks.cohorts.scans import write_scans
from tasks.datasets.catalogue import adapter_of, phantom_of
from tasks.datasets.known_roots import fingerprint
from tasks.datasets.opening import open_adapter, read_index
from tasks.layouts.adapter import Adapter, VolumeAdapter
from tasks.layouts.in_parallel import Effort, looking
from tasks.layouts.index import Finding, Index, declared
from tasks.specs import CohortConfiguration, CohortSpec

SAMPLE = 32  # cases in the picture


def build(raw: Mapping[str, object], context: Context) -> Outcome:
    """Build or index the cohort of a task.

    Args:
        raw: A ``CohortSpec`` as the plan writes it.
        context: ``data_roots`` is used for real files, ``folder`` receives the cohort (``harness.pixels``).

    Returns:
        Values ``images`` and ``patients``; the manifest as facts.

    Raises:
        DataError: If the verifier fails, with everything it found; if the disk has no room for the images.
        Unavailable: If no data root is known.
    """
    spec = CohortSpec.model_validate(raw)
    cohort, folder = spec.configuration, context.folder
    adapter = open_adapter(cohort)
    made: Mapping[str, JsonValue] = {}
    if cohort.is_phantom:
        root = folder / "layout"
        made = _phantom(cohort, root, context)
    else:
        root = _data_root(spec, context, adapter)
    context.report(0, 0, "reading lists and labels")
    whole = not cohort.is_phantom and not cohort.split.sample
    with looking(Effort(1 if cohort.is_phantom else context.workers or cores(), report=context.report)):
        findings = [*declared(cohort.split), *adapter.verify(root, cohort.split, published=whole, decode=False)]
    failures = [finding.message for finding in findings if finding.level == "fail"]
    if failures:
        raise DataError(f"{spec.task} at {root} fails its verifier:\n" + "\n".join(f"  - {f}" for f in failures))
    index = read_index(adapter, root, cohort)
    if not cohort.is_phantom:
        there = occupied(kept_beside(folder, context.resume))
        require_room(spec.task, bytes_of(cohort, index, adapter, root), folder, there)
    _write_images(cohort, root, index, adapter, context)
    if cohort.is_phantom:
        shutil.rmtree(root)
    _write_sample(folder)
    manifest = _manifest(spec, folder, index, findings, made)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_whole(folder / "manifest.json", text.encode(), durable=False)
    patients = int(index.cases["patient"].nunique())
    return Outcome(values={"images": float(len(index.cases)), "patients": float(patients)}, facts=manifest)


def _phantom(cohort: CohortConfiguration, root: Path, context: Context) -> Mapping[str, JsonValue]:
    """Write the phantom; returns what its generator says of it, which may be nothing.

    Raises:
        DataError: If it says something else than a mapping.
    """
    root.mkdir()
    context.report(0, 1, "making phantoms")
    name = cohort.generator or cohort.adapter
    made: object = phantom_of(name).write(root, cohort.generator_options or {})
    if made is not None and not isinstance(made, Mapping):
        raise DataError(f"generator {name} returned {type(made).__name__}; expected a mapping of facts, or nothing")
    return made or {}


def _write_images(cohort: CohortConfiguration, root: Path, index: Index, adapter: Adapter, context: Context) -> None:
    """Write the images of the cases, as square images or as patches of volumes."""
    how = _filling(cohort, context)
    if cohort.patches is None:
        write_pixels(how, root, index, *cohort.square)
        return
    volumes = _of_volumes(adapter)
    write_patches(replace(how, more=cohort.scans is not None), root, index, volumes, cohort.patches)
    if cohort.scans is not None:
        write_scans(how, root, volumes, cohort.scans)


def _filling(cohort: CohortConfiguration, context: Context) -> Filling:
    """Say how images are decoded: real ones by every core, kept if interrupted; phantoms are quick."""
    if cohort.is_phantom:
        return Filling(context.folder, workers=max(1, context.workers), report=context.report)
    kept = kept_beside(context.folder, context.resume)
    return Filling(context.folder, kept, context.workers or cores(), context.report)


def _of_volumes(adapter: Adapter) -> VolumeAdapter:
    if not isinstance(adapter, VolumeAdapter):
        raise DataError(f"adapter {adapter.name} reads no volumes; expected one that does (tasks.layouts.adapter)")
    return adapter


def _data_root(spec: CohortSpec, context: Context, adapter: Adapter) -> Path:
    root = context.data_roots.get(spec.task)
    if root is None:
        raise Unavailable(f"no data root for {spec.task}; set DIRA_BENCH_DATA_{spec.task.upper()} to its folder.")
    planned = spec.configuration.fingerprint or ""
    found = fingerprint(adapter, root, spec.configuration.adapter_options)
    usual = adapter_of(spec.configuration.adapter)
    if found != planned and usual.fingerprint(root) != planned:  # a plan may ask the adapter without its options
        raise DataError(
            f"the files at {root} have fingerprint {found[:12]}, the plan was made for {planned[:12]}; "
            "expected them unchanged since; run again to plan for what is there"
        )
    return root


def _manifest(
    spec: CohortSpec, folder: Path, index: Index, findings: list[Finding], made: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Return what a reader and the statistics need to know; a function of the spec and the files alone."""
    cohort, counts = spec.configuration, _counts(index)
    more: dict[str, JsonValue] = {"facts": dict(index.facts)} if index.facts else {}
    if cohort.lists is not None:
        more["lists"] = cohort.dump()["lists"]
    if (folder / "masks.npy").is_file():
        more["always_empty"] = _always_empty(folder)
    known = ("pixels.npy", "masks.npy", "cases.csv", "boxes.csv", "scans.npy", "scans.csv")
    files = [name for name in known if (folder / name).is_file()]
    return {
        "schema_version": 1,
        "task": spec.task,
        "configuration": cohort.dump(),
        "labels": list(index.labels),
        "counts": counts,
        "image_px": cohort.cache_px if cohort.patches is None else list(cohort.patches.shape),
        "split_rule": index.split_rule,
        "split_sha256": dict(index.split_hashes()),
        "split_published": not cohort.is_phantom and cohort.split.rule == "official" and not cohort.has_own_test,
        "training_units": counts["train"],
        "validation_units": counts["validation"],
        "findings": [{"level": f.level, "message": f.message} for f in findings],
        "synthetic": cohort.is_phantom,
        "stamp": made.get("stamp", ""),
        "generator": cohort.generator,
        "seed": (cohort.generator_options or {}).get("seed"),
        "sha256": {name: sha256_once(folder / name) for name in files},
        **more,
    }


def _counts(index: Index) -> dict[str, JsonValue]:
    """Count images, patients and positive labels, whole and by split."""
    cases = index.cases
    in_split = {part: cases[cases["split"] == part] for part in SPLITS}
    counts: dict[str, JsonValue] = {
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
    return counts


def _always_empty(folder: Path) -> dict[str, JsonValue]:
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
