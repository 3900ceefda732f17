"""What a hostile file system does, put under the store: imported by each process of a storm.

* *Stale looks*: a record that is younger than ``STALE`` seconds is not seen until its folder was listed, as NFS clients
  remember that a file is absent.
* *Clock jumps*: every ``WINDOW`` seconds the file system's clock is off by another amount, up to an hour either way.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from harness.store import leases, records

STALE = 2.0
WINDOW = 5.0
JUMPS = (-3600.0, -30.0, 0.0, 0.0, 0.0, 30.0, 3600.0)

_listed: dict[Path, float] = {}
_read_regular = records.read_regular
_date = leases.FileClock._date


def _stale(path: Path) -> bytes:
    if path.name == records.RECORD:
        made = path.stat().st_ctime
        if time.time() - made < STALE and _listed.get(path.parent, 0.0) < made:
            raise FileNotFoundError(path)
    return _read_regular(path)


def _jumping(self: leases.FileClock) -> float:
    window = int(time.time() / WINDOW)
    return _date(self) + random.Random(f"{os.environ.get('STORM')}|{window}").choice(JUMPS)


def begin() -> None:
    """Put the weather under the store of this process."""
    records.read_regular = _stale
    leases.FileClock._date = _jumping
    look = getattr(records, "_look", None)  # a store without it never asks again
    if look is not None:

        def looking(folder: Path) -> None:
            look(folder)
            _listed[folder] = time.time()

        records._look = looking


if "STORM" in os.environ:
    begin()
