"""What a comparison says about why numbers differ: images, and the facts of the machine."""

import json
import os
import subprocess
import sys

import pytest

from harness.environment import arithmetic
from harness.reproduction import Reproduction, begin_from_scratch, compare
from harness.results.causes import image_differences, machine_differences
from tests.harness import project


@pytest.fixture
def folders(tmp_path):
    for side in ("before", "after"):
        (tmp_path / side / "cohorts").mkdir(parents=True)
        (tmp_path / side / "provenance").mkdir()
    return tmp_path / "before", tmp_path / "after"


def manifest(folder, task, pixels, id="a", masks="m" * 64):
    content = {"id": id, "status": "ok", "sha256": {"pixels.npy": pixels, "masks.npy": masks}}
    (folder / "cohorts" / f"{task}.json").write_text(json.dumps(content))


def environments(folder, *facts):
    text = json.dumps({str(number): one for number, one in enumerate(facts)})
    (folder / "provenance" / "environments.json").write_text(text)


def test_the_cohort_whose_pixels_differ_is_named_with_both_digests_and_no_other(folders):
    before, after = folders
    manifest(before, "chexpert", "627b8ddf" + "0" * 56)
    manifest(after, "chexpert", "d47479b7" + "0" * 56)
    for folder in folders:
        manifest(folder, "montgomery", "1" * 64)
    manifest(before, "lits", "2" * 64, id="old")
    manifest(after, "lits", "3" * 64, id="new")  # another cohort was planned: its trials are others too
    (before / "cohorts" / "brats.json").write_text(json.dumps({"status": "unavailable", "reason": "x"}))
    assert image_differences(before, after) == {"chexpert": "pixels.npy committed 627b8ddf…, now d47479b7…"}


@pytest.mark.parametrize("text", ["", "[", "[]", '{"sha256": 3}', '{"id": "a", "sha256": []}'])
def test_a_manifest_that_is_none_says_nothing_of_images(text, folders):
    before, after = folders
    manifest(before, "chexpert", "1" * 64)
    (after / "cohorts" / "chexpert.json").write_text(text)
    (after / "provenance" / "environments.json").write_text(text)
    environments(before, {"instruction_set": "AVX2"})
    assert image_differences(before, after) == {}
    assert len(machine_differences(before, after)) <= 3


def test_kernel_instruction_set_and_library_that_differ_are_named_and_what_agrees_is_not(folders):
    before, after = folders
    same = {"python": "3.11.7", "processor": "AMD EPYC"}
    then = {"blas": "openblas 0.3.31 Haswell"}
    environments(
        before,
        {
            **same,
            "host": "a",
            "instruction_set": "AVX2",
            "libraries": {"torch": "2.15.0", "numpy": "2"},
            "arithmetic": then,
        },
    )
    now = {"blas": "openblas 0.3.31 SkylakeX", "torch": "AVX512"}
    environments(
        after,
        {
            **same,
            "host": "b",
            "instruction_set": "AVX512",
            "libraries": {"torch": "2.15.1", "numpy": "2"},
            "arithmetic": now,
        },
    )
    assert machine_differences(before, after) == [
        "arithmetic.blas: committed openblas 0.3.31 Haswell, now openblas 0.3.31 SkylakeX",
        "arithmetic.torch: committed not recorded, now AVX512",
        "instruction_set: committed AVX2, now AVX512",
        "libraries.torch: committed 2.15.0, now 2.15.1",
    ]
    assert machine_differences(before, before) == []


def test_the_machine_is_named_only_where_a_number_moved():
    machine = ["instruction_set: committed AVX2, now AVX512"]
    assert Reproduction(bit_equal=3, machine=machine).causes() == []
    moved = Reproduction(machine=machine, images={"chexpert": "pixels.npy committed 6…, now d…"})
    moved.moved.update({"chexpert": 44, "lits": 2})
    assert moved.causes() == [
        "the images of chexpert differ (pixels.npy committed 6…, now d…); 44 of its numbers are not bit-equal",
        "2 numbers that are not bit-equal are of tasks whose images are the committed ones",
        "of the machine instruction_set: committed AVX2, now AVX512",
    ]


def test_the_snapshot_of_a_run_from_scratch_holds_what_explains_a_difference(tmp_path):
    root = project.copy(tmp_path / "project")
    folder = root / "results" / "miniature"
    for name in ("cohorts", "provenance"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    manifest(folder, "chexpert", "1" * 64)
    environments(folder, {"instruction_set": "AVX2"})
    assert begin_from_scratch(root, "miniature")
    manifest(folder, "chexpert", "2" * 64)
    environments(folder, {"instruction_set": "AVX512"})
    result = compare(root, "miniature", set())
    assert result.images == {"chexpert": "pixels.npy committed 11111111…, now 22222222…"}
    assert result.machine == ["instruction_set: committed AVX2, now AVX512"]


def asked(code, **environment):
    told = subprocess.run(
        [sys.executable, "-c", code + "; import json; from harness.environment import arithmetic; print(json.dumps(arithmetic()))"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(told.stdout)


def test_the_kernel_is_recorded_as_the_library_runs_it_and_nothing_is_loaded_for_it():
    first = asked("import numpy", OPENBLAS_CORETYPE="Haswell")
    second = asked("import numpy", OPENBLAS_CORETYPE="Nehalem", NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4")
    assert "Haswell" in first["blas"] and "Nehalem" in second["blas"]
    assert first["numpy"] != second["numpy"]
    assert "torch" not in first and "opencv" not in first
    assert asked("import sys; sys.modules.pop('numpy', None)") == {}


def test_torch_and_opencv_are_asked_where_they_run():
    import cv2
    import torch

    found = arithmetic()
    assert found["torch"] == torch.backends.cpu.get_cpu_capability()
    assert found["opencv"] == cv2.getCPUFeaturesLine() and "libjpeg-turbo" in found["jpeg"]
