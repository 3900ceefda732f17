from pathlib import Path

import yaml

from methods.profiles import component_versions, versions_of

ROOT = Path(__file__).parents[2]
COMPONENTS = yaml.safe_load((ROOT / "methods" / "versions.yaml").read_text(encoding="utf-8"))["components"]

# These make no number: what they decide stands in the configuration itself, or only tests and checks read them.
WITHOUT_VERSION = {
    "methods/__init__.py",
    "methods/configuration.py",
    "methods/options.py",
    "methods/profiles.py",
    "methods/conformance.py",
    "methods/together.py",
    "methods/probe.py",
    "methods/export.py",
    "methods/export_layouts.py",
    "methods/export_card.py",
    "methods/weight_files.py",
    "methods/views_pil.py",
    "methods/terms/__init__.py",
    "methods/training/__init__.py",
    "methods/volumes/__init__.py",
}


def test_every_module_that_makes_numbers_belongs_to_exactly_one_component():
    listed = [module for component in COMPONENTS.values() for module in component["modules"]]
    assert len(listed) == len(set(listed))
    present = {path.relative_to(ROOT).as_posix() for path in (ROOT / "methods").rglob("*.py")}
    present -= {
        path for path in present if path.startswith("methods/own/")
    }  # a user's own code, which no version here represents
    recipes = {path for path in present if path.startswith("methods/recipes/")}
    beside = {module for module in listed if module.startswith("harness/")}  # what methods and tasks share
    assert present - recipes - WITHOUT_VERSION == set(listed) - beside


def test_versions_are_whole_numbers_and_a_term_from_outside_has_none():
    assert all(version >= 1 for version in component_versions().values())
    assert versions_of("views", "") == {"views": COMPONENTS["views"]["version"]}
