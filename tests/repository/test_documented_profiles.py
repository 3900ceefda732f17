"""The numbers in the tables of docs/protocol.md are the profiles'."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import yaml

from harness.registry import load_registry
from harness.yaml_files import load_yaml
from methods.profiles import load_profile
from tasks.datasets.chestxray14.adapter import PUBLISHED
from tests.repository.pages import ROOT, Row, read_tables

PAGE = "protocol.md"
COLUMNS = ("smoke", "miniature", "paper", "paper_matched", "code")
REGISTRY = load_registry()


def table(title: str, first_header: str) -> list[Row]:
    rows = [
        r for r in read_tables(PAGE) if r.headings and r.headings[-1].startswith(title) and r.header[0] == first_header
    ]
    assert rows, f'docs/{PAGE} has no table under "{title}" that begins with "{first_header}"'
    return rows


def phase(method: str, profile: str, index: int = 0) -> dict[str, Any]:
    return REGISTRY.resolve_method(method, profile).phases[index].configuration


def term(method: str, profile: str, role: str = "discrimination") -> dict[str, Any]:
    (found,) = [t for t in phase(method, profile, -1)["terms"] if t["role"] == role]
    return found["configuration"]


def transfer(task: str, profile: str) -> dict[str, Any]:
    return REGISTRY.resolve_task(task, profile).transfer


def cohort(task: str, profile: str) -> dict[str, Any]:
    return REGISTRY.resolve_task(task, profile).cohort


def short(number: float) -> str:
    """Write a number as the page does: 0.0048, 1,024."""
    return f"{number:,.0f}" if number == int(number) and abs(number) >= 1000 else f"{number:.10g}"


def power(number: float) -> str:
    """Write a rate as 5e-3."""
    mantissa, _, exponent = f"{number:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def counts(profile: str) -> str:
    made = cohort("chestxray14", profile).get("generator_options")
    numbers = (made["train"], made["validation"], made["test"]) if made else PUBLISHED_SPLIT
    return " / ".join(f"{n:,}" for n in numbers)


PUBLISHED_SPLIT = (75312, 11212, 25596)  # the authors' lists and the official test list, counted


def side(task: str, profile: str) -> int:
    (px,) = {transfer(task, profile)["image_px"], phase("moco_v2", profile)["views"]["image_px"]}
    return int(px)


def batch(profile: str) -> str:
    first, last = (phase("dira_moco_v2", profile, i)["batch"] for i in (0, -1))
    return f"{first}" if first == last else f"{first}; {last} with the adversary"


def rates(method: str, profile: str, *keys: str) -> str:
    first, last = (phase(f"dira_{method}", profile, i) for i in (0, -1))
    own = ", ".join(short(first["optimiser"][key]) for key in keys)
    ratio = Fraction(last["batch"], first["batch"])
    assert last["optimiser"][keys[0]] == pytest.approx(first["optimiser"][keys[0]] * ratio)
    return own if ratio == 1 else f"as `paper`; × {last['batch']}/{first['batch']} with the adversary"


def warm_up(profile: str) -> str:
    found = phase("barlow_twins", profile)["schedule"]["warm_up"]
    return f"{found['epochs']} epochs" if "epochs" in found else {0.1: "a tenth of the phase"}[found["share"]]


def supervised(profile: str) -> str:
    plan = REGISTRY.resolve_method("supervised_photo", profile)
    if not plan.phases:
        return "§4; shapes unavailable"
    budget, rate = plan.phases[0].configuration["budget"], plan.phases[0].configuration["optimiser"]["learning_rate"]
    other = phase("chestxray14_supervised", profile)
    assert (other["budget"], other["optimiser"]["learning_rate"]) == (budget, rate)
    return f"{budget['count']} {budget['unit']}" + (f", Adam {power(rate)}" if profile == "miniature" else "")


def fine_tuning(task: str, paper: str, with_batch: bool) -> Callable[[str], str]:
    def cell(profile: str) -> str:
        found = transfer(task, profile)
        if found["steps"] is None:
            return paper + (", validation augmented" if found["augment_validation"] else "")
        text = f"{found['steps']} steps"
        if profile == "miniature":
            text += (
                f", {found['optimiser']['name'].title()} {power(found['optimiser']['lr'])}, {found['schedule']['name']}"
            )
        return text + (f", batch {found['batch']}" if with_batch else "")

    return cell


def three(kind: str, paper: str, with_batch: dict[str, bool]) -> Callable[[str], str]:
    """The transfer's own numbers, before what a data set changes in them."""
    profiles = load_yaml(ROOT / "tasks" / "profiles.yaml")["profiles"]

    def cell(profile: str) -> str:
        if profile not in ("smoke", "miniature"):
            return paper
        own, small = profiles[profile]["transfers"][kind], profiles["miniature"]["transfers"][kind]
        found = {**profiles["paper"]["transfers"][kind], **small, **own}
        text = f"{found['length']['count']} steps"
        if profile == "miniature":
            text += f", Adam {power(found['optimiser']['learning_rate'])}, {found['schedule']['name']}"
        return text + (f", batch {found['batch']}" if with_batch[profile] else "")

    return cell


