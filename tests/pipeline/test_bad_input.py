"""Bad input: one sentence that says what was found, where, what was expected and what to do; exit code 2; no traceback."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from tests.pipeline.clone import Clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in which nothing has run."""
    return Clone(tmp_path_factory.mktemp("input"))


@pytest.fixture(scope="module")
def phantoms(clone):
    """A sound phantom of each of two data sets."""
    for task in ("chestxray14", "montgomery"):
        clone.inside("data", "phantom", task, str(clone.root / "phantom" / task))
    return clone.root / "phantom"


def test_a_mistake_is_one_sentence_on_standard_error_and_exit_code_2(clone):
    """As a person meets it; the other tests of this file ask for the same within this process."""
    done = clone.run("sh", "-c", "dira-bench run --method dira_moco 2>&1 >/dev/null", code=2)
    assert done.startswith("dira-bench: ") and len(done.splitlines()) == 1
    assert 'did you mean "dira_moco_v2"' in done


def refused(clone: Clone, *words: str) -> str:
    """Run a command that must refuse its input, in this process; return what it said."""
    output = clone.inside(*words, code=2)
    assert "Traceback" not in output
    return output


def test_an_unknown_method_task_profile_or_item_suggests_near_names(clone):
    assert 'did you mean "dira_moco_v2"' in refused(clone, "run", "--method", "dira_moco")
    assert 'did you mean "montgomery"' in refused(clone, "run", "--task", "montgomry")
    assert 'did you mean "miniature"' in refused(clone, "plan", "--profile", "miniatur")
    assert 'did you mean "chestxray14"' in refused(clone, "check", "chestxray")
    assert "no planned item has an id" in refused(clone, "show", "zzzz")


def test_a_malformed_and_a_contradictory_entry_are_told_together(clone):
    path = clone.root / "methods" / "registry.yaml"
    original = path.read_text()
    path.write_text(
        original
        + "  odd: {label: Odd, dimensions: 2, recipe: pretext, adversary: 0.1, version: 1, source: s}\n"
        + "  odder: {label: Odder, dimensions: 2, recipe: pretext, discrimination: moco_v3, version: 1, source: s}\n"
    )
    output = refused(clone, "plan")
    path.write_text(original)
    assert "odd" in output
    assert '"odd"' in output
    assert "found neither discrimination nor restoration" in output
    assert "moco_v3" in output
    assert "moco_v2" in output


def test_a_missing_data_root_says_how_to_give_one(clone):
    output = refused(clone, "data", "prepare", "chestxray14", "--profile", "paper")
    assert "DIRA_BENCH_DATA_CHESTXRAY14" in output
    assert "params.local.yaml" in output
    assert "no folder" in refused(clone, "data", "verify", "chestxray14", str(clone.root / "nowhere")).lower()


def test_a_profile_without_data_is_refused_with_its_reasons(clone):
    output = refused(clone, "run", "--profile", "paper")
    assert "no data root for montgomery" in output
    assert "all are done" not in output


def test_a_run_from_scratch_is_refused_before_anything_is_set_aside(clone):
    kept = clone.root / ".trials" / "kept.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("a store")
    for words, said in (
        (("--trial", "abc"), "--trial with --from-scratch"),
        (("--method", "dira_moco"), 'did you mean "dira_moco_v2"'),
        (("--block", "published"), "--block with --from-scratch"),
        (("--profile", "miniature"), "params.yaml has profile smoke"),
        (("--device", "tpu"), "--device tpu"),
        (("--slots", "0"), "--slots 0"),
    ):
        assert said in refused(clone, "run", "--from-scratch", *words)
    assert kept.read_text() == "a store"
    assert not list(clone.root.glob(".trials.*"))
    kept.unlink()


def test_a_phantom_is_not_written_over_a_file_nor_for_a_task_without_a_generator(clone, phantoms):
    file = phantoms.parent / "a_file"
    file.write_text("x")
    for place in (file, file / "below"):
        assert "a_file is a file; expected a new or empty folder" in refused(
            clone, "data", "phantom", "montgomery", str(place)
        )
    registry = clone.root / "tasks" / "registry.yaml"
    original = registry.read_text()
    registry.write_text(
        original
        + '  bare: {label: Bare, dimensions: 2, adapter: "tasks.datasets.montgomery.adapter:ADAPTER", transfer: segmentation,'
        + " outputs: 1, metric: dice, split: official, version: 1, source: a user}\n"
    )
    output = refused(clone, "data", "phantom", "bare", str(phantoms.parent / "bare"))
    registry.write_text(original)
    assert "no phantom generator is known" in output


