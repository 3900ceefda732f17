"""Code that is not ours: whatever it does when it is imported, the command goes on and nobody else is touched."""

from __future__ import annotations

import json
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness.dotted import import_dotted
from harness.errors import BrokenCode
from harness.executors.child import Terminated
from harness.foreign import EndedPython, guest, has_commands, printable
from harness.plan import make_plan
from harness.registry import load_registry
from tests.harness import project

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "ENTRY = {'label': 'L', 'dimensions': 2, 'recipe': 'random', 'version': 1, 'source': 's'}\n"
ENDS = {
    "exits": "import sys\nsys.exit(0)\n",
    "raises_exit": "raise SystemExit('bye')\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "cancels": "import asyncio\nraise asyncio.CancelledError\n",
    "own_end": "class End(BaseException):\n    pass\nraise End('over')\n",
    "recurses": "def f():\n    return f()\nf()\n",
    "no_memory": "raise MemoryError\n",
    "lazy": "def __getattr__(name):\n    raise SystemExit(0)\n",
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules, make them importable, and forget them afterwards."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    written: list[str] = []

    def write(**sources: str) -> Path:
        for name, source in sources.items():
            (folder / f"foreign_{name}.py").write_text(source)
            written.append(f"foreign_{name}")
        return folder

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ENDS)
def test_a_plug_in_that_ends_python_is_unavailable_and_the_others_stay(tmp_path, modules, name):
    modules(**{name: ENDS[name]})
    root = project.copy(tmp_path / "project")
    point = EntryPoint(name, f"foreign_{name}:ENTRY", "dira_bench.methods")
    registry = load_registry(root, points=lambda group: [point] if group == point.group else [])
    (broken,) = registry.methods.broken
    assert broken.name == name and broken.reason
    assert list(registry.methods.by_name) == list(project.METHODS)


@pytest.mark.parametrize("name", ENDS)
def test_a_dotted_path_that_ends_python_is_one_sentence(modules, name):
    modules(**{name: ENDS[name]})
    with pytest.raises(BrokenCode) as caught:
        import_dotted(f"foreign_{name}:Recipe")
    assert f"foreign_{name}:Recipe" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_recipe_that_exits_when_it_is_resolved_is_unavailable(tmp_path, modules):
    modules(
        late="import sys\nfrom pydantic import BaseModel\nclass Recipe(BaseModel):\n"
        "    def resolve(self, entry, profile):\n        print('noise')\n        sys.exit(0)\n"
    )
    root = project.copy(tmp_path / "project")
    project.append(
        root / "methods/registry.yaml",
        '  late: {label: Late, dimensions: 2, recipe: "foreign_late:Recipe", version: 1, source: s}\n',
    )
    before = project.plan(project.copy(tmp_path / "other"))
    plan = make_plan(load_registry(root, points=lambda group: []), before.parameters, before.families)
    assert "SystemExit" in plan.methods["late"].unavailable
    assert {item.id for item in plan.trials().values()} == {item.id for item in before.trials().values()}


CHANGES = """
import locale, logging, os, random, signal, sys, warnings
print("noise from Python")
os.chdir("/")
random.seed(1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.basicConfig(level=logging.DEBUG)
logging.disable(logging.CRITICAL)
warnings.simplefilter("error")
locale.setlocale(locale.LC_ALL, "C")
sys.setrecursionlimit(50_000)
sys.stdout = open(os.devnull, "w")
"""


def settings() -> tuple:
    root = logging.getLogger()
    return (
        Path.cwd(), random.getstate(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), root.level,
        list(root.handlers), root.manager.disable, list(warnings.filters), locale.setlocale(locale.LC_ALL),
        sys.getrecursionlimit(), sys.stdout,
    )  # fmt: skip


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)\n", "raise ValueError\n"])
def test_the_settings_of_the_process_that_a_module_changes_are_put_back(modules, capsys, end):
    modules(changes=CHANGES + ENTRY + end)
    before = settings()
    if end:
        with pytest.raises(BrokenCode):
            import_dotted("foreign_changes:ENTRY")
    else:
        assert import_dotted("foreign_changes:ENTRY")["recipe"] == "random"
    assert settings() == before
    said = capsys.readouterr()
    assert said.out == "" and "noise from Python" in said.err


def test_a_ctrl_c_of_the_users_while_foreign_code_runs_stays_one(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(KeyboardInterrupt), guest():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    with pytest.raises(EndedPython, match="KeyboardInterrupt"), guest():
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_driver_that_ends_its_child_while_foreign_code_is_imported_is_obeyed():
    with pytest.raises(Terminated), guest():
        raise Terminated


def test_text_that_commands_a_terminal_is_shown_and_not_obeyed():
    assert printable("a\x1b[31mb\x07\r\x9bc\td\ne") == "a\\x1b[31mb\\x07\\r\\x9bc\td\ne"
    assert printable("DiRA × é 中文 ±") == "DiRA × é 中文 ±"
    assert has_commands("right\u202eleft") and not has_commands("café")


# ------------------------------------------------------------------------- the whole program

PRINTS = """
import os, subprocess, sys, atexit
print("noise from Python")
os.write(1, b"noise from C\\n")
subprocess.run([sys.executable, "-c", "print('noise from a child')"])
atexit.register(print, "noise at the end")
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A folder with an installed package whose entries end Python or print, each in a way of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    modules = {**ENDS, "prints": PRINTS + ENTRY}
    for name, source in modules.items():
        (folder / f"hostile_{name}.py").write_text(source)
    information = folder / "hostile-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    points = "".join(f"{name} = hostile_{name}:ENTRY\n" for name in modules)
    (information / "entry_points.txt").write_text(f"[dira_bench.methods]\n{points}")
    return folder


def bench(hostile: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(hostile)])
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_listing_is_one_json_document_whatever_is_printed_and_every_reason_is_in_it(hostile):
    done = bench(hostile, "list", "methods", "--json")
    assert done.returncode == 0, done.stderr
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert entries["dira_moco_v2"]["available"] and entries["prints"]["label"] == "L"
    for name in ENDS:
        assert not entries[name]["available"] and entries[name]["reason"], name
    for noise in ("Python", "C", "a child", "the end"):
        assert "noise" not in done.stdout and f"noise {'at' if noise == 'the end' else 'from'} {noise}" in done.stderr


def test_verify_says_what_it_found_beside_a_package_that_exits(hostile):
    """A build that asks ``verify`` must never be green because somebody's module said ``sys.exit(0)``."""
    done = bench(hostile, "verify")
    said = done.stdout + done.stderr
    assert "verified" in said if done.returncode == 0 else "dira-bench: " in done.stderr
    assert "Traceback" not in said


def test_code_that_exits_in_the_middle_of_a_command_is_an_error_and_no_success(hostile):
    """The last net: even where nobody expects foreign code, its ``sys.exit(0)`` is not our success."""
    trap = (
        "import sys\nimport harness.cli.listing as l\n"
        "def ends(*words, **more):\n    sys.exit(0)\n"
        "l.open_session = ends\nfrom harness.cli import main\nsys.argv = ['dira-bench', 'list']\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", trap], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "SystemExit: 0" in done.stderr and "Traceback" not in done.stderr
