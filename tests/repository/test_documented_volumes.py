"""The settings of 3D pretraining: each has its row in docs/deviations.md, and each is the number of TransVW's code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.registry import load_registry
from methods.profiles import Volumes, load_profile
from methods.volumes import transforms, words
from tests.repository.test_documented_options import check, compare, options_under

TITLE = "Settings of 3D pretraining"


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None or name in Volumes.model_fields:  # what is None further in belongs to another budget
            yield prefix + name, value


def of_profile(name: str) -> dict[str, Any]:
    volumes = load_profile(name).volumes
    assert volumes is not None
    settings = {"terms": {}, **volumes.model_dump(mode="json", exclude_unset=True)}
    settings["amount"] = {
        key: settings["amount"][key] for key in ("unit", "budget", "total") if key in settings["amount"]
    }
    return dict(flat(settings))


def test_every_setting_has_a_row_with_the_papers_value_and_every_row_a_setting() -> None:
    settings = of_profile("paper")
    documented = options_under(TITLE)
    compare((name for name, _ in documented), set(settings), "volumes in methods/profiles.yaml")
    assert check(documented, settings) == len(settings) >= 30


@pytest.mark.parametrize("profile", ["miniature", "smoke"])
def test_a_small_profile_has_no_setting_without_a_row(profile: str) -> None:
    rows = {name for name, _ in options_under(TITLE)}
    apart = ("terms.", "options")  # what a term or the recipe says of itself; their rows stand in their own tables
    unknown = {name for name in of_profile(profile) if name not in rows and not name.startswith(apart)}
    assert not unknown


# TransVW bd4f3e3. Setting → file, number.
SOURCE: dict[str, tuple[str, Any]] = {
    "cube": ("keras/train.py --input_rows --input_cols --input_deps", [64, 64, 32]),
    "batch": ("keras/train.py --batch_size", 8),
    "optimiser.name": ("keras/train.py", "adam"),
    "optimiser.learning_rate": ("keras/config.py lr", 1e-3),
    "schedule.name": ("keras/train.py ReduceLROnPlateau", "plateau"),
    "schedule.factor": ("keras/train.py", 0.5),
    "schedule.patience": ("keras/train.py", 20),
    "schedule.min_delta": ("keras/train.py", 1e-4),
    "schedule.min_lr": ("keras/train.py", 1e-6),
    "autoencoder.shape": ("self_discovery/train_autoencoder.py --input_rows --input_cols --input_deps", [128, 128, 64]),
    "autoencoder.batch": ("self_discovery/train_autoencoder.py --batch_size", 8),
    "autoencoder.epochs": ("self_discovery/train_autoencoder.py nb_epoch", 10000),
    "autoencoder.learning_rate": ("self_discovery/train_autoencoder.py lr", 1e-3),
    "autoencoder.plateau.factor": ("self_discovery/train_autoencoder.py", 0.5),
    "autoencoder.plateau.patience": ("self_discovery/train_autoencoder.py", 20),
    "autoencoder.plateau.min_delta": ("self_discovery/train_autoencoder.py", 1e-4),
    "autoencoder.plateau.min_lr": ("self_discovery/train_autoencoder.py", 1e-6),
    "autoencoder.stop_after": ("self_discovery/train_autoencoder.py patience", 50),
    "words.border": ("self_discovery/pattern_generator_3D.py len_border len_border_z", [100, 30]),
    "words.apart": ("self_discovery/pattern_generator_3D.py --distance_threshold", 5),
    "words.tissue_hu": ("self_discovery/pattern_generator_3D.py HU_thred", -150),
    "words.tissue_share": ("self_discovery/pattern_generator_3D.py lung_max", 0.15),
    "words.tries": ("self_discovery/pattern_generator_3D.py get_random_coordinate", 200),
    "words.nearest_training": ("self_discovery/pattern_generator_3D.py --nb_instances", 200),
    "words.nearest_validation": ("self_discovery/pattern_generator_3D.py --nb_instances_val", 30),
    "words.more_resolutions": ("keras/train.py --nb_multires_patch, less the first", 3 - 1),
}


@pytest.mark.parametrize("setting", SOURCE)
def test_a_setting_is_the_number_of_transvws_code(setting: str) -> None:
    file, theirs = SOURCE[setting]
    for profile in ("paper", "paper_matched", "code"):
        assert of_profile(profile)[setting] == theirs, f"{file} has {theirs}"


def term(method: str, role: str) -> dict[str, Any]:
    plan = load_registry().resolve_method(method, "paper")
    (found,) = [t for t in plan.phases[-1].configuration["terms"] if t["role"] == role]
    return {**found["configuration"], "weight": found["weight"]}


def test_weights_words_and_lengths_are_the_published_ones() -> None:
    # keras/train.py --lambda_rec, --lambda_cls, --cls_classes; DiRA §4.1.
    assert term("transvw", "restoration")["weight"] == 1 and term("transvw", "discrimination")["weight"] == 0.01
    roles = ("restoration", "adversary", "discrimination")
    assert [term("dira_transvw", role)["weight"] for role in roles] == [100, 1, 1]
    assert term("transvw", "discrimination")["words"] == term("dira_transvw", "discrimination")["words"] == 44
    assert term("dira_transvw", "adversary")["learning_rate"] == 1e-3
    for method in ("transvw", "dira_transvw"):
        budgets = [p.configuration["budget"] for p in load_registry().resolve_method(method, "paper").phases[1:]]
        assert {b["unit"] for b in budgets} == {"epochs"} and sum(b["count"] for b in budgets) == 200


def test_the_distortions_have_the_numbers_of_the_code() -> None:
    # utils/purturbation.py: alpha, sigma, num_block; data_loader.py: four kinds. pattern_generator_3D.py: len_depth.
    assert (transforms.ALPHA, transforms.SIGMA, transforms.BLOCKS, len(transforms.KINDS)) == (991, 8, 5, 4)
    assert words.DEPTH_SLICES == 3
    assert words.from_hounsfield(-150) == pytest.approx((-150.0 + 1000.0) / (1000.0 + 1000.0))
    assert (words.from_hounsfield(-2000), words.from_hounsfield(3000)) == (0.0, 1.0)