def test_the_command_that_reruns_an_item_asks_for_what_is_there(clone):
    listing = json.loads(clone.inside("plan", "--json"))
    (identity, *_) = [shared["id"] for shared in listing["shared_phases"]]
    output = clone.inside("show", identity)
    assert f"--trial {identity[:16]}\n" in output
    assert "--again" not in output
    assert "none of the phases and trials asked for" in refused(clone, "run", "--again")


def damaged(phantoms, task, name):
    """Copy a phantom to damage it."""
    folder = phantoms.parent / name
    shutil.copytree(phantoms / task, folder)
    return folder


def test_a_sound_phantom_passes(clone, phantoms):
    for task in ("chestxray14", "montgomery"):
        assert "0 failures" in clone.inside("data", "verify", task, str(phantoms / task), "--phantom")


def test_a_label_file_without_a_column_is_named(clone, phantoms):
    folder = damaged(phantoms, "chestxray14", "column")
    (csv,) = folder.glob("Data_Entry*.csv")
    csv.write_text(csv.read_text().replace("Finding Labels", "Findings", 1))
    output = refused(clone, "data", "verify", "chestxray14", str(folder), "--phantom")
    assert "Finding Labels" in output
    assert csv.name in output


def test_a_missing_a_truncated_and_a_foreign_image_are_all_named(clone, phantoms):
    folder = damaged(phantoms, "chestxray14", "images")
    missing, truncated, foreign = sorted((folder / "images").glob("*.png"))[:3]
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:60])
    foreign.write_text("no image")
    output = refused(clone, "data", "verify", "chestxray14", str(folder), "--phantom")
    for path in (missing, truncated, foreign):
        assert path.name in output


def test_a_patient_in_two_splits_fails(clone, phantoms):
    folder = damaged(phantoms, "chestxray14", "leak")
    train, test = folder / "Xray14_train_official.txt", folder / "test_list.txt"
    lines = train.read_text().splitlines()
    patients = [line.split("_")[0] for line in lines]
    moved = next(line for line, patient in zip(lines, patients, strict=True) if patients.count(patient) > 1)
    train.write_text("\n".join(line for line in lines if line != moved) + "\n")
    test.write_text(test.read_text().rstrip("\n") + "\n" + moved.split()[0] + "\n")
    output = refused(clone, "data", "verify", "chestxray14", str(folder), "--phantom")
    assert "patient" in output
    assert moved.split("_")[0].lstrip("0") in output


def test_a_box_outside_its_image_fails(clone, phantoms):
    folder = damaged(phantoms, "chestxray14", "box")
    (csv,) = folder.glob("BBox_List*.csv")
    lines = csv.read_text().splitlines()
    fields = lines[1].split(",")
    fields[2] = "5000.0"
    lines[1] = ",".join(fields)
    csv.write_text("\n".join(lines) + "\n")
    output = refused(clone, "data", "verify", "chestxray14", str(folder), "--phantom")
    assert "box" in output
    assert fields[0] in output


def test_a_mask_of_another_shape_fails_and_the_rest_is_still_reported(clone, phantoms):
    folder = damaged(phantoms, "montgomery", "mask")
    first, second = sorted(folder.rglob("leftMask/*.png"))[:2]
    Image.new("L", (7, 7)).save(first)
    second.unlink()
    output = refused(clone, "data", "verify", "montgomery", str(folder), "--phantom")
    assert first.name in output
    assert second.name in output


def test_a_data_root_that_fails_its_verifier_is_a_failed_record_with_the_sentences(clone, phantoms):
    folder = damaged(phantoms, "montgomery", "half")
    sorted(folder.rglob("rightMask/*.png"))[0].unlink()
    (clone.root / "params.local.yaml").write_text(f"data_roots: {{montgomery: {folder}}}\n")
    output = refused(clone, "data", "prepare", "montgomery", "--profile", "paper")
    (clone.root / "params.local.yaml").unlink()
    assert "fails its verifier" in output


def test_a_folder_of_ours_shadowed_by_another_is_said_in_one_sentence(clone, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("")
    output = clone.run("env", f"PYTHONPATH={tmp_path}:{clone.root}", "dira-bench", "plan", code=2)
    assert "Traceback" not in output
    assert str(tmp_path) in output
