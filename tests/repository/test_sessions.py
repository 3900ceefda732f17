"""Sessions of nox: what they may do to an environment that is not their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALLING = re.findall(
    r"def (\w+)\(session: nox\.Session\).*?\n(?=\n\n)", (ROOT / "noxfile.py").read_text(), re.DOTALL
)


def test_no_session_empties_an_environment_that_is_not_its_own(tmp_path):
    assert {"tests", "lint", "types", "report", "repro", "audit", "smoke"} <= set(INSTALLING)
    called = tmp_path / "called"
    for name in ("uv", "ruff", "mypy", "pytest", "dvc", "dira-bench"):  # what a session would run, found first
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {called}\n')
        (tmp_path / name).chmod(0o755)
    sessions = [name for name in INSTALLING if name != "lock"]  # which installs nothing
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-f", str(ROOT / "noxfile.py"), "--no-venv", "-s", *sessions],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode != 0
    assert not called.exists(), called.read_text()
    assert done.stderr.count("run it without --no-venv") == len(sessions)
