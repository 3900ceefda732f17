"""A command that only looks imports nothing of what work needs: that takes longer than the command itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import looking
from harness.cli.application import PLACES
from tests.harness import project

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "cv2", "scipy", "torch", "albumentations", "nibabel", "PIL", "matplotlib", "statsmodels")
COMMAND = """
import sys
from pathlib import Path
from harness.cli import session
session.project_root = lambda: Path({root!r})
from harness.cli.application import application
application({words!r}, standalone_mode=False)
print("HEAVY", *sorted({heavy!r} & {{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copied project in which a plan was asked for before."""
    root = project.copy(tmp_path_factory.mktemp("looking"))
    shutil.copytree(ROOT / "results" / "published", root / "results" / "published")
    assert imported(root, "plan", "--profile", "miniature") == ["scipy"]  # what it then keeps needs SciPy
    return root


def imported(root: Path, *words: str) -> list[str]:
    """Run a command in a new Python and return the heavy libraries that it imported."""
    script = COMMAND.format(root=str(root), words=list(words), heavy=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("words", [("list",), ("plan", "--json"), ("plan",), ("status",)], ids=" ".join)
def test_a_command_that_only_looks_imports_no_heavy_library(root: Path, words: tuple[str, ...]) -> None:
    assert imported(root, *words, "--profile", "miniature") == []


def test_a_command_imports_no_other_command() -> None:
    script = (
        "import sys; from harness.cli.application import application\n"
        "application(['gates', '--help'], standalone_mode=False)\n"
        "print(*(name for name in sys.modules if name.startswith('harness.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name.removeprefix("harness.cli.") for name in done.stdout.splitlines()[-1].split()}
    assert found & {place.partition(":")[0] for place in PLACES.values()} == {"gates"}


def test_what_children_share_is_what_their_modules_hold() -> None:
    script = (
        "import sys; import harness.pixels; from harness.late import import_held\n"
        "print(*(name in sys.modules for name in ('pandas', 'cv2', 'PIL.Image')))\n"
        "import_held()\n"
        "print(*(name in sys.modules for name in ('pandas', 'cv2', 'PIL.Image')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False False", "True False False"]


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [
        ((0, 1, 9), []),  # over before the first line is due
        ((0, 11, 12), ["reading: 50 of 100; 0:11 so far, about 0:11 left", "reading: 100 of 100; 0:12 so far"]),
    ],
)
def test_a_log_hears_of_files_only_if_they_take_long(seconds, lines, monkeypatch, capsys):
    now = iter(seconds)
    monkeypatch.setattr(looking.time, "monotonic", lambda: float(next(now)))
    progress = looking.FilesProgress()
    for done in (0, 50, 100):
        progress(done, 100, "reading")
    progress.end()
    assert capsys.readouterr().err.splitlines() == lines
