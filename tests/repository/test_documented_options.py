"""Every option of the code has a row in docs/deviations.md, and every row its option and its default."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

import methods.profiles
import tasks.profiles
from harness.registry import load_registry
from harness.spec import MethodEntry, Parameters, TaskEntry
from harness.typed import given
from methods.options import PretextOptions, VolumesOptions
from methods.recipes.pretext import PretextRecipe
from methods.recipes.supervised import SupervisedOptions, SupervisedRecipe
from methods.recipes.volumes import VolumesRecipe
from methods.recipes.weights import WeightsOptions, WeightsRecipe
from methods.terms import TERMS, load
from tasks.cohort_options import Cohort
from tasks.datasets.catalogue import readers
from tasks.localization_options import Localization
from tasks.options import Split, Training
from tasks.patch_options import Patches, ScanStore
from tasks.transfer_configuration import TRANSFERS
from tests.repository.pages import ROOT, Row, read_tables

PAGE = "deviations.md"


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models that a field may hold, whatever else it may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inside = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inside = inside[:1]
    elif get_origin(annotation) not in (Union, types.UnionType):
        return []
    return [model for part in inside for model in models_in(part)]


def flat(model: type[BaseModel], prefix: str = "", whole: Iterable[str] = ()) -> set[str]:
    """Name every field of a model, those of models within by a dotted path; ``whole`` are not opened."""
    names = set()
    for name, field in model.model_fields.items():
        within = [] if name in whole else models_in(field.annotation)
        inner = set().union(*(flat(m, f"{prefix}{name}.") for m in within)) if within else set()
        names |= inner or {prefix + name}
    return names


def names_in(cell: str) -> list[str]:
    """Return the options that a first cell names; ``.b`` after ``a.x`` is ``a.b``."""
    names: list[str] = []
    for name in re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell)):
        parent = names[-1].rpartition(".")[0] if names else ""
        names.append(parent + name if name.startswith(".") else name)
    return names


def rows_under(*titles: str) -> list[Row]:
    found = [row for row in read_tables(PAGE) if row.headings and row.headings[-1] in titles]
    missing = set(titles) - {row.headings[-1] for row in found}
    assert not missing, f"no table under {missing} in docs/{PAGE}"
    return found


def options_under(*titles: str) -> list[tuple[str, Row]]:
    plain = [row for row in rows_under(*titles) if not row.cells[0].startswith("entry key")]
    return [(name, row) for row in plain for name in names_in(row.cells[0])]


def compare(documented: Iterable[str], known: set[str], where: str) -> None:
    """Fail with what has no row, and with the rows that are nobody's."""
    documented = list(documented)
    groups = {name.removesuffix(".*") for name in documented if name.endswith(".*")}
    single = [name for name in documented if not name.endswith(".*")]

    def in_group(name: str) -> bool:
        return any(name == group or name.startswith(f"{group}.") for group in groups)

    undocumented = {name for name in known - set(single) if not in_group(name)}
    assert not undocumented, f"docs/{PAGE} has no row for {sorted(undocumented)} of {where}; add one"
    unknown = {name for name in single if name not in known}
    unknown |= {group for group in groups if not any(k == group or k.startswith(f"{group}.") for k in known)}
    assert not unknown, f"docs/{PAGE} has rows for {sorted(unknown)}, which {where} does not have; remove them"
    twice = {name for name in single if single.count(name) > 1}
    assert not twice, f"docs/{PAGE} has two rows for {sorted(twice)} of {where}"


@pytest.mark.parametrize(
    ("title", "options"),
    [
        ("Pretraining", PretextOptions),
        ("Supervised baselines", SupervisedOptions),
        ("Pretraining in 3D", VolumesOptions),
        ("Weights from outside", WeightsOptions),
        ("Localization", Localization),
        ("Statistics", Parameters),
    ],
)
def test_every_option_has_a_row_and_every_row_an_option(title: str, options: type[BaseModel]) -> None:
    compare((name for name, _ in options_under(title)), flat(options), options.__name__)


def term_fields() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for name, path in TERMS.items():
        for field in dataclasses.fields(load(path)):  # type: ignore[arg-type]
            yield f"{name}.{field.name}", field


def test_every_field_of_every_term_has_a_row() -> None:
    compare((name for name, _ in options_under("Terms")), {name for name, _ in term_fields()}, "the terms")


