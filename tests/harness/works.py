"""Tiny works for the tests of store, executor and runner, found by dotted path as any work is."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.contracts import Context, Outcome, Preempted
from harness.errors import DataError
from harness.identity import item_id
from harness.spec import Item, Status


def item(work: str, *, needs: tuple[str, ...] = (), cost: float = 1.0, kind: str = "trial", **spec: Any) -> Item:
    """Build an item whose work is a function of this module."""
    spec["work"] = work
    return Item(
        kind=kind,
        id=item_id(kind, spec),
        title=f"{work} {spec.get('name', '')}".strip(),
        run=f"{__name__}:{work}",
        spec=spec,
        needs=needs,
        cost=cost,
    )


def _log(spec: Mapping[str, Any]) -> int:
    """Append one byte-sized line to the log a spec names; return how many there were before."""
    if "log" not in spec:
        return 0
    descriptor = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{spec.get('name', '')}\n".encode())
    os.close(descriptor)
    return len(Path(spec["log"]).read_text().splitlines()) - 1


def nothing(spec: Mapping[str, Any], context: Context) -> Outcome:
    return Outcome(values={"value": 1.0})


def add(spec: Mapping[str, Any], context: Context) -> Outcome:
    _log(spec)
    time.sleep(spec.get("seconds", 0.0))
    total = spec["a"] + sum(np.load(folder / "arrays.npz")["total"].item() for folder in context.inputs.values())
    (context.folder / "note.txt").write_text("left by the work\n")
    return Outcome(
        values={"sum": total},
        facts={"a": spec["a"]},
        arrays={"total": np.array(total), "file": np.arange(3)},
        curve=[{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}],
    )


def sleep(spec: Mapping[str, Any], context: Context) -> Outcome:
    _log(spec)
    end = time.monotonic() + spec["seconds"]
    while time.monotonic() < end:
        context.report(1, 2, "sleeping")
        time.sleep(0.02)
    return Outcome(values={"value": 1.0})


def stubborn(spec: Mapping[str, Any], context: Context) -> Outcome:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sleep(spec, context)


def dies(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Is killed the first ``times`` times it runs."""
    if _log(spec) < spec["times"]:
        (context.folder / "half").write_text("half-written")
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(values={"value": 1.0})


def raises(spec: Mapping[str, Any], context: Context) -> Outcome:
    _log(spec)
    (context.folder / "half").write_text("half-written")
    raise ValueError("the loss went fishing")


def mistake(spec: Mapping[str, Any], context: Context) -> Outcome:
    raise DataError("found 3 images, expected 4: fetch the rest")


def greedy(spec: Mapping[str, Any], context: Context) -> Outcome:
    raise MemoryError("no room")


def exits(spec: Mapping[str, Any], context: Context) -> Outcome:
    sys.exit(0)


def interrupts(spec: Mapping[str, Any], context: Context) -> Outcome:
    raise KeyboardInterrupt


def diverges(spec: Mapping[str, Any], context: Context) -> Outcome:
    return Outcome(status=Status.DIVERGED, message="loss is nan at step 3", values={"auc": 0.5})


def no_space(spec: Mapping[str, Any], context: Context) -> Outcome:
    raise OSError(errno.ENOSPC, "No space left on device")


def large(spec: Mapping[str, Any], context: Context) -> Outcome:
    return Outcome(arrays={"large": np.zeros(spec["bytes"], np.uint8)})


def unfit(spec: Mapping[str, Any], context: Context) -> Outcome:
    return Outcome(facts={"thread": threading.current_thread()})


def resumes(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Gets one step further each time before it hangs; done at the third."""
    file = context.resume / "checkpoint"
    step = int(file.read_text()) if file.exists() else 0
    file.write_text(str(step + 1))
    if step < 2:
        time.sleep(60)
    return Outcome(values={"steps": float(step)})


def percent(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Returns a percentage where a fraction is expected."""
    return Outcome(values={"auc": 53.49, "hours": 53.49})


def _child() -> None:
    time.sleep(60)


def parent(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Starts a process of its own, writes down its id, and sleeps."""
    process = multiprocessing.get_context("fork").Process(target=_child)
    process.start()
    Path(spec["pids"]).write_text(f"{os.getpid()} {process.pid}")
    time.sleep(spec["seconds"])
    return Outcome()


def surroundings(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Reports what the child looks like from inside."""
    print("a printed line")
    torch = sys.modules.get("torch")
    facts = {
        "session": os.getsid(0) == os.getpid(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "torch": torch is not None,
        "threads": torch.get_num_threads() if torch else None,
        "cuda_initialised": torch.cuda.is_initialized() if torch else None,
        "daemon": multiprocessing.current_process().daemon,
        "main": getattr(sys.modules["__main__"], "__file__", None),
        "device": context.device,
    }
    return Outcome(facts=facts)


def stumbles(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Loses a loader."""
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")


def leaves(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Counts steps, and leaves with a checkpoint when it is asked to; done at step ``steps``."""
    file = context.resume / "checkpoint"
    step = int(file.read_text()) if file.exists() else 0
    begun = step
    while step < spec["steps"]:
        time.sleep(spec.get("seconds", 0.05))
        step += 1
        context.report(step, spec["steps"], "counting")
        if context.leaving():
            file.write_text(str(step))
            raise Preempted
    return Outcome(values={"steps": float(step)}, facts={"resumed": begun > 0})


def on_device(spec: Mapping[str, Any], context: Context) -> Outcome:
    import torch

    return Outcome({"sum": float(torch.arange(4, device=context.device).sum())}, {"device": context.device})
