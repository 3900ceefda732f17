"""A fresh clone of the working tree, driven from outside as a person would."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import yaml

from harness import cli
from harness.cli.application import application
from harness.errors import DiraBenchError

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
STABLE = ("cohorts", "pretraining", "trials", "resamples", "localization", "curves")


class Clone:
    """The project copied to a folder of its own, under a given profile, with few repeats."""

    def __init__(self, folder: Path, profile: str = "smoke", repeats: int = 2) -> None:
        self.root = folder
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in tracked.stdout.splitlines():
            # The committed results of another profile are no part of what is tested here.
            if name.startswith(("results/miniature/", "reports/miniature/")) or name == "dvc.lock":
                continue
            source = ROOT / name
            if source.is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        self.set_parameter("profile", profile)
        self.set_parameter("repeats", repeats)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "A clone")

    @classmethod
    def copied(cls, other: Path, folder: Path) -> Clone:
        """Take over another clone with everything that was run in it; a store holds no absolute path."""
        clone = object.__new__(cls)
        clone.root = shutil.copytree(other, folder, symlinks=True)
        return clone

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command: this clone's code first, one thread."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DIRA_BENCH_", "PYTEST_"))}
        path = f"{SCRIPTS}{os.pathsep}{kept.get('PATH', '')}"
        return {
            **kept,
            "PATH": path,
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # many short processes: each would compile everything anew
            "COLUMNS": "200",
        }

    def git(self, *words: str) -> None:
        """Run git in the clone."""
        subprocess.run(["git", *words], cwd=self.root, check=True, capture_output=True)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and return at once."""
        return subprocess.Popen(
            list(words),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, code: int = 0, timeout: float = 400) -> str:
        """Run a command, check its exit code, return what it printed."""
        done = subprocess.run(
            list(words),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, f"{' '.join(words)} exited {done.returncode}:\n{output[-4000:]}"
        return output

    def bench(self, *words: str, code: int = 0, timeout: float = 400) -> str:
        """Run ``dira-bench``."""
        return self.run(sys.executable, "-m", "harness.cli", *words, code=code, timeout=timeout)

    def inside(self, *words: str, code: int = 0) -> str:
        """Run ``dira-bench`` on this clone's files in this process: only where the clone's code is ours, unedited."""
        found, output = inside(self.root, *words)
        assert found == code, f"{' '.join(words)} exited {found}:\n{output[-4000:]}"
        return output

    def set_parameter(self, key: str, value: object) -> None:
        """Edit one line of params.yaml."""
        path = self.root / "params.yaml"
        path.write_text(re.sub(rf"^{key}: \S+", f"{key}: {value}", path.read_text(), flags=re.MULTILINE))

    def add_profile(self, name: str, like: str) -> None:
        """Enter a profile that equals another."""
        for side in ("methods", "tasks"):
            path = self.root / side / "profiles.yaml"
            profiles = yaml.safe_load(path.read_text())
            profiles["profiles"][name] = profiles["profiles"][like]
            path.write_text(yaml.safe_dump(profiles, sort_keys=False))

    def keep(self, methods: list[str], tasks: list[str]) -> None:
        """Reduce the registries to a few entries on the full label set, so that a test takes seconds."""
        for side, names in (("methods", methods), ("tasks", tasks)):
            path = self.root / side / "registry.yaml"
            entries = yaml.safe_load(path.read_text())[side]
            kept = {name: entries[name] for name in names}
            if side == "tasks":
                kept = {name: {**entry, "label_fractions": [1.0]} for name, entry in kept.items()}
            path.write_text(yaml.safe_dump({side: kept}, sort_keys=False))

    def results(self, profile: str = "smoke") -> dict[str, bytes]:
        """Return every byte-stable file of a profile's results."""
        folder = self.root / "results" / profile
        files = [path for part in STABLE for path in sorted((folder / part).rglob("*")) if path.is_file()]
        files += sorted(folder.glob("*.csv"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def inside(root: Path, *words: str) -> tuple[int, str]:
    """Run ``dira-bench`` in this process on the files of a folder; return its exit code and all it said."""
    said = io.StringIO()
    with (
        mock.patch("harness.cli.session.project_root", return_value=root),
        mock.patch("harness.cli.from_scratch.project_root", return_value=root),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            application(list(words))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except DiraBenchError as error:  # what ``harness.cli.main`` makes of it
            cli._complain(str(error))
            code = 2
    return code, said.getvalue()


def small(folder: Path) -> Clone:
    """Make a clone with few methods and tasks, in which nothing has run."""
    clone = Clone(folder)
    clone.keep(["random", "moco_v2", "moco_v2_dir"], ["chestxray14", "montgomery"])
    clone.add_profile("other", like="smoke")
    return clone


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it never came about")
        time.sleep(0.02)


def ran(output: str) -> set[str]:
    """Return the stages that DVC ran, without the profile."""
    return {name.replace("@smoke", "") for name in re.findall(r"Running stage '([^']+)'", output)}


def attempts(clone: Clone) -> dict[Path, str]:
    """Return the record of each attempt that was made in a clone → the title of its item."""
    records = [path for folder in (".trials", ".cohorts") for path in (clone.root / folder).rglob("record.json")]
    return {path: json.loads(path.read_text())["title"] for path in records}


def since(clone: Clone, before: dict[Path, str]) -> list[str]:
    """Return the titles of the items that were run since, sorted; one that was run twice stands twice."""
    return sorted(title for path, title in attempts(clone).items() if path not in before)
