import subprocess
import sys

import pytest

from harness.errors import ConfigurationError
from harness.identity import digest
from harness.spec import Frozen, MethodEntry, MethodPlan
from methods.configuration import resolve
from methods.profiles import load_profile, profile_names
from methods.terms import TERMS, build, from_json, load, to_json
from tests.methods.conftest import registered

METHODS = registered()


class MyRecipe(Frozen):
    flavour: str = "plain"

    def resolve(self, entry, profile):
        return MethodPlan(encoder={"obtain": "methods.obtain:backbone", "flavour": self.flavour, "profile": profile})


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

    assert shares("moco_v2") == [300]
    assert shares("moco_v2_dir") == [75, 225]
    assert shares("dira_moco_v2") == [75, 150, 75]


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


@pytest.mark.parametrize("profile", profile_names())
def test_phases_that_two_methods_share_have_one_configuration(profile):
    with_restoration, dira = (resolve(METHODS[n], profile).phases for n in ("moco_v2_dir", "dira_moco_v2"))
    assert digest(with_restoration[0].configuration) == digest(dira[0].configuration)


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
    assert plan.phases[0].configuration["budget"] == {"unit": "steps", "count": 300}
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
        ("selection", "last"),
        ("norm_splits", 2),
        ("normalisation", "imagenet"),
        ("precision", "bf16"),
        ("learning_rate", 0.5),
        ("term", {"temperature": 0.3}),
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


def test_three_dimensions_are_unavailable_while_no_profile_has_a_network_for_them():
    assert "3 dimensions" in resolve(entry(dimensions=3, restoration=10), "miniature").unavailable


def test_a_term_survives_the_way_through_json():
    term = build("adversary", "adversary", {"widths": [1, 2, 3, 4], "loss": "log"})
    assert from_json(to_json(term)) == term
