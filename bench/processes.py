"""Whole processes, measured from outside: processor seconds and peak memory as the operating system counts them."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def times(text: str) -> int:
    """Read how often something is measured, once at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; expected a whole number from 1")
    return int(text)


def another_checkout(text: str) -> Path:
    """Read where another checkout of this project lies."""
    found = Path(text)
    if not (found / "harness").is_dir():
        raise argparse.ArgumentTypeError(f"found {text}; expected the folder of a checkout of this project")
    return found


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: Processor time, user and system, of the process and of all that descend from it.
        megabytes: Peak resident memory of its largest single process.
    """

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Checkout:
    """A copy of a source tree in which commands run with that tree's code first.

    Attributes:
        folder: Where it lies.
    """

    folder: Path

    @classmethod
    def of(cls, tree: Path, folder: Path, **changed: object) -> Checkout:
        """Copy the files of a tree that git knows or would take, and change some of its parameters."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=tree, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            if (tree / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes((tree / name).read_bytes())
        parameters = folder / "params.yaml"
        text = parameters.read_text()
        for key, value in changed.items():
            text = re.sub(rf"(?m)^{key}: \S+", f"{key}: {value}", text)
        parameters.write_text(text)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        return cls(folder)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its commands: its own code first, this interpreter's scripts, one thread."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {"PATH": path, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DIRA_BENCH_")}
        return {**kept, **own, "PYTHONDONTWRITEBYTECODE": ""}  # as after a first use

    def cost(self, *words: str) -> Cost:
        """Run a command to its end, and wait for whatever it leaves; return what all took.

        Raises:
            RuntimeError: With the end of what it said, if it fails.
        """
        inherit_orphans()
        log = self.folder.parent / f"{self.folder.name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environment, stdout=stream, stderr=subprocess.STDOUT
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds, kilobytes = used.ru_utime + used.ru_stime, used.ru_maxrss
            with contextlib.suppress(ChildProcessError):  # none is left
                while True:  # a fork server ends after the driver that started it, and is inherited
                    _, _, used = os.wait4(-1, 0)
                    seconds, kilobytes = seconds + used.ru_utime + used.ru_stime, max(kilobytes, used.ru_maxrss)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
        return Cost(seconds, kilobytes / 1024)


def inherit_orphans() -> None:
    """Become the parent of processes whose own parent has ended, so that their time is counted (Linux alone)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def spread(numbers: Sequence[float]) -> str:
    """Write numbers as median [least..most]."""
    return f"{statistics.median(numbers):.3g} [{min(numbers):.3g}..{max(numbers):.3g}]"


def side_by_side(ours: Sequence[Cost], theirs: Sequence[Cost]) -> str:
    """Write what both took, and how many times as long theirs took, pair by pair."""
    parts = [f"{spread([cost.seconds for cost in ours])} s, {max(cost.megabytes for cost in ours):.0f} MB"]
    if theirs:
        ratios = [other.seconds / own.seconds for own, other in zip(ours, theirs, strict=True)]
        parts.append(f"against {spread([cost.seconds for cost in theirs])} s")
        parts.append(f"{max(cost.megabytes for cost in theirs):.0f} MB: {spread(ratios)} ×")
    return ", ".join(parts)
