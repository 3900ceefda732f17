import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from harness.errors import ConfigurationError
from harness.identity import digest
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry, project_root
from harness.spec import Frozen, MethodEntry, MethodPlan
from methods.configuration import resolve
from methods.profiles import load_profile, profile_names
from methods.terms import TERMS, build, from_json, load, to_json
from tests.methods.conftest import registered

METHODS = registered()
BASES = ("moco_v2", "barlow_twins", "simsiam")
FAMILIES = Path("reports") / "families.yaml"


class MyRecipe(Frozen):
    flavour: str = "plain"

    def resolve(self, entry, profile):
        return MethodPlan(encoder={"obtain": "methods.obtain:backbone", "flavour": self.flavour, "profile": profile})


@dataclass(frozen=True)
class MyTerm:
    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    bound: ClassVar[str] = "nowhere:Nothing"
    component: ClassVar[str] = ""


def entry(**fields):
    common = {"name": "mine", "label": "Mine", "dimensions": 2, "recipe": "pretext", "version": 1, "source": "test"}
    return MethodEntry(**{**common, **fields})


def by_name(plan):
    return {phase.name: phase.configuration for phase in plan.phases}


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("name", METHODS)
def test_every_registered_method_resolves_under_every_profile_into_canonical_values(name, profile):
    plan = resolve(METHODS[name], profile)
    assert plan.unavailable is None or METHODS[name].recipe != "pretext"  # weights may be missing here
    for phase in plan.phases:
        digest(phase.configuration)
    digest(plan.encoder)


