"""The DVC pipeline, tried: parameters and code. The stages that depend on a change run, and of items only what is new.

Each test goes on from where the one before left the clone, or from the finished one.
"""

from __future__ import annotations

import pytest

from harness import versions
from tests.pipeline.clone import attempts, ran, since


def test_a_second_repro_runs_nothing(clone):
    assert ran(clone.run("dvc", "repro")) == set()


def test_everything_of_a_synthetic_profile_is_stamped(clone):
    folder = clone.root / "reports" / "smoke"
    for path in [
        folder / "report.html",
        *(path for path in sorted((folder / "tables").iterdir()) if path.suffix != ".bib"),  # literature, no result
        *sorted((folder / "figures").glob("*.svg")),
    ]:
        assert "SYNTHETIC" in path.read_text(), path.name


def test_alpha_reaches_statistics_audit_and_report_only(clone):
    clone.set_parameter("alpha", 0.1)
    assert ran(clone.run("dvc", "repro")) == {"statistics", "audit", "report"}


@pytest.mark.thorough
def test_repeats_reach_trials_and_keep_what_was_run(clone):
    records = {path: path.stat().st_mtime_ns for path in (clone.root / ".trials").rglob("record.json")}
    before = attempts(clone)
    clone.set_parameter("repeats", 3)
    assert ran(clone.run("dvc", "repro")) == {"trials", "statistics", "report"}
    assert all(path.stat().st_mtime_ns == modified for path, modified in records.items())
    cells = {title.partition(" · repeat")[0] for title in before.values() if "repeat" in title}
    assert since(clone, before) == sorted(f"{cell} · repeat 2" for cell in cells)


@pytest.mark.thorough
def test_a_remark_in_a_registry_runs_stages_and_no_item(clone):
    """DVC knows the registries as whole files; which items are done is known by the store."""
    before, results = attempts(clone), clone.results()
    for side in ("methods", "tasks"):
        registry = clone.root / side / "registry.yaml"
        registry.write_text(f"# A remark.\n{registry.read_text()}")
    assert {"cohorts", "pretrain", "trials"} <= ran(clone.run("dvc", "repro"))
    assert (since(clone, before), clone.results()) == ([], results)


def test_verify_passes_until_a_constant_is_changed(clone):
    for component in versions.stale(clone.root):  # an edit that is being made while this runs is not what is tried
        versions.write_digest(clone.root, component)
    clone.inside("verify")
    module = clone.root / "methods" / "terms" / "bound_restoration.py"
    source = module.read_text()
    module.write_text(source.replace("from __future__", "# a remark\nfrom __future__", 1))
    clone.inside("verify")
    assert ran(clone.run("dvc", "repro")) == set()
    module.write_text(source + "\nCHANGED = 1\n")
    output = clone.inside("verify", code=2)
    assert "term_restoration" in output
    assert "pin" in output
    module.write_text(source)
