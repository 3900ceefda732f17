"""Imported once by the fork server: brings the heavy libraries into memory that every child then shares.

The names come through the environment because the fork server takes nothing else. Nothing here may touch
``torch.cuda``: a CUDA context does not survive a fork. A library that is missing or broken is skipped; the work that
needs it will say so itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal

import harness.executors.child  # noqa: F401  what every child runs
from harness.dotted import import_module
from harness.environment import arithmetic, provenance
from harness.executors.interface import PRELOAD_VARIABLE
from harness.late import import_held

for _name in filter(None, os.environ.pop(PRELOAD_VARIABLE, "").split(",")):
    with contextlib.suppress(BaseException):  # one that ends Python would take the server along
        import_module(_name)
with contextlib.suppress(BaseException):
    import_held()  # what the items' modules leave for later comes now, once for all children
for _number in (signal.SIGTERM, signal.SIGUSR2):  # a scheduler sends them to every process of a job
    signal.signal(_number, signal.SIG_IGN)  # the server ends when its driver does; children listen anew
provenance()  # of this machine: found once for all children
arithmetic()  # likewise, as long as a child loads no other library
gc.freeze()  # the collector would otherwise touch, and so copy, every shared page in each child


def _leave(server: int) -> None:
    """End the server, and only it, without taking the libraries down: many complain on the terminal while they go."""
    if os.getpid() == server:
        os._exit(0)


atexit.register(_leave, os.getpid())
