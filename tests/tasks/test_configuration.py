from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.identity import item_id
from harness.spec import TaskEntry
from tasks.configuration import resolve
from tasks.profiles import profile_names
from tasks.specs import read_transfer

ENTRY = {
    "name": "mine",
    "label": "Mine",
    "dimensions": 2,
    "adapter": "chestxray14",
    "transfer": "classification",
    "outputs": 14,
    "metric": "auc",
    "label_fractions": [0.5, 1.0],
    "split": "official",
    "version": 1,
    "source": "a test",
}


def entry(**changes: object) -> TaskEntry:
    return TaskEntry.model_validate({**ENTRY, **changes})


def test_phantom_profiles_are_synthetic_and_available_and_the_others_need_a_data_root() -> None:
    for profile in ("smoke", "miniature"):
        plan = resolve(entry(), profile, {})
        assert plan.unavailable is None and plan.synthetic and plan.stamp.startswith("SYNTHETIC")
        assert not plan.split_published
    for profile in ("paper", "paper_matched", "code"):
        plan = resolve(entry(), profile, {})
        assert not plan.synthetic
        assert "DIRA_BENCH_DATA_MINE" in plan.unavailable and "params.local.yaml" in plan.unavailable
        assert "generator" not in plan.cohort


def test_a_data_root_that_is_no_folder_is_one_sentence_and_not_a_phantom(tmp_path: Path) -> None:
    plan = resolve(entry(), "paper", {"mine": tmp_path / "absent"})
    assert "is no folder" in plan.unavailable and "\n" not in plan.unavailable
    plan = resolve(entry(), "paper", {"mine": tmp_path})
    assert "Data_Entry_2017" in plan.unavailable


def test_every_plan_has_a_canonical_identity_without_any_path(tmp_path: Path) -> None:
    for profile in profile_names():
        plan = resolve(entry(), profile, {"mine": tmp_path})
        assert len(item_id("cohort", {"task": "mine", "configuration": plan.cohort})) == 64
        assert len(item_id("trial", plan.transfer)) == 64
        assert str(tmp_path) not in json.dumps([plan.cohort, plan.transfer])


def test_the_paper_profile_is_the_papers_protocol() -> None:
    classification = resolve(entry(), "paper", {}).transfer
    assert classification["optimiser"] == {"name": "adam", "lr": 2e-4, "betas": [0.9, 0.999], "weight_decay": 0.0}
    assert classification["batch"] == 32 and classification["test_time_augmentation"] == "ten_crop"
    assert classification["schedule"] == {"name": "plateau", "factor": 0.5, "patience": 5, "threshold": 1e-4}
    assert classification["metric"]["resamples"] == 2000 and classification["early_stopping"] == 10
    segmentation = resolve(
        entry(adapter="montgomery", transfer="segmentation", outputs=1, metric="dice", split="random"), "paper", {}
    ).transfer
    assert segmentation["optimiser"]["lr"] == 1e-3 and segmentation["epochs"] == 200
    assert segmentation["loss"] == "soft_dice" and segmentation["dice_smooth"] == 1.0
    assert not segmentation["augment_validation"]


def test_the_code_profile_differs_from_the_paper_where_the_authors_loader_does() -> None:
    changes = {"adapter": "montgomery", "transfer": "segmentation", "outputs": 1, "metric": "dice", "split": "random"}
    assert resolve(entry(**changes), "code", {}).transfer["augment_validation"]


def test_all_errors_of_an_entry_come_at_once_with_near_names() -> None:
    wrong = entry(adapter="chestxray15", metric="auk", options={"transfer": {"optimizer": {}, "batch": 0}, "chort": 1})
    with pytest.raises(ConfigurationError) as caught:
        resolve(wrong, "paper", {})
    text = str(caught.value)
    assert 'did you mean "chestxray14"' in text
    assert 'did you mean "auc"' in text
    assert 'did you mean "optimiser"' in text
    assert 'did you mean "cohort"' in text
    assert "options.transfer.batch: found 0" in text


def test_an_unknown_profile_suggests_a_near_one() -> None:
    with pytest.raises(ConfigurationError, match="miniature"):
        resolve(entry(), "minature", {})


def test_a_length_in_steps_says_when_to_evaluate_and_another_word_for_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="found a length in steps without validation_every"):
        resolve(entry(options={"transfer": {"length": {"unit": "steps"}}}), "paper", {})
    for old, value in (("steps", 10), ("epochs", 10), ("evaluate_every", 3)):
        with pytest.raises(ConfigurationError, match=rf"options\.transfer\.{old}: unknown key"):
            resolve(entry(options={"transfer": {old: value}}), "paper", {})


def test_a_dump_keeps_the_words_that_ids_began_with_and_is_read_back_as_it_was_said() -> None:
    asked = {
        "length": {"unit": "steps", "count": 7}, "validation_every": 3, "precision": "bf16",
        "selection": "highest_validation_metric", "optimiser": {"learning_rate": 0.5},
        "schedule": {"name": "cosine", "per": "step", "factor": None, "patience": None, "threshold": None},
    }  # fmt: skip
    dump = resolve(entry(options={"transfer": asked}), "paper", {}).transfer
    assert {key: dump[key] for key in ("steps", "epochs", "evaluate_every", "precision", "selection", "schedule")} == {
        "steps": 7, "epochs": None, "evaluate_every": 3, "precision": "bfloat16", "selection": "validation_metric",
        "schedule": {"name": "cosine", "over": "steps"},
    }  # fmt: skip
    assert dump["optimiser"]["lr"] == 0.5
    assert not set(dump) & {"length", "validation_every"} and "learning_rate" not in dump["optimiser"]
    found = read_transfer(dump)
    assert (found.steps, found.epochs, found.validation_every, found.precision) == (7, None, 3, "bf16")
    assert found.selection == "highest_validation_metric" and found.optimiser.learning_rate == 0.5
    assert found.dump() == dump


def test_an_adapter_from_outside_that_cannot_be_imported_is_unavailable_and_breaks_nothing() -> None:
    plan = resolve(entry(adapter="nobodys_package.adapter:ADAPTER"), "paper", {})
    assert "nobodys_package" in plan.unavailable
    plan = resolve(entry(adapter="nobodys_package.adapter:ADAPTER"), "miniature", {})
    assert "generator" in plan.unavailable


def test_an_entrys_options_have_the_last_word() -> None:
    plan = resolve(entry(options={"transfer": {"batch": 7}, "cohort": {"cache_px": 64}}), "miniature", {})
    assert plan.transfer["batch"] == 7 and plan.cohort["cache_px"] == 64


def test_resolving_imports_no_torch() -> None:
    code = (
        "import sys; from harness.registry import load_registry; r = load_registry();"
        "[r.resolve_task(t.name, p) for t in r.tasks for p in ('smoke', 'paper')];"
        "sys.exit(any(m in sys.modules for m in ('torch', 'albumentations', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
