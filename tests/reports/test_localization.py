"""Tab. 5, Fig. 5 and 6 and the average gains: from trials in a store to what a reader sees."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.errors import ConfigurationError, DataError
from harness.results import SHOWN, read_rows, write_localization
from harness.results.shown import read_shown
from harness.statistics.margins import read_margins
from harness.statistics.paper import read_paper
from harness.statistics.summary import MethodFacts, TaskFacts, read_cells, summarise, write
from harness.store import Store
from reports.render import build
from reports.render.inputs import read_results
from reports.render.panel_figures import Block, allowed_blocks, panels, real_panels
from reports.render.panels import Maps, activation, choose, random_panel, read_maps, shared
from tasks.scoring.localization.boxes import activations
from tests.harness import project
from tests.reports.localized import PAIR, TASK, localize

ROOT = project.ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose pair was localized at smoke scale by stand-in networks: its root and plan."""
    root = project.copy(tmp_path_factory.mktemp("localized"))
    for name in ("tables.yaml", "margins.yaml", "overlaps.yaml"):
        shutil.copy(ROOT / "reports" / name, root / "reports")
    shutil.copytree(ROOT / "results" / "published", root / "results" / "published")
    plan = project.plan(root, profile="smoke", repeats=2)
    localize(root, plan)
    report(root, plan)
    return root, plan


def names(plan):
    entries = plan.registry
    return {e.name: e.label for e in entries.methods}, {e.name: e.label for e in entries.tasks}


def report(root, plan):
    folder = root / "results" / "smoke"
    methods, tasks = names(plan)
    cells, contrasts, _ = summarise(
        folder,
        {name: MethodFacts(label=label) for name, label in methods.items()},
        {
            e.name: TaskFacts(
                label=e.label, metric=e.metric, metrics=plan.tasks[e.name].metrics, label_fractions=e.label_fractions
            )
            for e in plan.registry.tasks
        },
        plan.parameters,
        plan.families,
        read_margins(root / "reports" / "margins.yaml"),
        read_paper(root / "results" / "published" / "paper.csv"),
    )
    write(folder, cells, contrasts)
    build(
        root / "results", root / "reports", "smoke",
        parameters=plan.parameters, families=plan.families, methods=methods, tasks=tasks,
    )  # fmt: skip


def archive(root, method=PAIR[0]) -> Path:
    return root / "results" / "smoke" / "localization" / f"{method}.npz"


def test_a_label_fraction_has_no_localization_and_lacks_nothing(made):
    root, _ = made
    rows = read_rows(root / "results" / "smoke" / "trials" / f"{PAIR[0]}.csv")
    half = [r for r in rows if r["task"] == TASK and r["label_fraction"] == "0.5" and "localization" in r["metric"]]
    assert len(half) == 2 * 7
    assert {(r["value"], r["status"]) for r in half} == {("", "ok")}
    cells = read_cells(root / "results" / "smoke" / "cells.csv")
    own = [c for c in cells if (c.method, c.task) == (PAIR[0], TASK) and c.done]
    assert {c.metric for c in own if c.label_fraction == 0.5} == {"auc"}
    assert len({c.metric for c in own if c.label_fraction == 1.0}) == 7  # without the number of boxes: no score
    assert not [c for c in own if c.missing]


def test_the_manifest_counts_the_boxes_of_each_class_and_the_images_that_have_one(made):
    root, plan = made
    counts = json.loads((root / "results" / "smoke" / "cohorts" / f"{TASK}.json").read_text())["counts"]
    folder = next((root / ".cohorts" / plan.cohorts[TASK].id).iterdir())
    boxes = pd.read_csv(folder / "boxes.csv")
    assert counts["boxes_by_class"] == boxes["label"].value_counts().to_dict()
    assert sum(counts["boxes_by_class"].values()) == counts["boxes"] > counts["boxed_images"] == boxes["row"].nunique()


def test_the_archive_is_small_and_the_same_when_written_again(made):
    root, plan = made
    before = archive(root).read_bytes()
    assert len(before) < 300_000
    archive(root).unlink()
    write_localization(plan, root, Store(root / ".trials", root / ".cohorts"), PAIR[0])
    assert archive(root).read_bytes() == before


