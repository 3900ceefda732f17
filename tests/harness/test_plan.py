"""The plan: the crossing is data, ids move only for those whose numbers move."""

from __future__ import annotations

import pickle

import pytest
import yaml

from harness.errors import ConfigurationError
from harness.identity import item_id
from harness.published import CellKey
from harness.spec import Item
from tests.harness import project

MINE = "  mine: {label: Mine, dimensions: 2, recipe: pretext, discrimination: null, restoration: 10, version: 1, source: here}\n"


@pytest.fixture
def root(tmp_path):
    return project.copy(tmp_path)


def ids(plan):
    return {key: item.id for key, item in plan.trials().items()}


def test_every_id_is_the_digest_of_kind_and_spec(root):
    plan = project.plan(root)
    assert all(item.id == item_id(item.kind, item.spec) for item in plan.items.values())
    assert len(ids(plan)) == len(set(ids(plan).values()))


def test_a_trial_reaches_another_process_as_a_plain_item_that_says_the_same(root):
    trial = next(iter(project.plan(root).trials().values()))
    arrived = pickle.loads(pickle.dumps(trial))  # noqa: S301  what was just written
    assert type(arrived) is Item
    assert arrived.dump() == trial.dump()
    assert set(arrived.dump()) == {"kind", "id", "title", "run", "spec", "needs", "cost"}


def test_adding_a_method_changes_no_other_id_and_no_other_seed(root):
    before = ids(project.plan(root))
    project.append(root / "methods/registry.yaml", MINE)
    after = ids(project.plan(root))
    assert {key: after[key] for key in before} == before
    assert {key.method for key in after} - {key.method for key in before} == {"mine"}


def test_a_version_moves_its_own_trials_only(root):
    before = ids(project.plan(root))
    path = root / "methods/registry.yaml"
    registry = yaml.safe_load(path.read_text())
    registry["methods"]["random"]["version"] += 1
    path.write_text(yaml.safe_dump(registry, sort_keys=False))
    after = ids(project.plan(root))
    assert {key.method for key in before if before[key] != after[key]} == {"random"}


def test_repeats_extend_and_base_seed_moves_everything(root):
    before = ids(project.plan(root))
    more = ids(project.plan(root, repeats=12))
    assert {key: more[key] for key in before} == before
    assert len(more) == len(before) * 12 // 10
    other = ids(project.plan(root, base_seed=7))
    assert not set(other.values()) & set(before.values())


def test_alpha_is_not_identity(root):
    assert ids(project.plan(root, alpha=0.01)) == ids(project.plan(root))


def test_a_phase_that_two_methods_share_is_planned_once(root):
    plan = project.plan(root)
    res, dira = plan.phases["moco_v2_dir", 0], plan.phases["dira_moco_v2", 0]
    assert res[0].id == dira[0].id
    assert res[1].id != dira[1].id
    assert plan.phases["moco_v2", 0][0].id != dira[0].id, "the matched budgets differ"
    assert len([item for item in plan.items.values() if item.kind == "phase"]) == 5


def test_pretraining_seeds_multiply_phases_but_never_random(root):
    plan = project.plan(root, pretrain_seeds=3)
    assert len({chain[-1].id for (name, _), chain in plan.phases.items() if name == "dira_moco_v2"}) == 3
    assert {key.pretrain_seed for key in plan.trials() if key.method == "random"} == {0}
    first = ids(project.plan(root))
    assert {key: ids(plan)[key] for key in first} == first


def test_shared_seeds_leave_out_the_method(root):
    plan = project.plan(root, seed_plan="shared")
    seeds = {
        key.method: item.spec["seeds"]
        for key, item in plan.trials().items()
        if key.repeat == 3 and key.task == "montgomery"
    }
    assert len({str(s) for s in seeds.values()}) == 1
    independent = project.plan(root)
    seeds = {
        k.method: i.spec["seeds"] for k, i in independent.trials().items() if k.repeat == 3 and k.task == "montgomery"
    }
    assert len({str(s) for s in seeds.values()}) == len(seeds)


def test_subsets_are_fixed_for_chestxray14_and_drawn_per_repeat_for_montgomery(root):
    seeds: dict[str, set[int]] = {}
    for key, item in project.plan(root).trials().items():
        seeds.setdefault(key.task, set()).add(item.spec["subset"]["seed"])
    assert len(seeds["chestxray14"]) == 1
    assert len(seeds["montgomery"]) == 10


def test_every_skip_has_a_reason(root):
    project.append(
        root / "methods/registry.yaml",
        MINE.replace("mine:", "seen:").replace("version: 1", "saw_labels_of: [montgomery], version: 1"),
    )
    project.append(
        root / "methods/registry.yaml",
        "  deep: {label: Deep, dimensions: 3, recipe: random, version: 1, source: here}\n",
    )
    plan = project.plan(root)
    skipped = {(c.key.method, c.key.task): c.skipped for c in plan.cells.values() if c.skipped}
    assert "labels of Montgomery" in skipped["seen", "montgomery"]
    assert skipped["deep", "montgomery"] == "3D method, 2D task"
    assert "full label set" in skipped["moco_v2_dir", "chestxray14"]