def test_resolving_imports_no_torch():
    code = (
        "import sys; from harness.spec import MethodEntry; from methods.configuration import resolve; "
        "e = dict(name='m', label='m', dimensions=2, recipe='pretext', discrimination='moco_v2', restoration=10, "
        "adversary=0.001, version=1, source='s'); [resolve(MethodEntry(**e), p) for p in ('miniature', 'paper')]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("profile", ["smoke", "miniature", "paper_matched"])
def test_matched_budgets_show_every_method_as_many_images(profile):
    total = load_profile(profile).amount.total
    for method in METHODS.values():
        phases = resolve(method, profile).phases
        if phases and method.recipe == "pretext":
            assert sum(phase.configuration["budget"]["count"] for phase in phases) == total
            assert len({phase.configuration["batch"] for phase in phases}) == 1


def test_matched_shares_are_a_quarter_then_three_or_two_and_one():
    def shares(name):
        return [phase.configuration["budget"]["count"] for phase in resolve(METHODS[name], "miniature").phases]

    assert shares("moco_v2") == [600]
    assert shares("moco_v2_dir") == [150, 450]
    assert shares("dira_moco_v2") == [150, 300, 150]


@pytest.mark.parametrize("profile", ["miniature", "own"])
def test_no_small_run_keeps_the_weights_of_the_lowest_loss_against_a_queue(profile):
    """That loss is lowest while the queue is young: it said nothing of what was learnt."""
    chosen = {
        phase.configuration["selection"]
        for method in METHODS.values()
        if method.recipe in ("pretext", "volumes")
        for phase in resolve(method, profile).phases
        if "selection" in phase.configuration
    }
    assert chosen == {"last"}


def test_the_paper_adds_six_hundred_and_two_hundred_epochs_to_the_bases_schedule():
    phases = resolve(METHODS["dira_moco_v2"], "paper").phases
    assert [phase.configuration["budget"] for phase in phases] == [
        {"unit": "epochs", "count": count} for count in (200, 600, 200)
    ]
    assert [phase.name for phase in phases] == ["dis", "dis+res", "dis+res+adv"]


def test_the_authors_code_has_two_stages_and_a_small_batch_in_the_second():
    phases = resolve(METHODS["dira_moco_v2"], "code").phases
    found = [(p.name, p.configuration["budget"]["count"], p.configuration["batch"]) for p in phases]
    assert found == [("dis+res", 1200, 256), ("dis+res+adv", 400, 16)]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("profile", profile_names())
def test_phases_that_two_methods_share_have_one_configuration(profile, base):
    with_restoration, dira = (resolve(METHODS[n], profile).phases for n in (f"{base}_dir", f"dira_{base}"))
    assert digest(with_restoration[0].configuration) == digest(dira[0].configuration)


def test_a_phase_that_several_methods_share_is_planned_once():
    root = project_root()
    plan = make_plan(load_registry(), load_parameters(root, {"profile": "smoke"}), load_families(root / FAMILIES))
    for base in BASES:
        chains = {
            name: [item.id for item in plan.phases[name, 0]]
            for name in (base, f"{base}_dir", f"dira_{base}", f"dira_{base}_encoder_only")
        }
        assert [len(chain) for chain in chains.values()] == [1, 2, 3, 3]
        assert chains[f"dira_{base}"] == chains[f"dira_{base}_encoder_only"]
        assert chains[f"{base}_dir"][0] == chains[f"dira_{base}"][0]
        # dis 1, dis ¼, +res ¾, +res ½, +adv ¼: five trainings serve four methods
        assert len({item for chain in chains.values() for item in chain}) == 5


def test_every_registered_method_is_another_method():
    for profile in profile_names():
        plans = {name: resolve(method, profile) for name, method in METHODS.items()}
        known = {
            digest({"phases": [[p.cohort, p.configuration] for p in plan.phases], "encoder": plan.encoder})
            for plan in plans.values()
            if plan.unavailable is None
        }
        assert len(known) == sum(plan.unavailable is None for plan in plans.values())


def test_the_papers_two_dimensional_methods_are_registered_in_its_order():
    published = load_families(project_root() / FAMILIES)
    named = {key.method for keys in published.table_cells().values() for key in keys}
    two_dimensional = {name for name in named if name not in ("random_3d", "transvw", "dira_transvw")}
    assert two_dimensional <= set(METHODS)
    ours = [name for name in METHODS if name in two_dimensional]
    rungs = [rung for base in BASES for rung in (base, f"{base}_dir", f"dira_{base}")]
    assert ours == ["random", "imagenet", "chestxray14_supervised", *rungs]


def test_controls_name_the_base_that_they_question_and_ask_for_full_labels_only():
    for base in BASES:
        distorted, encoder_only = METHODS[f"{base}_distorted"], METHODS[f"dira_{base}_encoder_only"]
        assert base in distorted.compare_with and base in encoder_only.compare_with
        assert by_name(resolve(distorted, "paper"))["dis"]["views"]["distortion"]
        assert resolve(encoder_only, "paper").encoder["decoder"] == "fresh"
    assert METHODS["restoration_only"].compare_with
    for name, method in METHODS.items():
        plain = name in ("random", "mednist_supervised", *BASES) or name.removeprefix("dira_") in BASES
        if method.dimensions == 2:
            assert method.label_fractions == ("all" if plain else "full"), name


@pytest.mark.parametrize(("base", "own"), [("moco_v2", 200), ("barlow_twins", 1000), ("simsiam", 100)])
def test_the_paper_trains_every_base_for_its_own_schedule_first(base, own):
    phases = resolve(METHODS[f"dira_{base}"], "paper").phases
    assert [phase.configuration["budget"]["count"] for phase in phases] == [own, 600, 200]
    assert {phase.configuration["batch"] for phase in phases} == {256}


def test_only_mocos_batch_norm_is_split_as_over_devices():
    splits = {base: resolve(METHODS[base], "paper").phases[0].configuration["norm_splits"] for base in BASES}
    assert splits == {"moco_v2": 4, "barlow_twins": 1, "simsiam": 1}


def test_a_base_of_ones_own_brings_its_optimiser_schedule_and_length():
    bare = entry(discrimination="tests.methods.test_configuration:MyTerm")
    with pytest.raises(ConfigurationError) as raised:
        resolve(bare, "paper")
    assert "options.optimiser" in str(raised.value) and "options.schedule" in str(raised.value)
    options = {
        "optimiser": {"name": "sgd", "learning_rate": 0.1, "momentum": 0, "weight_decay": 0, "per_batch": 128},
        "schedule": {"name": "constant", "per": "step"},
        "own_length": 7,
    }
    plan = resolve(bare.model_copy(update={"options": options}), "paper")
    configuration = plan.phases[0].configuration
    assert configuration["optimiser"]["learning_rate"] == 0.2 and "per_batch" not in configuration["optimiser"]
    assert configuration["budget"]["count"] == 7 and configuration["entry_version"] == 1


def test_phases_that_differ_have_distinct_digests():
    digests = {}
    for profile in profile_names():
        for method in METHODS.values():
            for phase in resolve(method, profile).phases:
                digests.setdefault(digest(phase.configuration), set()).add((phase.name, profile))
    for names in digests.values():
        assert len({name for name, _ in names}) == 1
    terms = [to_json(build(n, load(path).role, {})) for n, path in TERMS.items()]
    assert len({digest(term) for term in terms}) == len(TERMS)


def test_restoration_alone_is_one_phase_over_the_whole_budget():
    plan = resolve(entry(restoration=10), "miniature")
    assert [phase.name for phase in plan.phases] == ["res"]
    assert plan.phases[0].configuration["budget"] == {"unit": "steps", "count": 600}
    assert plan.encoder["decoder"] == "trained"


def test_distortion_comes_with_restoration_unless_the_control_asks_for_it():
    phases = by_name(resolve(METHODS["dira_moco_v2"], "miniature"))
    assert [phases[n]["views"]["distortion"] for n in ("dis", "dis+res", "dis+res+adv")] == [False, True, True]
    control = resolve(entry(discrimination="moco_v2", options={"distortion": "always"}), "miniature")
    assert by_name(control)["dis"]["views"]["distortion"]


def test_a_decoder_is_handed_over_only_if_it_was_trained_and_is_wanted():
    assert resolve(METHODS["moco_v2"], "miniature").encoder["decoder"] == "fresh"
    assert resolve(METHODS["dira_moco_v2"], "miniature").encoder["decoder"] == "trained"
    fields = {"discrimination": "moco_v2", "restoration": 10, "adversary": 0.001}
    encoder_only = resolve(entry(**fields, transfer="encoder_only"), "miniature")
    assert encoder_only.encoder["decoder"] == "fresh"
    dira = resolve(METHODS["dira_moco_v2"], "miniature")
    assert [digest(p.configuration) for p in encoder_only.phases] == [digest(p.configuration) for p in dira.phases]


def test_random_has_no_phase_and_is_drawn_for_every_repeat():
    plan = resolve(METHODS["random"], "miniature")
    assert plan.phases == () and plan.reinitialised


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("adversarial_loss", "bce"),
        ("discriminator", "four"),
        ("adversary_batch", 32),
        ("restoration_distance", "l1"),
        ("restoration_target", "aligned"),
        ("outer_cutout", False),
        ("distortion", "always"),
        ("start_from", "best"),
        ("selection", "lowest_total_validation_loss"),
        ("norm_splits", 2),
        ("normalisation", "imagenet"),
        ("precision", "bf16"),
        ("learning_rate", 0.5),
        ("term", {"temperature": 0.3}),
        ("pairs", "same_class"),
        ("optimiser", {"name": "adam", "learning_rate": 0.003, "weight_decay": 0}),
        ("schedule", {"name": "constant", "per": "step"}),
    ],
)
def test_every_option_is_part_of_some_phase(option, value):
    fields = {"discrimination": "moco_v2", "restoration": 10, "adversary": 0.001}
    plain, changed = (
        [digest(p.configuration) for p in resolve(entry(**fields, options=o), "miniature").phases]
        for o in ({}, {option: value})
    )
    assert plain != changed


