"""How close the scheduler comes to the shortest time that 64 slots allow, while nodes die."""

import random
import sys
from types import ModuleType

import pytest

from harness import whole_files
from harness.runner import run, schedule
from harness.spec import Item
from harness.store import Store
from tests.harness.simulated_cluster import SimulatedCluster, VirtualClock, lower_bound
from tests.harness.works import item

SLOTS = 64
FAILURES = 0.02


def _module() -> ModuleType:
    """Return the module of the loop; the package has a function of the same name."""
    return sys.modules["harness.runner.run"]


def plan_like(draw: random.Random) -> list[Item]:
    """Return a plan in small: cohorts, chains of three phases, and trials that differ tenfold between tasks."""
    cohorts = [item("nothing", kind="cohort", name=f"cohort {n}", cost=2.0) for n in range(4)]
    items = list(cohorts)
    tasks = [draw.uniform(6.0, 60.0) for _ in range(4)]
    for method in range(12):
        needs: tuple[str, ...] = ()
        for phase in range(3 if method % 2 else 0):
            made = item("nothing", kind="phase", name=f"m{method} phase {phase}", needs=needs, cost=40.0)
            needs = (made.id,)
            items.append(made)
        for number in range(60):
            task = number % 4
            name = f"m{method} task {task} · {number}"
            items.append(item("nothing", name=name, needs=(*needs, cohorts[task].id), cost=tasks[task]))
    return items


def heavy_tailed(draw: random.Random) -> list[Item]:
    """Return items that need nothing; a few take as long as dozens of others."""
    return [item("nothing", name=str(n), cost=min(120.0, 10.0 * draw.paretovariate(1.2))) for n in range(320)]


def one_long_chain(draw: random.Random) -> list[Item]:
    """Return short items and, last in the order given, a chain that is nearly as long as the whole."""
    items = [item("nothing", name=str(n), cost=draw.uniform(20.0, 60.0)) for n in range(320)]
    needs: tuple[str, ...] = ()
    for link in range(6):
        items.append(item("nothing", kind="phase", name=f"link {link}", needs=needs, cost=30.0))
        needs = (items[-1].id,)
    return items


def ratio(items: list[Item], seed: int, tmp_path, monkeypatch) -> float:
    """Run items on the simulated cluster, and return how many times the lower bound that took."""
    draw = random.Random(seed)
    seconds = {one.id: one.cost * draw.uniform(0.8, 1.25) for one in items}  # costs are guesses
    clock = VirtualClock()
    monkeypatch.setattr(_module(), "time", clock)
    monkeypatch.setattr(whole_files, "_sync", lambda path: None)  # no power is lost here
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    cluster = SimulatedCluster(SLOTS, store, clock, seconds, FAILURES, seed)
    begun = clock.now
    summary = run(items, store, cluster)
    cluster.close()
    assert summary.complete
    assert summary.attempts == len(items) + cluster.lost
    assert cluster.lost
    return (clock.now - begun) / lower_bound(items, cluster.spent, SLOTS)


@pytest.mark.parametrize("kind", [plan_like, heavy_tailed, one_long_chain])
def test_sixty_four_slots_are_used_to_within_a_tenth_of_what_is_possible(kind, tmp_path, monkeypatch):
    assert ratio(kind(random.Random(7)), 7, tmp_path, monkeypatch) <= 1.1


def test_without_longest_chain_first_it_would_take_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(_module(), "priorities", lambda items: dict.fromkeys(schedule.priorities(items), 0.0))
    assert ratio(one_long_chain(random.Random(7)), 7, tmp_path, monkeypatch) > 1.3
