"""The DVC pipeline, tried: registries, profiles and a kill. Entries of others stay as they are."""

from __future__ import annotations

import os
import signal

import pytest

from tests.pipeline.clone import attempts, ran, since, until

FIFTH = '  restoration_alone: {label: Restoration alone, dimensions: 2, recipe: pretext, restoration: 10, label_fractions: full, version: 1, source: "a user"}\n'
BROKEN = (
    '  ghost: {label: Ghost, dimensions: 2, recipe: "no_such_package.module:Recipe", version: 1, source: "a user"}\n'
)


def test_a_further_method_trains_itself_alone_and_leaves_every_published_byte(clone):
    registry = clone.root / "methods" / "registry.yaml"
    original = registry.read_text()
    before, ran_before = clone.results(), attempts(clone)
    page = (clone.root / "reports/smoke/tables/tab4.md").read_text()
    registry.write_text(original + FIFTH)
    assert ran(clone.run("dvc", "repro")) == {"pretrain", "trials", "leakage", "statistics", "report"}
    pretraining, *trials = since(clone, ran_before)
    assert pretraining.startswith("pretrain res ")
    cells = (f"restoration_alone × {task} · 100 %" for task in ("chestxray14", "montgomery"))
    assert trials == [f"{cell} · repeat {repeat}" for cell in cells for repeat in (0, 1)]
    after = clone.results()
    for name, content in before.items():
        if name in ("cells.csv", "comparisons.csv"):
            published = [line for line in content.decode().splitlines() if ",published," in f",{line}"]
            assert published
            assert [line for line in after[name].decode().splitlines() if ",published," in f",{line}"] == published
        elif name == "gates.csv":
            assert set(content.splitlines()) <= set(after[name].splitlines())
        else:
            assert after[name] == content, name
    table = (clone.root / "reports/smoke/tables/tab4.md").read_text()
    assert "Restoration alone" in table
    published_lines = page.split("Not in the paper")[0]
    assert table.startswith(published_lines)
    registry.write_text(original)


@pytest.mark.thorough
def test_an_unavailable_method_stops_nobody_else_and_one_taken_out_is_gone(clone):
    registry = clone.root / "methods" / "registry.yaml"
    original = registry.read_text()
    table = clone.root / "reports/smoke/tables/tab4.md"
    registry.write_text(original + FIFTH)
    clone.run("dvc", "repro")
    assert "Restoration alone" in table.read_text()
    registry.write_text(original + BROKEN)
    clone.run("dvc", "repro")
    listing = clone.bench("list", "methods")
    assert "no_such_package" in listing
    assert "Restoration alone" not in table.read_text()
    registry.write_text(original)
    clone.run("dvc", "repro")


@pytest.mark.thorough
def test_another_profile_and_back_runs_nothing_the_second_time(clone):
    clone.set_parameter("profile", "other")
    assert "report@other" in ran(clone.run("dvc", "repro"))
    clone.set_parameter("profile", "smoke")
    assert ran(clone.run("dvc", "repro")) == set()


@pytest.mark.thorough
def test_a_killed_repro_leaves_no_lock(clone):
    clone.set_parameter("base_seed", 7)
    before = attempts(clone)
    driver = clone.start("dvc", "repro")
    until(lambda: any((clone.root / ".trials").rglob("progress.json")) and (clone.root / ".dvc/tmp/rwlock").exists())
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    clone.bench("stage", "unlock")
    finished = attempts(clone)
    assert ran(clone.run("dvc", "repro", "trials@smoke")) == {"pretrain", "trials"}
    assert finished.items() <= attempts(clone).items()
    titles = set(since(clone, before))
    assert len(titles) == 3 + 3 * 2 * 2, "three phases; three methods on two tasks, two repeats each"