def test_versions_of_unused_terms_stay_out_of_a_phase():
    phases = by_name(resolve(METHODS["dira_moco_v2"], "miniature"))
    assert set(phases["dis"]["versions"]) == {"networks", "trainer", "views", "term_moco_v2"}
    assert "term_adversary" in phases["dis+res+adv"]["versions"]


def test_all_errors_of_an_entry_are_listed_at_once_with_near_names():
    wrong = entry(discrimination="moco_v3", restoratoin=10, adversary=-1, options={"precison": 1, "norm_splits": 0})
    with pytest.raises(ConfigurationError) as raised:
        resolve(wrong, "minature")
    text = str(raised.value)
    for part in ('"miniature"', '"moco_v2"', '"restoration"', "adversary: found -1", "options.norm_splits"):
        assert part in text
    assert "options.precison: unknown key" in text and '"precision"' in text
    assert text.startswith('method "mine": 6 errors')


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({}, "neither discrimination nor restoration"),
        ({"discrimination": "moco_v2", "adversary": 0.001}, "without restoration"),
        ({"discrimination": "restoration"}, "role restoration"),
        ({"discrimination": "moco_v2", "options": {"term": {"queu": 3}}}, '"queue"'),
        ({"discrimination": "moco_v2", "options": {"norm_splits": 3}}, "multiple"),
        ({"discrimination": "moco_v2", "options": {"budget": "code"}}, "base.moco_v2"),
        ({"recipe": "pretxt"}, '"pretext"'),
    ],
)
def test_contradictions_are_explained(fields, part):
    with pytest.raises(ConfigurationError, match=part):
        resolve(entry(**fields), "miniature")


def test_a_recipe_of_ones_own_comes_through_the_same_door():
    own = entry(recipe="tests.methods.test_configuration:MyRecipe", flavour="own")
    assert resolve(own, "smoke").encoder["flavour"] == "own"
    with pytest.raises(ConfigurationError, match='did you mean "flavour"'):
        resolve(entry(recipe="tests.methods.test_configuration:MyRecipe", flavor="own"), "smoke")


def test_a_recipe_that_cannot_be_imported_is_unavailable_and_says_why():
    plan = resolve(entry(recipe="no_such_package.recipes:Mine"), "smoke")
    assert "no_such_package" in plan.unavailable


@pytest.mark.parametrize("fields", [{"restoration": 10}, {"recipe": "supervised", "trained_on": "shapes"}])
def test_a_recipe_of_images_refuses_three_dimensions(fields):
    with pytest.raises(ConfigurationError, match=r"dimensions: found 3; expected 2"):
        resolve(entry(dimensions=3, **fields), "miniature")


def test_a_term_survives_the_way_through_json():
    term = build("adversary", "adversary", {"widths": [1, 2, 3, 4], "loss": "log"})
    assert from_json(to_json(term)) == term