def test_a_fresh_clone_keeps_the_archive_of_a_planned_trial_and_no_other(made, tmp_path):
    root, plan = made
    copy = project.copy(tmp_path)
    shutil.copytree(root / "results", copy / "results")
    nothing = Store(copy / ".trials", copy / ".cohorts")
    before = archive(root).read_bytes()
    write_localization(plan, copy, nothing, PAIR[0])
    assert archive(copy).read_bytes() == before
    write_localization(project.plan(copy, profile="smoke", base_seed=1), copy, nothing, PAIR[0])
    assert read_maps(archive(copy)) == {}


def test_both_methods_keep_the_same_images_and_as_many_of_each_class_as_agreed(made):
    root, _ = made
    first, second = (read_maps(archive(root, method))[TASK] for method in PAIR)
    assert first.cases == second.cases and first.classes == second.classes
    assert max(first.classes.count(name) for name in first.classes) <= SHOWN
    assert not np.array_equal(first.arrays["cams"], second.arrays["cams"])
    assert np.array_equal(first.arrays["pixels"], second.arrays["pixels"])
    for pair in range(len(first)):
        assert len(first.boxes(pair)) >= 1


def maps(overlap, predicted, classes=None) -> Maps:
    count = len(overlap)
    return Maps({
        "class": np.array(classes or [0] * count),
        "class_names": np.array([b"Mass", b"Nodule"]),
        "case": np.array([f"{i:016x}".encode() for i in range(count)]),
        "logits": np.where(np.array(predicted)[:, None], 1.0, -1.0) * np.ones((1, 2)),
        "rank": np.full(count, 9),
        "positives": np.full(count, 3),
        "overlap": np.array(overlap),
    })  # fmt: skip


def test_the_panel_is_the_median_of_what_both_predict():
    method = maps([0.9, 0.5, 0.4, 0.3, 0.0], [True, True, True, True, False])
    base = maps([0.0, 0.1, 0.2, 0.3, 0.8], [False, True, True, True, True])
    (panel,) = choose(method, base)
    assert (panel.pair, panel.eligible, panel.kept) == (2, 3, 5)  # differences .4, .2, .0 of the three both predict
    method = maps([0.9, 0.5], [True, False])
    (panel,) = choose(method, maps([0.1, 0.1], [False, True]))
    assert panel.pair is None and panel.eligible == 0


def test_an_image_among_the_likeliest_of_its_class_counts_as_predicted():
    unsure = maps([0.0, 0.0, 0.0], [False, False, True])
    ranked = Maps({**unsure.arrays, "rank": np.array([3, 4, 9])})
    assert ranked.predicted.tolist() == [True, False, True]


def test_the_random_panel_depends_on_names_alone(made):
    root, _ = made
    first, second = (read_maps(archive(root, method))[TASK] for method in PAIR)
    assert random_panel(first).pair == random_panel(second).pair


def test_the_drawn_evidence_is_what_boxes_are_made_from():
    cams = np.random.default_rng(0).normal(size=(20, 8, 8)).astype(np.float32)
    assert np.stack([activation(c, 32) for c in cams]) == pytest.approx(activations(cams, 32), abs=1e-5)
    assert not activation(np.full((8, 8), 2.0), 32).any()


def test_a_map_that_is_nowhere_positive_is_called_empty_and_not_an_overlap_of_zero():
    known = maps([0.0, 0.0], [True, True], classes=[0, 1]).arrays
    cams = np.full((2, 8, 8), -1.0, dtype=np.float32)
    cams[1, 2:4, 2:4] = 1.0  # the second map points somewhere, and misses
    drawn = Maps({
        **known,
        "cams": cams,
        "found": np.array([[np.nan] * 4, [0.2, 0.2, 0.5, 0.5]]),
        "boxes": np.array([[0.6, 0.6, 0.9, 0.9]] * 2),
        "box_pair": np.array([0, 1]),
    })  # fmt: skip
    figure = panels([Block("with", "without", drawn, drawn, choose(drawn, drawn))], "")
    written = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert len(written) == 4  # two classes under two models
    assert ["empty map" in texts for texts in written] == [True, False, True, False]
    assert [any(text.startswith("IoU 0") for text in texts) for texts in written] == [False, True, False, True]