def optimiser(profile: str) -> str:
    one, other = (phase(m, profile)["optimiser"] for m in ("moco_v2", "restoration_only"))
    assert one == other
    rate = one["learning_rate"]
    return f"Adam {power(rate)}" if one["name"] == "adam" else f"{one['name'].upper()} {short(rate)}"


def projector(profile: str) -> str:
    """The projector's width is the encoder's last one unless the profile says another."""
    found, last = term("simsiam", profile), {"unet_resnet_w16": 128, "unet_resnet50": 2048}
    width = found["dimension"] or last[phase("simsiam", profile)["network"]["name"]]
    return f"{width}, {found['predictor']}"


def kept(profile: str) -> str:
    (selection,) = {phase(m, profile, -1)["selection"] for m in ("moco_v2", "dira_simsiam", "restoration_only")}
    return {"lowest_total_validation_loss": "lowest validation loss", "last": "the last"}[selection]


def precision(profile: str) -> str:
    found = phase("moco_v2", profile)
    return {"bf16": "bfloat16 autocast"}.get(found["precision"], found["precision"]) + (
        ", channels last in 2D" if found.get("channels_last") else ""
    )


ROWS: dict[str, Callable[[str], str]] = {
    "images": lambda p: "phantoms, SYNTHETIC" if cohort("montgomery", p)["source"] == "phantom" else "data roots",
    "image side (pretraining and transfer)": lambda p: ", ".join(
        sorted({f"{side(task, p)} px" for task in ("chestxray14", "chexpert", "siim_acr", "montgomery")})
    ),
    "cache side, ChestX-ray14 and CheXpert / SIIM-ACR and Montgomery": lambda p: (
        " / ".join(
            ", ".join(sorted({str(cohort(task, p)["cache_px"]) for task in pair}))
            for pair in (("chestxray14", "chexpert"), ("siim_acr", "montgomery"))
        )
        + " px"
    ),
    "network": lambda p: f"`{phase('moco_v2', p)['network']['name']}`",
    "ChestX-ray14 train / validation / test images": counts,
    "Montgomery images": lambda p: str(cohort("montgomery", p).get("generator_options", {"images": 138})["images"]),
    "pretraining batch": batch,
    "MoCo-v2's and restoration alone's optimiser": optimiser,
    "queue, momentum": lambda p: f"{short(term('moco_v2', p)['queue'])}, {term('moco_v2', p)['momentum']}",
    "Barlow Twins' projector and embedding": lambda p: (
        f"{term('barlow_twins', p)['hidden']}, {term('barlow_twins', p)['dimension']}"
    ),
    "Barlow Twins' rates, weights and one-dimensional": lambda p: rates(
        "barlow_twins", p, "learning_rate", "one_dimensional_rate"
    ),
    "Barlow Twins' warm-up": warm_up,
    "SimSiam's projector and predictor": projector,
    "SimSiam's rate": lambda p: rates("simsiam", p, "learning_rate"),
    "discriminator widths": lambda p: "–".join(
        str(f(term("dira_moco_v2", p, "adversary")["widths"])) for f in (min, max)
    ),
    "batch-norm parts (MoCo-v2, restoration alone)": lambda p: ", ".join(
        sorted({str(phase(m, p)["norm_splits"]) for m in ("moco_v2", "restoration_only")})
    ),
    "supervised baselines": supervised,
    "images that validate pretraining": lambda p: str(phase("moco_v2", p)["validation"]["images"] or "all"),
    "weights kept of a pretext phase": kept,
    "pretraining precision": precision,
    "classification transfer": fine_tuning("chestxray14", "§8", with_batch=False),
    "segmentation transfer": fine_tuning("montgomery", "§8", with_batch=True),
    "3D classification transfer": three("classification_3d", "§9", {"smoke": False, "miniature": True}),
    "3D segmentation transfer": three("segmentation_3d", "§9", {"smoke": True, "miniature": True}),
    "crop area in classification": lambda p: "–".join(
        f"{v:g}" for v in transfer("chestxray14", p)["augmentation"]["crop_scale"]
    ),
    "test-time augmentation": lambda p: transfer("chestxray14", p)["test_time_augmentation"].replace(
        "ten_crop", "ten crops"
    ),
    "patient resamples": lambda p: ", ".join(
        sorted({f"{transfer(t, p)['metric']['resamples']:,}" for t in ("chestxray14", "montgomery", "luna16", "brats")})
    ),
}


