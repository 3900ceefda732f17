"""How many test images a pretraining has seen: counted from real images, kept in a clone, refused when edited."""

from __future__ import annotations

import contextlib
import csv
import shutil

import numpy as np
import pytest
import typer
import yaml
from PIL import Image

from harness.cli import session
from harness.cli.data import twins
from harness.cli.session import Session, console
from harness.cli.stages import write_leakage
from harness.contracts import Context
from harness.errors import UnknownName
from harness.registry import load_parameters
from harness.results import examine
from harness.spec import Status
from tasks.cohorts.build import build
from tests.harness import project

ENTRIES = {
    "archive": {"adapter": "image_folder", "transfer": "none", "outputs": 1, "metric": "none"},
    "judged": {
        "adapter": "table",
        "transfer": "classification",
        "outputs": 1,
        "metric": "auc",
        "options": {"cohort": {"adapter": {"table": "t.csv", "path": "p", "patient": None, "labels": ["l"]}}},
    },
}
ROWS = "results/own/leakage.csv"


def picture(seed):
    """Patches of random greys, which a reduction keeps."""
    return np.kron(np.random.default_rng(seed).integers(0, 255, (8, 8)), np.ones((8, 8))).astype(np.uint8)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with an archive to pretrain on, and a task of 40 images of which the archive has 10, reduced."""
    root = project.copy(tmp_path_factory.mktemp("project"), methods=("moco_v2",), tasks=("chestxray14",))
    (root / "archive").mkdir()
    (root / "judged").mkdir()
    for i in range(40):
        Image.fromarray(picture(i)).save(root / f"judged/{i:02d}.png")
    for i in range(30):
        seen = Image.fromarray(picture(i if i < 10 else 100 + i))
        seen.resize((48, 48), Image.Resampling.BOX).save(root / f"archive/{i:02d}.jpg", quality=90)
    table = "".join(f"{i:02d}.png,{i % 2}\n" for i in range(40))
    (root / "judged/t.csv").write_text(f"p,l\n{table}")
    registry = yaml.safe_load((root / "tasks/registry.yaml").read_text())
    for name, entry in ENTRIES.items():
        common = {"label": name, "dimensions": 2, "split": "random", "version": 1, "source": "a test"}
        registry["tasks"][name] = common | entry
    (root / "tasks/registry.yaml").write_text(yaml.safe_dump(registry))
    methods = yaml.safe_load((root / "methods/registry.yaml").read_text())
    methods["methods"]["moco_v2"]["options"] = {"cohort": "archive"}
    (root / "methods/registry.yaml").write_text(yaml.safe_dump(methods))
    (root / "params.local.yaml").write_text(yaml.safe_dump({"data_roots": {n: str(root / n) for n in ENTRIES}}))
    opening = opened(root)
    with opening.store.driver() as driver:
        for name in ENTRIES:
            attempt = opening.store.lease(opening.plan.cohorts[name], driver)
            roots = opening.registry.data_roots
            context = Context("cpu", attempt.folder, {}, attempt.folder, data_roots=roots)
            build(attempt.item.spec, context)
            opening.store.finish(attempt, Status.OK)
    return root


@pytest.fixture
def root(built, tmp_path, monkeypatch):
    copied = shutil.copytree(built, tmp_path / "copy")
    text = (copied / "params.local.yaml").read_text().replace(str(built), str(copied))
    (copied / "params.local.yaml").write_text(text)
    monkeypatch.setattr(session, "project_root", lambda: copied)
    return copied


def opened(root, profile="own"):
    return Session(root, load_parameters(root, {"profile": profile}))


def written(root):
    opening = opened(root)
    write_leakage(opening.plan, root, opening.store)
    with (root / ROWS).open() as stream:
        return list(csv.DictReader(stream))


def printed(**options):
    with console.capture() as captured, contextlib.suppress(typer.Exit):
        twins(**{"names": None, "as_json": False, "profile": "own", **options})
    return captured.get()


def test_every_split_of_a_task_is_counted_against_what_pretraining_saw(root):
    rows = written(root)
    plan = opened(root).plan
    assert {(r["pretraining_cohort"], r["task"]) for r in rows} == {("archive", "judged")}  # no phantom, no other way
    assert [r["split"] for r in rows] == ["train", "validation", "test"]
    assert sum(int(r["with_twin"]) for r in rows) == 10 and sum(int(r["images"]) for r in rows) == 40
    cases = csv.DictReader(
        (opened(root).store.item_folder("cohort", plan.cohorts["judged"].id) / "0000/cases.csv").open()
    )
    tested = [int(case["case"][:2]) for case in cases if case["split"] == "test"]
    assert int(rows[2]["with_twin"]) == sum(number < 10 for number in tested)
    assert all(r["threshold"] == "0.99" and float(r["below"]) < 0.8 for r in rows)
    assert (
        rows[0]["pretraining_cohort_id"] == plan.cohorts["archive"].id
        and rows[0]["cohort_id"] == plan.cohorts["judged"].id
    )


def test_a_profile_of_phantoms_leaves_an_empty_table(root):
    opening = opened(root, "miniature")
    path = write_leakage(opening.plan, root, opening.store)
    assert len(path.read_text().splitlines()) == 1


def test_a_clone_without_the_images_keeps_the_rows_of_the_planned_cohorts_and_no_others(root):
    rows = written(root)
    shutil.rmtree(root / ".cohorts")
    assert written(root) == rows
    text = (root / ROWS).read_text()
    opening = opened(root)
    (root / ROWS).write_text(text.replace(",judged,", ",juggled,"))
    assert any(ROWS in fault for fault in examine(opening.plan, root, opening.store, may_lack=None).faults)
    assert written(root) == []  # edited: nothing of it stands


def test_rows_of_other_images_do_not_stand(root):
    written(root)
    shutil.rmtree(root / ".cohorts")
    Image.fromarray(picture(7)).save(root / "archive/more.png")
    assert written(root) == []


def test_the_command_counts_and_names_what_is_to_be_left_out(root):
    table = printed()
    assert "archive" in table and "judged" in table and "0.99" in table
    assert printed(names="archive").split() == [f"{i:02d}.jpg" for i in range(10)]
    with pytest.raises(UnknownName, match="archive"):
        printed(names="archives")
    shutil.rmtree(root / ".cohorts")
    assert "data prepare archive" in printed() and "data prepare judged" in printed()
    with pytest.raises(typer.Exit) as ended:
        twins(names=None, as_json=False, profile="own")
    assert ended.value.exit_code == 1
