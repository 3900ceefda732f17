"""How a run stands, seen from another shell: the store is read, nothing is asked of the driver."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.spec import Item, Kind
from harness.store import State, Store


@dataclass(frozen=True)
class Running:
    """One item that somebody alive is at."""

    item: Item
    slot: str
    done: int
    total: int
    what: str
    seconds: float


@dataclass(frozen=True)
class Overview:
    """Counts of items by state, and what runs now."""

    counts: dict[State, int]
    running: tuple[Running, ...]
    failed: tuple[Item, ...]


def status(store: Store, items: Iterable[Item]) -> Overview:
    """Return where each item stands, from the store alone; safe beside any number of drivers."""
    wanted = list(items)
    kinds: set[Kind] = {item.kind for item in wanted}
    done = {kind: store.done_ids(kind) for kind in kinds}
    attempted = {kind: set(store.ids(kind)) for kind in kinds}
    counts: Counter[State] = Counter()
    running: list[Running] = []
    failed: list[Item] = []
    for item in wanted:
        if item.id not in attempted[item.kind]:
            counts[State.MISSING] += 1
            continue
        state = State.DONE if item.id in done[item.kind] else store.state(item.kind, item.id)
        said = store.progress(item.kind, item.id) if state is State.RUNNING else None
        counts[state] += 1
        if state is State.FAILED:
            failed.append(item)
        if said is not None:
            seconds = time.time() - said.since if said.since else 0.0
            what = said.what if said.since else _queued(store, item)
            running.append(Running(item, said.slot, said.done, said.total, what, seconds))
    return Overview(dict(counts), tuple(running), tuple(failed))


def _queued(store: Store, item: Item) -> str:
    """Say which job of which engine will run an item that has not begun; nothing if none was asked to."""
    found = store.entrusted(item)
    return f"queued: {found[1].engine} {found[1].id}" if found is not None else ""