def test_an_absent_data_root_is_unavailable_and_never_a_phantom(root, monkeypatch):
    for name in ("DIRA_BENCH_DATA", "DIRA_BENCH_DATA_CHESTXRAY14", "DIRA_BENCH_DATA_MONTGOMERY"):
        monkeypatch.delenv(name, raising=False)
    plan = project.plan(root, profile="paper")
    assert plan.trials() == {}
    assert all(
        cell.unavailable and "DIRA_BENCH_DATA" in cell.unavailable
        for cell in plan.cells.values()
        if not cell.skipped and not plan.methods[cell.key.method].unavailable
    )


def test_the_published_block_counts_what_is_registered(root):
    counts = project.plan(root).counts()
    assert counts["published"] == {
        "distinct_cells": 20,
        "naive_cells": 24,
        "distinct_trials": 200,
        "naive_trials": 240,
        "unavailable_cells": 0,
        "unavailable_trials": 0,
    }


def test_a_cell_names_its_tables_and_an_added_one_names_none(root):
    cells = project.plan(root).cells
    assert cells[CellKey("dira_moco_v2", "chestxray14", 1.0)].tables == ("tab2", "tab4", "tab5")
    assert cells[CellKey("random", "chestxray14", 0.01)].tables == ()


def test_what_only_a_done_item_needs_is_not_run(root):
    plan = project.plan(root)
    trials = plan.trials(lambda cell: cell.key.method == "dira_moco_v2")
    done = {item.id for item in trials.values()}
    assert plan.needed(trials.values(), done) == []
    one = next(iter(trials.values()))
    needed = plan.needed([one], done - {one.id})
    kinds = [item.kind for item in needed]
    assert kinds[-1] == "trial"
    assert kinds.count("phase") == 3
    order = {item.id: place for place, item in enumerate(needed)}
    assert all(order[need] < order[item.id] for item in needed for need in item.needs)


def test_an_encoder_only_control_is_not_run_where_no_decoder_is(tmp_path):
    names = (*project.METHODS, "dira_moco_v2_encoder_only")
    plan = project.plan(project.copy(tmp_path, names))
    cells = {
        cell.key.task: cell
        for cell in plan.cells.values()
        if cell.key.method == names[-1] and cell.key.label_fraction == 1.0
    }
    assert "no decoder" in cells["chestxray14"].skipped
    assert len(cells["montgomery"].trials) == 10
    assert plan.phases[names[-1], 0] == plan.phases["dira_moco_v2", 0], "no new pretraining"


def test_a_family_of_ones_own_that_names_an_unknown_entry_is_refused_before_anything_is_trained(tmp_path):
    root = project.copy(tmp_path)
    project.append(
        root / "reports" / "families.yaml",
        "own:\n  mine: {label: x, pairs: [[moco_v3, moco_v2]], tasks: [montgomerry]}\n",
    )
    with pytest.raises(ConfigurationError) as refused:
        project.plan(root)
    assert [line.partition(";")[0] for line in str(refused.value).splitlines()] == [
        'no method "moco_v3" in reports/families.yaml, own.mine',
        'no task "montgomerry" in reports/families.yaml, own.mine',
    ]
    assert 'did you mean "montgomery"' in str(refused.value)


OWN_TABLE = """
own:
  mine:
    title: Mine
    methods: [moco_v2, random]
    tasks: [chestxray14, montgomery]
    label_fractions: [1.0]
    metric: auc
    against: [random]
"""


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("[moco_v2,", "[moco_v3,", 'no method "moco_v3" in reports/tables.yaml, own.mine; did you mean "moco_v2'),
        ("[random]", "[randon]", 'no method "randon" in reports/tables.yaml, own.mine; did you mean "random"'),
        ("montgomery", "montgomerry", 'no task "montgomerry" in reports/tables.yaml, own.mine; did you mean "montg'),
        ("auc", "acu", 'no metric "acu" in reports/tables.yaml, own.mine; '),
        ("[1.0]", "[0.02, 1.0]", "reports/tables.yaml, own.mine.label_fractions: no task of the table has a cell at "
         "label fraction 0.02; expected one of "),
        ("against", "aginst", 'reports/tables.yaml, own.mine.aginst: unknown key; did you mean "against"'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_table_of_ones_own_is_refused_before_anything_is_trained(tmp_path, old, new, found):
    root = project.copy(tmp_path)
    (root / "reports" / "tables.yaml").write_text(OWN_TABLE)
    project.plan(root)
    (root / "reports" / "tables.yaml").write_text(OWN_TABLE.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as refused:
        project.plan(root)
    said = str(refused.value)
    assert said.startswith(found) and len(said.splitlines()) == 1