OWN = {
    "classification": "Classification transfer",
    "segmentation": "Segmentation transfer",
    "classification_3d": "Transfer on volumes",
    "segmentation_3d": "Transfer on volumes",
}


def transfer_rows(title: str) -> list[tuple[str, Row]]:
    return [(name, row) for name, row in options_under(title) if not name.startswith("cohort.")]


@pytest.mark.parametrize("kind", TRANSFERS)
def test_every_option_of_a_transfer_has_a_row(kind: str) -> None:
    every, own = ({n for n, _ in transfer_rows(t)} for t in ("Every transfer", OWN[kind]))
    missing = flat(TRANSFERS[kind], whole=["localization"]) - every - own
    assert not missing, f'docs/{PAGE} has no row for {sorted(missing)} under "Every transfer" or "{OWN[kind]}"'


def test_every_row_of_a_transfer_is_an_option_of_it() -> None:
    known = {kind: flat(model, whole=["localization"]) for kind, model in TRANSFERS.items()}
    for name, row in transfer_rows("Every transfer"):
        lacking = [kind for kind, names in known.items() if name not in names]
        assert not lacking, f"line {row.line}: {lacking} has no {name}"
    for title in set(OWN.values()):
        kinds = [kind for kind, own in OWN.items() if own == title]
        for name, row in transfer_rows(title):
            assert any(name in known[kind] for kind in kinds), f"line {row.line}: {kinds} have no {name}"


def adapter_defaults() -> dict[str, Any]:
    """Return the options of every adapter, from its ``Options`` or its own dataclass."""
    found: dict[str, Any] = {}
    for data_set in readers().values():
        adapter = data_set.adapter
        if not hasattr(adapter, "with_options"):
            continue
        if data_set.options is not None:
            found |= {name: field.default for name, field in data_set.options.model_fields.items()}
        else:
            fields = {f.name: f.default for f in dataclasses.fields(adapter) if f.name not in ("name", "labels")}
            for name in fields:
                adapter.with_options({name: fields[name]})  # it is an option indeed
            found |= fields
    return found


def test_every_option_of_a_cohort_has_a_row() -> None:
    known = {f"cohort.{key}" for key in Cohort.model_fields} - {
        f"cohort.{k}" for k in ("split", "adapter", "patches", "scans")
    }
    known |= flat(Split, "cohort.split.") | flat(Patches, "cohort.patches.") | flat(ScanStore, "cohort.scans.")
    known |= {f"cohort.adapter.{name}" for name in adapter_defaults()}
    rows = options_under("Cohorts and splits", "Transfer on volumes")
    compare((name for name, _ in rows if name.startswith("cohort.")), known, "options.cohort")


def keys_under(word: str) -> set[str]:
    cells = [row.cells[0] for row in read_tables(PAGE) if row.cells[0].startswith(word)]
    return {name for cell in cells for name in names_in(cell)}


def test_every_key_of_an_entry_has_a_row_and_every_row_a_key() -> None:
    recipes = (PretextRecipe, SupervisedRecipe, VolumesRecipe, WeightsRecipe)
    known = {name for model in (MethodEntry, TaskEntry, *recipes) for name in model.model_fields}
    compare(keys_under("entry key"), known, "an entry")


def test_every_key_of_a_profile_has_a_row_and_every_row_a_key() -> None:
    whole = ["supervised", "optimisers", "schedules", "options", "options_of"]  # typed as an entry's are, rows above
    known = flat(methods.profiles.Profile, whole=whole) | flat(tasks.profiles.Profile, whole=whole)
    compare(keys_under("profile key"), known | {"extends"}, "a profile")


# -- defaults ---------------------------------------------------------------------------------------------------------


def stated(cell: str, count: int) -> list[Any]:
    """Return the first ``count`` values of a cell, as YAML reads them."""
    depth, parts = 0, [""]
    for character in re.sub(r"\([^)]*\)", "", cell).replace("`", "").replace("−", "-"):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
        if character in ",;:" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [yaml.safe_load(part) for part in parts[:count]]