def test_the_table_of_profiles_has_the_rows_that_are_checked_and_no_other() -> None:
    assert [row.cells[0] for row in table("7.", "")] == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_table_of_profiles_is_what_the_profiles_say(name: str) -> None:
    (row,) = [r for r in table("7.", "") if r.cells[0] == name]
    assert tuple(re.findall(r"`(\w+)`", " ".join(row.header))) == COLUMNS
    right = {profile: ROWS[name](profile) for profile in COLUMNS}
    for profile, cell in zip(COLUMNS, row.cells[1:], strict=True):
        says = right["paper"] if cell == "as `paper`" and not right[profile].startswith("as ") else cell
        assert says == right[profile], f"docs/{PAGE}:{row.line}, {profile}: {cell}; the profile has {right[profile]}"


def test_the_published_numbers_of_chestxray14_are_the_registrys_and_the_adapters() -> None:
    assert REGISTRY.tasks["chestxray14"].training_images == PUBLISHED_SPLIT[0]
    assert sum(PUBLISHED_SPLIT) == PUBLISHED["images"] and PUBLISHED_SPLIT[2] in PUBLISHED.values()


def flatten(value: dict[str, Any], prefix: str = "") -> str:
    parts = []
    for key, inner in value.items():
        name = prefix + key
        parts.append(flatten(inner, f"{name}.") if isinstance(inner, dict) else f"{name} {yaml_word(inner)}")
    return ", ".join(parts)


def yaml_word(value: Any) -> str:
    return yaml.safe_dump(value).splitlines()[0]


def test_what_a_data_set_has_of_its_own_is_on_the_page() -> None:
    profiles = load_yaml(ROOT / "tasks" / "profiles.yaml")["profiles"]
    rows = table("7.", "data set")
    columns = re.findall(r"`(\w+)`", " ".join(rows[0].header))
    own = {p: profiles[p].get("transfers_of", {}) for p in profiles}
    assert [p for p, of in own.items() if of] == ["paper", "miniature", "smoke"] and set(columns) == {
        p for p, of in own.items() if of
    }
    assert {row.cells[0].strip("`") for row in rows} == set().union(*own.values())
    for row in rows:
        for profile, cell in zip(columns, row.cells[1:], strict=True):
            right = flatten(own[profile].get(row.cells[0].strip("`"), {})) or "–"
            assert cell == right, f"docs/{PAGE}:{row.line}, {profile}: {cell}; the profile has {right}"


EPOCH = 75312 // 256 * 256


