"""What pretraining costs: budgets from the plan, hours from steps that were timed."""

import pytest
import yaml

from harness import pretrainings
from harness.pretrainings import probe_missing, read_probes
from tests.harness import project


@pytest.fixture(scope="module")
def plan():
    return project.plan(project.ROOT, profile="paper")


def by_name(listed, phase, method):
    (found,) = [row for row in listed if row.phase == phase and method in row.methods]
    return found


def test_every_phase_is_listed_once_though_no_data_set_is_here(plan):
    assert not plan.items
    listed = pretrainings.pretrainings(plan, {})
    shared = by_name(listed, "dis", "moco_v2")
    assert {"moco_v2", "moco_v2_dir", "dira_moco_v2"} <= set(shared.methods)
    assert (shared.count, shared.unit, shared.batch) == (200, "epochs", 256)
    assert len({row.key for row in listed}) == len(listed)
    assert not any(row.hours for row in listed)


def test_images_are_whole_batches_of_the_published_training_list(plan):
    # 75,312 images make 294 whole batches of 256; App. C.1: 200 epochs of them
    assert by_name(pretrainings.pretrainings(plan, {}), "dis", "moco_v2").images_seen == 200 * 294 * 256
    # 44 words in the 200 nearest patients at three resolutions, 150 epochs
    assert by_name(pretrainings.pretrainings(plan, {}), "dis+res", "dira_transvw").images_seen == 150 * 44 * 200 * 3


def test_hours_come_from_timed_steps_alone_and_a_phase_is_timed_once(plan, tmp_path, monkeypatch):
    asked = []

    def probe(resolved, device):
        asked.append(resolved)
        return [None if phase.name == "discovery" else 0.01 for phase in resolved.phases]

    monkeypatch.setattr(pretrainings, "import_dotted", lambda path: probe)
    probe_missing(plan, tmp_path, "cpu", "some processor", lambda sentence: None)
    first = len(asked)
    assert first < len([m for m in plan.methods.values() if m.phases])  # whose phases are all another's is not asked
    rows = pretrainings.pretrainings(plan, read_probes(tmp_path))
    for row in rows:
        expected = {} if row.phase == "discovery" else {"some processor": 0.01 * row.images_seen / 3600}
        assert row.hours == pytest.approx(expected)
    probe_missing(plan, tmp_path, "cpu", "some processor", lambda sentence: None)
    assert len(asked) == first


def test_the_same_phase_on_other_images_is_another_training(tmp_path):
    root = project.copy(tmp_path)
    path = root / "methods" / "registry.yaml"
    entries = yaml.safe_load(path.read_text())
    entries["methods"]["elsewhere"] = {
        **entries["methods"]["moco_v2"], "label": "Elsewhere", "options": {"cohort": "montgomery"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(entries, sort_keys=False, width=1000))
    planned = project.plan(root)
    listed = pretrainings.pretrainings(planned, {})
    assert len(planned.phases["elsewhere", 0]) == len(planned.phases["moco_v2", 0]) == 1
    assert not any({"moco_v2", "elsewhere"} <= set(row.methods) for row in listed)