def test_the_figures_stand_in_the_report_stamped_with_their_rule(made):
    root, _ = made
    page = (root / "reports" / "smoke" / "report.html").read_text()
    for name in ("fig5", "fig6"):
        assert f'id="figure-{name}"' in page
        svg = (root / "reports" / "smoke" / "figures" / f"{name}.svg").read_text()
        assert "SYNTHETIC: analytic phantoms" in svg
        assert svg.count("<image") >= 2
    assert f"of up to {SHOWN} annotated images" in page
    assert "whose class both models predict" in page


@pytest.mark.thorough
def test_building_again_gives_the_same_figures(made, tmp_path):
    root, plan = made
    copy = project.copy(tmp_path)
    shutil.copytree(root / "results", copy / "results")
    for name in ("tables.yaml", "margins.yaml", "overlaps.yaml"):
        shutil.copy(ROOT / "reports" / name, copy / "reports")
    report(copy, plan)
    for name in ("fig5.svg", "fig5.png", "fig6.svg", "fig6.png"):
        first, second = (r / "reports" / "smoke" / "figures" / name for r in (root, copy))
        assert first.read_bytes() == second.read_bytes()


def test_images_that_were_not_made_here_are_not_drawn_and_the_caption_says_so(made, tmp_path):
    root, plan = made
    copy = project.copy(tmp_path)
    shutil.copytree(root / "results", copy / "results")
    for name in ("tables.yaml", "margins.yaml", "overlaps.yaml"):
        shutil.copy(ROOT / "reports" / name, copy / "reports")
    for method in PAIR:
        with np.load(archive(copy, method)) as opened:
            kept = {name: opened[name] for name in opened.files if not name.endswith("|pixels")}
        np.savez(archive(copy, method), **kept)
    manifest = copy / "results" / "smoke" / "cohorts" / f"{TASK}.json"
    manifest.write_text(manifest.read_text().replace('"synthetic": true', '"synthetic": false'))
    report(copy, plan)
    page = (copy / "reports" / "smoke" / "report.html").read_text()
    assert "stay in their data root" in page


def allowing(root: Path, plan, pictures: int | None):
    """Pretend that a cohort's images are real; return the plan. ``pictures``: how many the terms allow, or no entry."""
    allowed = {TASK: {"data_set": "A", "terms": "t", "credit": "Radiographs: A", "pictures": pictures}}
    (root / "tasks" / "shown.yaml").write_text(json.dumps({"tasks": allowed if pictures else {}}))
    task = plan.tasks[TASK].model_copy(update={"synthetic": False})
    return dataclasses.replace(plan, tasks={**plan.tasks, TASK: task})


def real_pictures(root: Path) -> list[int]:
    """How many pictures each method's file holds, of any kind."""
    counts = []
    for method in PAIR:
        with np.load(archive(root, method)) as opened:
            counts.append(sum(len(opened[n]) for n in opened.files if n.endswith(("|pixels", "|shown"))))
    return counts


def test_of_real_images_none_is_kept_unless_their_terms_allow_it_and_then_a_few_once_for_all_methods(made, tmp_path):
    root, plan = made
    copy = project.copy(tmp_path)
    store = Store(root / ".trials", root / ".cohorts")
    for allowed, expected in ((None, [0, 0]), (3, [3, 0])):
        real = allowing(copy, plan, allowed)
        cells = {key: cell for key, cell in real.cells.items() if key.method in PAIR}  # the first of them holds all
        for method in PAIR:
            write_localization(dataclasses.replace(real, cells=cells), copy, store, method)
        assert real_pictures(copy) == expected
    kept = shared({method: read_maps(archive(copy, method)) for method in PAIR})
    for method in PAIR:
        own, made_up = kept[method][TASK], read_maps(archive(root, method))[TASK]
        assert own.credit == "Radiographs: A" and len(own.eligible) == 3
        assert len({own.classes[pair] for pair in own.eligible}) == 1  # of the class with the most boxes
        for pair in own.eligible:
            assert np.array_equal(own.image(pair), made_up.image(pair))
    nothing = Store(copy / ".trials", copy / ".cohorts")  # a fresh clone, where the terms no longer allow it
    write_localization(allowing(copy, plan, None), copy, nothing, PAIR[0])
    assert real_pictures(copy)[0] == 0
    assert read_maps(archive(copy))[TASK].classes == kept[PAIR[0]][TASK].classes


