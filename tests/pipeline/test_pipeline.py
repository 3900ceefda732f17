"""The DVC pipeline, tried: what depends on a change runs again, and nothing else."""

from __future__ import annotations

import os
import re
import signal

import pytest
import yaml

from tests.pipeline.clone import Clone, until

FIFTH = '  restoration_alone: {label: Restoration alone, dimensions: 2, recipe: pretext, restoration: 10, label_fractions: full, version: 1, source: "a user"}\n'
BROKEN = (
    '  ghost: {label: Ghost, dimensions: 2, recipe: "no_such_package.module:Recipe", version: 1, source: "a user"}\n'
)


def ran(output: str) -> set[str]:
    """Return the stages that DVC ran, without the profile."""
    return {name.replace("smoke-", "").replace("smoke", "") for name in re.findall(r"Running stage '([^']+)'", output)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone whose pipeline has run once; the tests below follow one another."""
    clone = Clone(tmp_path_factory.mktemp("pipeline"))
    clone.keep(["random", "moco_v2", "moco_v2_dir"], ["chestxray14", "montgomery"])
    output = clone.run("dvc", "repro")
    assert {"cohort@chestxray14", "pretrain@moco_v2", "trials@random", "statistics@", "audit", "report@"} <= ran(output)
    return clone


def test_a_second_repro_runs_nothing(clone):
    assert ran(clone.run("dvc", "repro")) == set()


def test_everything_of_a_synthetic_profile_is_stamped(clone):
    folder = clone.root / "reports" / "smoke"
    for path in [
        folder / "report.html",
        *sorted((folder / "tables").iterdir()),
        *sorted((folder / "figures").glob("*.svg")),
    ]:
        assert "SYNTHETIC" in path.read_text(), path.name


def test_alpha_reaches_statistics_audit_and_report_only(clone):
    clone.set_parameter("alpha", 0.1)
    assert ran(clone.run("dvc", "repro")) == {"statistics@", "audit", "report@"}
    clone.set_parameter("alpha", 0.05)
    clone.run("dvc", "repro")


def test_repeats_reach_trials_and_keep_what_was_run(clone):
    before = {path: path.stat().st_mtime_ns for path in (clone.root / ".trials").rglob("record.json")}
    clone.set_parameter("repeats", 3)
    stages = ran(clone.run("dvc", "repro"))
    assert stages == {"trials@random", "trials@moco_v2", "trials@moco_v2_dir", "statistics@", "report@"}
    assert all(path.stat().st_mtime_ns == modified for path, modified in before.items())
    clone.set_parameter("repeats", 2)
    clone.run("dvc", "repro")


def test_a_fifth_method_runs_its_own_stages_and_leaves_every_published_byte(clone):
    registry = clone.root / "methods" / "registry.yaml"
    original = registry.read_text()
    before = clone.results()
    page = (clone.root / "reports/smoke/tables/tab4.md").read_text()
    registry.write_text(original + FIFTH)
    assert ran(clone.run("dvc", "repro")) == {
        "pretrain@restoration_alone",
        "trials@restoration_alone",
        "statistics@",
        "report@",
    }
    after = clone.results()
    for name, content in before.items():
        if name in ("cells.csv", "comparisons.csv"):
            published = [line for line in content.decode().splitlines() if ",published," in f",{line}"]
            assert published
            assert [line for line in after[name].decode().splitlines() if ",published," in f",{line}"] == published
        else:
            assert after[name] == content, name
    table = (clone.root / "reports/smoke/tables/tab4.md").read_text()
    assert "Restoration alone" in table
    published_lines = page.split("Not in the paper")[0]
    assert table.startswith(published_lines)
    registry.write_text(original)
    clone.run("dvc", "repro")
    assert "Restoration alone" not in (clone.root / "reports/smoke/tables/tab4.md").read_text()


def test_an_unavailable_method_stops_nobody_else(clone):
    registry = clone.root / "methods" / "registry.yaml"
    original = registry.read_text()
    registry.write_text(original + BROKEN)
    clone.run("dvc", "repro")
    listing = clone.bench("list", "methods")
    assert "no_such_package" in listing
    registry.write_text(original)
    clone.run("dvc", "repro")


def test_another_profile_and_back_runs_nothing_the_second_time(clone):
    for side in ("methods", "tasks"):
        path = clone.root / side / "profiles.yaml"
        profiles = yaml.safe_load(path.read_text())
        profiles["profiles"]["other"] = profiles["profiles"]["smoke"]
        path.write_text(yaml.safe_dump(profiles, sort_keys=False))
    clone.run("dvc", "repro")
    clone.set_parameter("profile", "other")
    assert "report@other" in ran(clone.run("dvc", "repro"))
    clone.set_parameter("profile", "smoke")
    assert ran(clone.run("dvc", "repro")) == set()


def test_a_killed_repro_leaves_no_lock(clone):
    clone.set_parameter("base_seed", 7)
    driver = clone.start("dvc", "repro")
    until(lambda: any((clone.root / ".trials").rglob("progress.json")) and (clone.root / ".dvc/tmp/rwlock").exists())
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    clone.bench("stage", "unlock")
    stages = ran(clone.run("dvc", "repro"))
    assert "cohort@chestxray14" not in stages
    assert {"trials@random", "pretrain@moco_v2"} <= stages


def test_verify_passes_until_a_constant_is_changed(clone):
    clone.bench("pin", "all")
    clone.bench("verify")
    module = clone.root / "methods" / "terms" / "bound_restoration.py"
    source = module.read_text()
    module.write_text(source.replace("from __future__", "# a remark\nfrom __future__", 1))
    clone.bench("verify")
    assert ran(clone.run("dvc", "repro")) == set()
    module.write_text(source + "\nCHANGED = 1\n")
    output = clone.bench("verify", code=2)
    assert "term_restoration" in output
    assert "pin" in output
    module.write_text(source)
