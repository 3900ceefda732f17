"""What is repeated, and what counts as the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.repeating import print_all
from harness.cli.session import Session
from harness.errors import ConfigurationError
from harness.registry import load_parameters
from harness.running.repeating import Repeated, beside, groups, sampled
from harness.spec import Item, Record, Status
from tests.harness import project


@pytest.fixture
def session(tmp_path: Path) -> Session:
    root = project.copy(tmp_path, tasks=("chestxray14",))
    return Session(root, load_parameters(root, {"profile": "miniature", "repeats": 2}))


def leave(session: Session, *items: Item) -> None:
    with session.store.driver() as driver:
        for item in items:
            attempt = session.store.lease(item, driver)
            assert attempt is not None
            session.store.finish(attempt, Status.OK, values={"auc": 0.5})


def record(item: Item, auc: float, **files: str) -> Record:
    return Record(
        kind=item.kind, id=item.id, ordinal=0, run=item.run, title=item.title, spec=item.spec, status=Status.OK,
        values={"auc": auc}, files=files,
    )  # fmt: skip


def test_one_bit_of_a_value_or_a_file_is_a_difference_and_two_undefined_values_are_none(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    item = next(iter(session.plan.trials().values()))
    first = record(item, 0.1, weights="a")
    assert print_all([Repeated(item, first, record(item, 0.1, weights="a"))])
    assert not print_all([Repeated(item, first, record(item, 0.1 + 2**-56, weights="a"))])
    assert not print_all([Repeated(item, first, record(item, 0.1, weights="b"))])
    assert not print_all([Repeated(item, first, record(item, 0.1))])
    undefined = record(item, float("nan"))
    assert print_all([Repeated(item, undefined, undefined)])
    assert not print_all([Repeated(item, undefined, first)])


def test_the_sample_holds_every_done_phase_and_spreads_its_trials_over_the_cells(session: Session) -> None:
    plan = session.plan
    with pytest.raises(ConfigurationError, match="run them first"):
        sampled(session.plan, session.store, lambda cell: True, 4)
    chain = plan.phases["moco_v2_dir", 0]
    trials = list(plan.trials(lambda cell: cell.key.method in ("moco_v2_dir", "random")).values())
    leave(session, plan.cohorts["chestxray14"], *chain, *trials)
    found = sampled(session.plan, session.store, lambda cell: True, 5)
    assert found[: len(chain)] == chain
    assert found[len(chain) :] == trials[::2] and len(trials) == 10
    assert len(sampled(session.plan, session.store, lambda cell: True, 1000)) == len(chain) + len(trials)
    assert [len(group) for group in groups(found)] == [*[1] * len(chain), 5]


def test_two_commands_do_not_repeat_in_the_same_place(session: Session) -> None:
    chain = session.plan.phases["moco_v2_dir", 0]
    leave(session, *chain)
    with beside(session.plan, session.store, chain[:1]) as store, store.driver():
        with (
            pytest.raises(ConfigurationError, match="wait for it to end"),
            beside(session.plan, session.store, chain[:1]),
        ):
            pass
        assert store.root.is_dir()


def test_a_later_phase_is_repeated_beside_the_one_it_starts_from(session: Session) -> None:
    chain = session.plan.phases["moco_v2_dir", 0]
    assert len(chain) > 1
    leave(session, session.plan.cohorts["chestxray14"], *chain)
    with beside(session.plan, session.store, chain[1:2]) as store:
        assert store.ok("phase", chain[0].id) is not None
        assert store.ok("phase", chain[1].id) is None
    assert not (session.root / ".trials" / "again").exists()
    assert session.store.ok("phase", chain[0].id) is not None
