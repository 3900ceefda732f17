"""BibTeX of every method and data set: written from the registries, and nothing guessed."""

import re

import yaml

from harness.spec import Citation, DataTerms
from reports.render.bibliography import bibliography, known_entries, works
from tasks.datasets.catalogue import catalogue
from tests.reports.test_render import REPOSITORY

REGISTRY = yaml.safe_load((REPOSITORY / "methods" / "registry.yaml").read_text())["methods"]
AS_ITS_OWNERS_SAY = {"tcia", "siimacr2019", "cohen2020covid"}  # an archive, a challenge, and a year that had two texts


def test_a_source_names_its_works():
    assert works("DiRA Tab. 2; He 2016 (initialisation)") == ["haghighi2022dira", "he2016"]
    assert works("Chen and He 2021") == ["chen2021"]
    assert works("control: the loss alone varies") == []


def test_every_work_of_the_registry_has_an_entry_and_no_entry_is_of_another():
    named = {key for entry in REGISTRY.values() for key in works(entry["source"])}
    cited = {one.key for found in catalogue().values() for one in found.terms.citations}
    assert set(known_entries()) == named | cited - AS_ITS_OWNERS_SAY
    assert cited > AS_ITS_OWNERS_SAY


def test_every_method_and_data_set_is_in_the_file_with_its_entry():
    terms = {"lungs": DataTerms(title="Lungs", citations=(Citation(key="me2026", text="Me & you, 50 % of it. 2026."),))}
    labels = {name: entry["label"] for name, entry in REGISTRY.items()}
    sources = {name: entry["source"] for name, entry in REGISTRY.items()}
    written = bibliography(labels, sources, {"lungs": "Lungs"}, terms)
    entries = re.findall(r"(?m)^@\w+\{([^,]+),", written)
    assert len(entries) == len(set(entries))
    cited = {key for line in written.splitlines() if line.startswith("% ") for key in line.split(": ")[-1].split(", ")}
    assert cited == set(entries) >= {"haghighi2022dira", "me2026"}
    assert r"note = {Me \& you, 50 \% of it. 2026}" in written
    assert written.count("{") == written.count("}")


def test_a_work_that_is_not_known_is_named_and_not_made_up():
    written = bibliography({"mine": "Mine @home"}, {"mine": "He 2020; Nobody 2031"}, {}, {})
    assert "% Mine (at)home: he2020 (no entry for nobody2031)" in written
    assert "@misc{nobody2031" not in written
    assert bibliography({"mine": "Mine"}, {}, {}, {}) == ""