def test_terms_that_allow_more_than_half_of_all_panels_are_refused(tmp_path):
    (tmp_path / "tasks").mkdir()
    entry = {"data_set": "A", "terms": "t", "credit": "c", "pictures": 6}
    (tmp_path / "tasks" / "shown.yaml").write_text(json.dumps({"tasks": {"a": entry, "b": entry}}))
    with pytest.raises(ConfigurationError, match="found 12 pictures; expected at most 10 in all"):
        read_shown(tmp_path)
    assert read_shown(tmp_path / "nowhere") == {}


def test_pictures_kept_and_real_panels_drawn_come_to_no_more_than_twenty():
    known = maps([0.1] * 9, [True] * 9).arrays
    shown = {(f"{i:016x}", "Mass"): np.zeros((8, 8), np.uint8) for i in range(8)}
    own = Maps({**known, "boxes": np.zeros((0, 4)), "box_pair": np.zeros(0)}, shown, "credit")
    blocks = [Block("with", "without", own, own, [*choose(own, own), random_panel(own)]) for _ in range(4)]
    assert {real_panels(block) for block in blocks} == {4}
    assert len(allowed_blocks(blocks)) == 3  # 8 kept and 3 blocks of 4 drawn
    assert len(allowed_blocks([dataclasses.replace(block, method=maps([0.1], [True])) for block in blocks])) == 4


def test_a_damaged_archive_ends_in_one_sentence(made, tmp_path):
    root, _ = made
    damaged = tmp_path / "moco_v2.npz"
    damaged.write_bytes(archive(root).read_bytes()[:500])
    with pytest.raises(DataError, match="cannot be read"):
        read_maps(damaged)
    with np.load(archive(root)) as opened:
        np.savez(damaged, **{n: opened[n] for n in opened.files if not n.endswith("|overlap")})
    with pytest.raises(DataError, match=f"lacks overlap of {TASK}"):
        read_maps(damaged)


def test_the_average_gain_over_overlaps_is_taken_trial_by_trial(made):
    root, plan = made
    methods, tasks = names(plan)
    results = read_results(root / "results", "smoke", methods, tasks)
    means = {}
    for method in PAIR:
        rows = [t for t in results.trials if t.method == method and t.label_fraction == 1.0 and t.value is not None]
        rows = [t for t in rows if t.metric.startswith("localization") and not t.metric.endswith("boxes")]
        means[method] = [100 * np.mean([t.value for t in rows if t.repeat == k]) for k in (0, 1)]
    test = stats.ttest_ind(means[PAIR[1]], means[PAIR[0]], equal_var=False)
    low, high = test.confidence_interval(0.95)
    effect = np.mean(means[PAIR[1]]) - np.mean(means[PAIR[0]])
    text = (root / "reports" / "smoke" / "tables" / "tab5.md").read_text().replace("−", "-").replace("\\", "")
    line = next(line for line in text.splitlines() if "mean over 6 overlaps" in line)
    assert f"{effect:+.2f} [{low:+.2f}, {high:+.2f}]" in line.replace("+-", "-")
    assert line.rstrip(" |").endswith("2.38")  # what App. A.1 prints


def test_tab5_says_how_many_boxes_a_model_proposes(made):
    root, _ = made
    rows = read_rows(root / "results" / "smoke" / "trials" / f"{PAIR[0]}.csv")
    counts = [float(r["value"]) for r in rows if r["metric"] == "localization_boxes" and r["value"]]
    assert len(counts) == 2
    for suffix in ("md", "tex", "html"):
        text = (root / "reports" / "smoke" / "tables" / f"tab5.{suffix}").read_text()
        assert f"MoCo-v2 {np.mean(counts):.1f}" in text
        assert "δ = 0.6" in text.replace(r"$\delta$", "δ")
