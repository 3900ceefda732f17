"""An option that changes nothing is refused when it is planned, and so is one that only looks like another."""

import pytest

from harness.errors import ConfigurationError
from harness.spec import MethodEntry, TaskEntry
from methods.configuration import resolve as resolve_method
from tasks.configuration import resolve as resolve_task

COMMON = {"name": "mine", "label": "Mine", "version": 1, "source": "a test"}
PRETEXT = {**COMMON, "dimensions": 2, "recipe": "pretext", "discrimination": "simsiam"}
VOLUMES = {**COMMON, "dimensions": 3, "recipe": "volumes", "visual_words": 0.01, "restoration": 1}
TASK = {**COMMON, "adapter": "montgomery", "dimensions": 2, "transfer": "segmentation", "outputs": 1, "metric": "dice"}
TASK |= {"split": "random"}
CHEST = {
    **TASK,
    "adapter": "chestxray14",
    "transfer": "classification",
    "outputs": 14,
    "metric": "auc",
    "split": "official",
}
NODULES = {**TASK, "adapter": "lidc_idri", "dimensions": 3, "metric": "iou"}
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0001}


def method(entry, options):
    return resolve_method(MethodEntry.model_validate({**entry, "options": options}), "smoke")


def task(entry, options):
    return resolve_task(TaskEntry.model_validate({**entry, "options": options}), "smoke", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimiser": {**SGD, "per_batches": 256}}, r'options\.optimiser\.per_batches: unknown key; did you mean "per_batch"'),
        ({"schedule": {"name": "cosine", "per": "steps"}}, r"options\.schedule\.per: found 'steps'.*did you mean \"step\""),
        (
            {"schedule": {"name": "cosine", "per": "step", "warm_up": {"epoch": 10}}},
            r'options\.schedule\.warm_up\.epoch: unknown key; did you mean "epochs"',
        ),
        ({"schedule": {"name": "cosin", "per": "step"}}, r'options\.schedule\.name: found .cosin.; did you mean "cosine"'),
        ({"schedule": {"name": "constant", "per": "step", "final": 0.1}}, r"options\.schedule\.final: unknown key"),
        ({"optimiser": {**SGD, "learning_rate": "5e-2x"}}, r"options\.optimiser\.learning_rate: found '5e-2x'; expected a number"),
        ({"optimiser": {**SGD, "trust": 0.001}}, r"options\.optimiser\.trust: unknown key"),
        ({"term": {"predictor": True}}, r"term simsiam: predictor: found True; expected a whole number"),
        ({"adversarial_loss": "bce"}, r"options\.adversarial_loss: has no effect without the key adversary"),
        ({"restoration_target": "aligned"}, r"options\.restoration_target: has no effect without the key restoration"),
        ({"outer_cutout": False}, r"options\.outer_cutout: has no effect without distorted views"),
        ({"start_from": "best"}, r"options\.start_from: has no effect without a second phase"),
        ({"pair_class": "word"}, r"options\.pair_class: has no effect without pairs: same_class"),
    ],
)  # fmt: skip
def test_a_pretext_methods_option_is_what_it_seems_or_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        method(PRETEXT, options)


def test_the_same_options_are_taken_where_they_have_an_effect():
    entry = {**PRETEXT, "restoration": 10, "adversary": 0.001}
    options = {"adversarial_loss": "bce", "restoration_target": "aligned", "outer_cutout": False, "start_from": "best"}
    assert len(method(entry, {**options, "pairs": "same_class", "pair_class": "word"}).phases) == 3
    rates = method(PRETEXT, {"optimiser": {**SGD, "per_batch": 32}}).phases[0].configuration["optimiser"]
    assert rates == {**SGD, "learning_rate": 0.025}  # the smoke profile's batch is 16


@pytest.mark.parametrize("options", [{"adversarial_loss": "bce"}, {"adversary_rate": 0.01}])
def test_a_3d_method_without_an_adversary_refuses_its_options(options):
    with pytest.raises(ConfigurationError, match="has no effect without the key adversary"):
        method(VOLUMES, options)
    assert method({**VOLUMES, "adversary": 1}, options).phases


def test_a_recipe_that_declares_no_options_takes_none():
    with pytest.raises(ConfigurationError, match=r"options\.seed: unknown key"):
        method({**COMMON, "dimensions": 2, "recipe": "random"}, {"seed": 3})


@pytest.mark.parametrize(
    ("entry", "options", "said"),
    [
        (TASK, {"metrics": ["average_precision"]}, r"options\.metrics: has no effect with transfer segmentation"),
        (CHEST, {"transfer": {"uncertain": "ones"}}, r"transfer\.uncertain: has no effect for adapter chestxray14"),
        (CHEST, {"transfer": {"metric": {"empty_score": 0.5}}}, r"metric\.empty_score: has no effect in classification"),
        (CHEST, {"transfer": {"scored_labels": ["Edemma"]}}, r'no label "Edemma" in options\.transfer\.scored_labels.*did you mean "Edema"'),
        (CHEST, {"transfer": {"optimiser": {"name": "sgd", "betas": [0.8, 0.9]}}}, r"optimiser\.betas: has no effect with sgd"),
        (TASK, {"transfer": {"localization": {}}}, r"options\.transfer\.localization: unknown key"),
        (TASK, {"transfer": {"optimiser": {"learning_rate": True}}}, r"options\.transfer\.optimiser\.learning_rate: found True; expected a number"),
        (TASK, {"transfer": {"optimiser": {"learning_rate": "0.05"}}}, r"optimiser\.learning_rate: found '0\.05'; expected a number"),
        (TASK, {"cohort": {"patches": {"shape": [16, 16, 8], "store": "uint8"}}}, r"cohort\.patches: has no effect in 2D"),
        (TASK, {"cohort": {"generator": {"image": 40}}}, r'generator\.image: unknown key; did you mean "images"'),
        ({**TASK, "split": "official"}, {"cohort": {"split": {"test_fraction": 0.2}}}, r"test_fraction: has no effect with split official"),
        (NODULES, {"cohort": {"cache_px": 32}}, r"options\.cohort\.cache_px: has no effect in 3D"),
        (NODULES, {"cohort": {"patches": {"in_plane": 48}}}, r"patches\.in_plane: has no effect for adapter lidc_idri"),
        (NODULES, {"cohort": {"adapter": {"reader": 3}}}, r'reader: unknown key; did you mean "readers"'),
        (TASK, {"versions": {"mine": "1"}}, r"options\.versions\.mine: found '1'; expected a whole number"),
        (TASK, {"cohort": ["a"]}, r"options\.cohort: found \['a'\]; expected a mapping"),
    ],
)  # fmt: skip
def test_a_tasks_option_is_what_it_seems_or_refused(entry, options, said):
    with pytest.raises(ConfigurationError, match=said):
        task(entry, options)