def chain(method: str, profile: str) -> str:
    """Write the lengths of a method's phases and the millions of images they show."""
    budgets = [
        (p.configuration["budget"]["count"], p.configuration["batch"])
        for p in REGISTRY.resolve_method(method, profile).phases
    ]
    seen = sum(count * (75312 // size * size) for count, size in budgets) / 1e6
    return f"{' + '.join(str(count) for count, _ in budgets)}: {seen:.1f}"


@pytest.mark.parametrize(
    ("cells", "profile", "base"),
    [
        ("– MoCo-v2", "paper", "moco_v2"),
        ("– Barlow Twins", "paper", "barlow_twins"),
        ("– SimSiam", "paper", "simsiam"),
        ("`matched`", "paper_matched", "moco_v2"),
        ("`code`", "code", "moco_v2"),
    ],
)
def test_the_table_of_budgets_counts_the_images_of_whole_chains(cells: str, profile: str, base: str) -> None:
    named = ("", f"`{profile}`")
    (row,) = [r for r in table("6.", "rule") if r.cells[0] == cells and r.cells[1] in named]
    right = [chain(method, profile) for method in (base, f"{base}_dir", f"dira_{base}")]
    found = [re.sub(r"\b0 \+ | at batch \d+", "", cell) for cell in row.cells[2:]]
    if found[0] == "own":
        found[0] = right[0]
    assert found == right, f"docs/{PAGE}:{row.line}"
    assert load_profile(profile).amount.unit == "epochs" and EPOCH == 75264


def first(method: str) -> dict[str, Any]:
    return phase(method, "paper")


def sgd(method: str) -> dict[str, Any]:
    return first(method)["optimiser"]


PAPER: dict[tuple[str, str], Callable[[], list[str]]] = {
    ("2.", "images"): lambda: [f"train on {PUBLISHED_SPLIT[0]:,}", f"validate on {PUBLISHED_SPLIT[1]:,}"],
    ("2.", "weights"): lambda: ["dis {:g}, res {:g}, adv {:g}".format(*weights())],
    ("2.", "batch"): lambda: [f"{first('moco_v2')['batch']} over {words(first('moco_v2')['norm_splits'])} devices"],
    ("4.", "head"): lambda: [
        f"→ {term('moco_v2', 'paper')['dimension']}, unit length",
        f"→ {term('barlow_twins', 'paper')['hidden']} BN ReLU → {term('barlow_twins', 'paper')['dimension']}, no bias",
    ],
    ("4.", "predictor"): lambda: [f"→ {term('simsiam', 'paper')['predictor']} BN ReLU"],
    ("4.", "second branch"): lambda: [f"momentum {term('moco_v2', 'paper')['momentum']} on parameters"],
    ("4.", "loss"): lambda: [
        "temperature {temperature}, queue {queue:,}".format(**term("moco_v2", "paper")),
        f"+ {term('barlow_twins', 'paper')['off_diagonal']} Σ",
    ],
    ("4.", "optimiser"): lambda: [
        f"SGD, rate {sgd('moco_v2')['learning_rate']}, momentum {sgd('moco_v2')['momentum']}, "
        f"decay {power(sgd('moco_v2')['weight_decay'])} ",
        f"LARS, momentum {sgd('barlow_twins')['momentum']}, η {sgd('barlow_twins')['trust']}, "
        f"decay {power(sgd('barlow_twins')['weight_decay'])}; rate {sgd('barlow_twins')['learning_rate']} (weights) "
        f"and {sgd('barlow_twins')['one_dimensional_rate']} (biases, norms) × batch/256",
        f"SGD, rate {sgd('simsiam')['learning_rate']} × batch/256, momentum {sgd('simsiam')['momentum']}, "
        f"decay {power(sgd('simsiam')['weight_decay'])} ",
    ],
    ("4.", "schedule"): lambda: [
        f"{first('barlow_twins')['schedule']['warm_up']['epochs']} epochs of warm-up, "
        f"cosine to {first('barlow_twins')['schedule']['final']} of the rate"
    ],
    ("4.", "own schedule"): lambda: [
        f"{first(base)['budget']['count']} epochs at batch" for base in ("moco_v2", "barlow_twins", "simsiam")
    ],
    ("5.", "discriminator"): lambda: ["1→" + "→".join(map(str, term("dira_moco_v2", "paper", "adversary")["widths"]))],
    ("5.", "optimiser"): lambda: [
        "Adam, {}, betas {} and {}".format(
            power(term("dira_moco_v2", "paper", "adversary")["learning_rate"]),
            *term("dira_moco_v2", "paper", "adversary")["betas"],
        )
    ],
    ("Classification", "head"): lambda: [
        f"N(0, {classification()['head']['initial_std']})",
        f"{classification()['outputs']} outputs for ChestX-ray14",
    ],
    ("Classification", "training augmentation"): lambda: [
        "crop to {} (area {}–{:g}), flip {}, rotation ±{:g}°".format(
            classification()["image_px"],
            *classification()["augmentation"]["crop_scale"],
            classification()["augmentation"]["flip"],
            classification()["augmentation"]["rotation_degrees"],
        )
    ],
    ("Classification", "validation"): lambda: [
        "resize to {resize_px}, centre crop {image_px}".format(**classification())
    ],
    ("Classification", "test"): lambda: ["resize to {resize_px}, ten crops of {image_px}".format(**classification())],
    ("Classification", "loss, optimiser"): lambda: [
        "Adam {}, betas {} and {}, batch {}".format(
            power(classification()["optimiser"]["lr"]),
            *classification()["optimiser"]["betas"],
            classification()["batch"],
        )
    ],
    ("Classification", "schedule"): lambda: [
        "rate × {} on a plateau of the validation loss (patience {}, threshold {})".format(
            classification()["schedule"]["factor"],
            classification()["schedule"]["patience"],
            power(classification()["schedule"]["threshold"]),
        ),
        "more than {early_stopping} epochs without a better one; at most {epochs:,} epochs".format(**classification()),
    ],
    ("Segmentation", "loading"): lambda: [f"{cohort('montgomery', 'paper')['resize']}-neighbour resize to 224"],
    ("Segmentation", "training augmentation"): lambda: [
        "with {intensity} one of brightness-contrast and gamma; with {deformation} one of elastic (α {elastic_alpha:g}, "
        "σ {elastic_sigma:g}, affine {affine_px}), grid distortion, optical distortion (limit {optical_limit:g}, "
        "shift {optical_shift}); with {sized_crop} a sized crop of {crop_px[0]}–{crop_px[1]} px".format(
            **segmentation()["augmentation"]
        )
    ],
    ("Segmentation", "network"): lambda: ["fresh {0}×{0} head".format(segmentation()["head"]["kernel"])],
    ("Segmentation", "loss"): lambda: [
        f"smoothing {segmentation()['dice_smooth']:g}; in validation the mean over {segmentation()['validation_dice']} "
        f"of {segmentation()['batch']}"
    ],
    ("Segmentation", "optimiser"): lambda: [
        f"Adam {power(segmentation()['optimiser']['lr'])}, {segmentation()['schedule']['name']} over "
        f"{segmentation()['epochs']} epochs",
        "batch {batch}, stop after more than {early_stopping} epochs".format(**segmentation()),
    ],
    ("Segmentation", "metric"): lambda: [
        "at {threshold}, both empty = {empty_score:g}".format(**segmentation()["metric"])
    ],
    ("Transfer on volumes", "batch, early stopping"): lambda: [
        "; ".join(
            f"{REGISTRY.tasks[task].label.removesuffix(' 2018')} {transfer(task, 'paper')['batch']}, "
            f"{transfer(task, 'paper')['early_stopping']}"
            for task in ("luna16", "pe_cad", "lidc_idri", "lits", "brats")
        )
    ],
    ("10.", "thresholds"): lambda: [
        " and ".join(f"above {value}/255" for value in classification()["localization"]["thresholds"])
    ],
    ("10.", "hit"): lambda: [
        "δ = {} … {}".format(*(f(classification()["localization"]["deltas"]) for f in (min, max)))
    ],
}


def weights() -> list[float]:
    return [t["weight"] for t in phase("dira_moco_v2", "paper", -1)["terms"]]


def words(number: int) -> str:
    return {4: "four"}[number]


def classification() -> dict[str, Any]:
    return transfer("chestxray14", "paper")


def segmentation() -> dict[str, Any]:
    found = transfer("montgomery", "paper")
    assert found == transfer("siim_acr", "paper")
    return found


@pytest.mark.parametrize(("title", "clause"), PAPER)
def test_a_clause_of_the_protocol_states_the_paper_profiles_numbers(title: str, clause: str) -> None:
    (row,) = [r for r in read_tables(PAGE) if r.headings and r.headings[-1].startswith(title) and r.cells[0] == clause]
    for phrase in PAPER[title, clause]():
        assert phrase in " ".join(row.cells[1:]), f"docs/{PAGE}:{row.line} lacks what the profile has: {phrase}"
