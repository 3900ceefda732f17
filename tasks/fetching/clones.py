"""Getting at the repositories: clones that a person made, or the internet."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import cast

from harness.errors import Unavailable
from tasks.fetching.facts import Facts, Repository
from tasks.fetching.sources import Tree, environment, git, said

Watch = Callable[[str, float], None]
"""Hears of what is under way, and which share of it, from 0 to 1, is done."""

HOURS = 2  # that one repository may take
SLOW = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")  # bytes a second, for so many seconds
SHARE = re.compile(rb"Receiving objects:\s+(\d+)%")


def from_clones(facts: Facts, folder: Path) -> dict[str, Tree]:
    """Find clones of all repositories below a folder; the internet is not asked.

    Args:
        facts: Which repositories, and at which commits.
        folder: Holds each as ``NAME``, ``NAME.git``, ``OWNER/NAME`` or ``OWNER/NAME.git``, bare or not.

    Raises:
        Unavailable: One sentence with all that are missing.
    """
    found, missing = {}, []
    for key, repository in facts.repositories.items():
        clones = [place for place in _places(repository, folder) if place.is_dir()]
        held = [place for place in clones if holds(place, repository.commit)]
        if held:
            found[key] = Tree(repository, held[0], facts.largest)
        else:
            why = f"{clones[0]} lacks it" if clones else "no clone of it"
            missing.append(f"{repository.name} at commit {repository.commit} ({why})")
    if missing:
        raise Unavailable(
            f"{len(missing)} of {len(facts.repositories)} repositories are missing in {folder}: {'; '.join(missing)}; "
            'expected a clone of each there as OWNER/NAME; run "git clone" for those, or leave --from out where there '
            "is internet."
        )
    return found


def _places(repository: Repository, folder: Path) -> list[Path]:
    owner, name = repository.name.removesuffix(".git").split("/")[-2:]
    return [folder / place for place in (f"{owner}/{name}", f"{owner}/{name}.git", name, f"{name}.git")]


def holds(folder: Path, commit: str) -> bool:
    """Say whether a clone has a commit."""
    return git(folder, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def download(facts: Facts, folder: Path, watch: Watch) -> dict[str, Tree]:
    """Fetch each repository's one commit, without files over the limit; what an earlier try got is kept.

    Args:
        facts: Which repositories, and at which commits.
        folder: Where to.
        watch: Hears how far each is.

    Raises:
        Unavailable: One sentence that says what could not be had, why, and how to get it by hand.
    """
    found: dict[str, Tree] = {}
    for key, repository in facts.repositories.items():
        clone = folder / f"{key}.git"
        if not (clone.is_dir() and holds(clone, repository.commit)):
            problem = _download(repository, clone, facts.largest, watch)
            if problem:
                raise Unavailable(_by_hand(facts, found, repository, problem))
        found[key] = Tree(repository, clone, facts.largest)
    return found


def _by_hand(facts: Facts, found: Mapping[str, Tree], failed: Repository, problem: str) -> str:
    missing = [f"{one.address} at commit {one.commit}" for key, one in facts.repositories.items() if key not in found]
    return (
        f"{failed.address} could not be fetched ({problem}), so {len(missing)} of {len(facts.repositories)} "
        f"repositories are missing: {'; '.join(missing)}; expected the internet, or clones; run the same command again "
        'where there is internet, or "git clone" each there into FOLDER/OWNER/NAME, bring FOLDER here and give '
        "--from FOLDER."
    )


def _download(repository: Repository, clone: Path, largest: int, watch: Watch) -> str:
    """Fetch one commit; return what went wrong, or nothing."""
    for words in (("init", "--quiet", "--bare"), ("remote", "add", "origin", repository.address)):
        clone.mkdir(parents=True, exist_ok=True)
        done = git(clone, *words)
        if done.returncode and b"already exists" not in done.stderr:
            return said(done)
    done = _fetch(repository, clone, largest, watch)
    if done.returncode:
        return said(done)
    return "" if holds(clone, repository.commit) else f"it has no commit {repository.commit}"


def _fetch(repository: Repository, clone: Path, largest: int, watch: Watch) -> subprocess.CompletedProcess[bytes]:
    """Run ``git fetch`` and pass on the percentages that it prints."""
    limit = f"--filter=blob:limit={largest + 1}"
    words = ["fetch", "--progress", "--depth=1", "--no-tags", limit, "origin", repository.commit]
    process = subprocess.Popen(
        ["git", f"--git-dir={clone}", *SLOW, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    end = threading.Timer(HOURS * 3600, process.kill)
    end.start()
    heard = b""
    try:
        stream = cast("BufferedReader", process.stderr)
        while piece := stream.read1(4096):
            heard = (heard + piece)[-65536:]
            shares = SHARE.findall(heard)
            if shares:
                watch(repository.name, int(shares[-1]) / 100)
        process.wait()
    finally:
        end.cancel()
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(words, process.returncode, b"", heard.replace(b"\r", b"\n"))