def plain(value: Any) -> Any:
    """Tuples as lists, numbers as floats: what YAML and Python write differently."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def check(rows: list[tuple[str, Row]], expected: dict[str, Any], *, column: int = 1) -> int:
    """Compare first values with defaults; rows that say "by task" and names without a default are left out."""
    by_row: dict[int, list[str]] = {}
    cells = {}
    for name, row in rows:
        by_row.setdefault(row.line, []).append(name)
        cells[row.line] = row.cells[column]
    compared = 0
    for line, names in by_row.items():
        if cells[line].startswith("by task") or any(name not in expected for name in names):
            continue
        found, right = [plain(v) for v in stated(cells[line], len(names))], [plain(expected[name]) for name in names]
        assert found == right, f"docs/{PAGE}:{line}: {', '.join(names)} says {found}; the code has {right}"
        compared += len(names)
    return compared


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}


def test_the_first_value_of_a_row_is_the_default() -> None:
    paper = methods.profiles.load_profile("paper")
    assert paper.volumes is not None
    in_two = defaults_of(PretextOptions) | given(paper.options)
    in_three = defaults_of(VolumesOptions) | given(paper.volumes.options)
    assert check(options_under("Pretraining"), in_two) >= 15
    assert check(options_under("Pretraining in 3D"), in_three) >= 8
    assert check(options_under("Supervised baselines"), defaults_of(SupervisedOptions)) == 2
    assert check(options_under("Localization"), defaults_of(Localization)) == len(Localization.model_fields)
    assert check(options_under("Terms"), {name: field.default for name, field in term_fields()}) >= 20
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert check(options_under("Statistics"), parameters) == len(parameters)
    adapters = {f"cohort.adapter.{name}": value for name, value in adapter_defaults().items()}
    paper_cohorts = tasks.profiles.load_profile("paper").cohorts
    for cohort in paper_cohorts.values():
        adapters |= {f"cohort.adapter.{name}": value for name, value in (cohort.get("adapter") or {}).items()}
    assert check(options_under("Cohorts and splits", "Transfer on volumes"), adapters) >= 8


def resolved(task: str) -> dict[str, Any]:
    """Return the transfer of a task under ``paper``, flat, in the words of a file."""

    def flatten(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from flatten(inner, f"{prefix}{key}.")
            else:
                yield prefix + key, inner

    return dict(flatten(Training.from_dump(load_registry().resolve_task(task, "paper").transfer), ""))


def test_the_first_value_of_a_transfers_row_is_the_paper_profiles() -> None:
    assert check(transfer_rows("Classification transfer"), resolved("chestxray14")) >= 7
    for task in ("montgomery", "siim_acr"):
        assert check(transfer_rows("Segmentation transfer"), resolved(task)) >= 18
    for task in ("luna16", "pe_cad", "lidc_idri", "lits", "brats"):
        assert check(transfer_rows("Transfer on volumes"), resolved(task)) >= 4


def test_the_values_of_every_transfer_are_the_paper_profiles() -> None:
    """A cell lists classification / segmentation / 3D classification / 3D segmentation, or what all four share."""
    columns = [resolved(task) for task in ("chestxray14", "montgomery", "luna16", "lits")]
    compared = 0
    for line in {row.line for _, row in transfer_rows("Every transfer")}:
        names = [name for name, row in transfer_rows("Every transfer") if row.line == line]
        cell = next(row.cells[1] for _, row in transfer_rows("Every transfer") if row.line == line)
        parts = cell.split(";")[0].split(" / ") if " / " in cell else [cell] * 4
        for part, column in zip(parts, columns, strict=True):
            if part.startswith("by task"):
                continue
            right = {name: column.get(name) for name in names}
            found = [plain(v) for v in stated(part, len(names))]
            assert found == [plain(v) for v in right.values()], f"docs/{PAGE}:{line}: {names}: {found}, not {right}"
            compared += len(names)
    assert compared > 70


def test_the_readers_of_rows_read_what_is_written() -> None:
    assert names_in("`a.b`, `.c` (Barlow `x`)") == ["a.b", "a.c"]
    assert stated("[0.08, 1], null (the `x`, y); `b`", 3) == [[0.08, 1], None, "b"]
    with pytest.raises(AssertionError, match="no row for"):
        compare(["a"], {"a", "b"}, "x")
    with pytest.raises(AssertionError, match="does not have"):
        compare(["a", "c"], {"a"}, "x")
    with pytest.raises(AssertionError, match="says"):
        check([("a", Row((), (), ("`a`", "2"), 1))], {"a": 1})
