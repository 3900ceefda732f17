"""``plan`` tells beforehand what a run can answer, and keeps the answer by the digest of what it follows from."""

import shutil

import pytest

from harness.cli.outlook import ask, outlooks, print_answer, print_outlook
from harness.cli.session import Session, console
from harness.errors import UnknownName
from harness.published import load_families
from harness.registry import load_parameters
from tests.harness import project

FLAT = tuple(
    name
    for name in sorted(load_families(project.ROOT / "reports" / "families.yaml").published_methods())
    if name not in ("random_3d", "transvw", "dira_transvw")
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    root = project.copy(tmp_path_factory.mktemp("project"), methods=FLAT)
    (root / "results" / "published").mkdir(parents=True)
    shutil.copy(project.ROOT / "results" / "published" / "paper.csv", root / "results" / "published")
    shutil.copy(project.ROOT / "reports" / "margins.yaml", root / "reports")
    return Session(root, load_parameters(root, {"profile": "smoke"}))


def said(function, *arguments):
    with console.capture() as capture:
        function(*arguments)
    return capture.get()


def test_only_contrasts_on_registered_tasks_are_asked_and_the_answer_is_kept(session):
    question = ask(session)
    found = outlooks(session, question)
    assert {row.task for row in found} == {"chestxray14", "montgomery"}
    (kept,) = (session.root / ".trials" / "outlook").glob("*.json")
    before = kept.stat().st_mtime_ns
    assert outlooks(session, question) == found
    assert kept.stat().st_mtime_ns == before
    kept.write_text("{torn")
    assert outlooks(session, question) == found  # damaged: computed again
    outlooks(session, ask(session, 0.8))
    assert len(list((session.root / ".trials" / "outlook").glob("*.json"))) == 2


def test_no_contrast_of_a_method_that_is_not_there_is_asked(session, tmp_path):
    few = project.copy(tmp_path / "few")
    shutil.copytree(session.root / "results", few / "results")
    asked = ask(Session(few, load_parameters(few, {"profile": "smoke"}))).keys
    assert asked and {name for key in asked for name in (key.method, key.reference)} <= set(project.METHODS)


def test_a_line_a_family_fits_eighty_columns_and_names_what_no_run_can_answer(session):
    text = said(print_outlook, session, outlooks(session, ask(session)))
    families = [line for line in text.splitlines() if line.startswith("  ")]
    assert max(map(len, families)) <= 80
    assert any("inside the margin: 4 of 6" in line for line in families)
    assert any("tab5: not known beforehand, no spread is printed" in line for line in families)


def test_an_answer_names_each_contrast_and_a_design_or_why_none_can(session):
    question = ask(session)
    found = outlooks(session, question)
    text = said(print_answer, session, question, found, "fig4", 0.8)
    assert "dira_moco_v2 − moco_v2, chestxray14: paper +0.76 ±0.5" in text
    assert "Cheapest design for a mean rate of 80%" in text
    assert "No design can call any of these reproduced" in said(print_answer, session, question, found, "res", 0.8)
    with pytest.raises(UnknownName, match="did you mean"):
        print_answer(session, question, found, "fig5", 0.8)
