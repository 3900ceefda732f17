"""Versions represent code: a component's integer version is identity, its digest proves that the version is current.

``methods/versions.yaml`` and ``tasks/versions.yaml`` map each shared component to ``{version, code, modules}``.
``code`` is the digest of
its modules' syntax trees without comments and docstrings (``harness.identity.code_digest``). A comment changes
nothing; a
real edit makes ``dira-bench verify`` fail until the version is bumped (numbers move) or ``dira-bench pin NAME`` has
shown on
this machine that they do not, against the last commit whose code the version represents.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.errors import VersionError, unknown
from harness.identity import code_digest
from harness.whole_files import write_whole
from harness.yaml_files import load_yaml

SIDES = ("methods", "tasks")


@dataclass(frozen=True)
class Component:
    """A shared piece of code that changes numbers.

    Attributes:
        name: Its key in versions.yaml. side: ``methods`` or ``tasks``.
        version: The integer that enters identities.
        code: Digest on file. actual: digest of the code as it is.
        modules: Its files, relative to the project's root.
    """

    name: str
    side: str
    version: int
    code: str
    actual: str
    modules: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Whether the digest on file is that of the code."""
        return self.code == self.actual


def components(root: Path) -> dict[str, Component]:
    """Read both versions files and digest the code they name.

    Raises:
        VersionError: If a component lists a module that does not exist, or has no integer version.
    """
    found: dict[str, Component] = {}
    for side in SIDES:
        path = root / side / "versions.yaml"
        for name, body in (load_yaml(path).get("components") or {}).items():
            found[f"{side}.{name}"] = _component(root, side, str(name), body)
    return found


def _component(root: Path, side: str, name: str, body: object) -> Component:
    where = f'component "{name}" of {side}/versions.yaml'
    if not isinstance(body, dict) or not isinstance(body.get("version"), int) or not body.get("modules"):
        raise VersionError(f"{where} is {body!r}; expected {{version: 1, code: …, modules: [path, …]}}.")
    sources = {}
    for module in body["modules"]:
        file = root / module
        if not file.is_file():
            raise VersionError(f"{where} names {module}, which does not exist; correct its list of modules.")
        sources[module] = file.read_text()
    code = str(body.get("code") or "")
    try:
        actual = code_digest(sources)
    except SyntaxError as error:
        raise VersionError(f"{where} lists a module that is no Python ({error}); correct that line.") from None
    return Component(name, side, body["version"], code, actual, tuple(body["modules"]))


def stale(root: Path) -> list[Component]:
    """Return the components whose code is not what their version represents."""
    return [component for component in components(root).values() if not component.current]


def sentence(component: Component) -> str:
    """Say in one sentence that a component was edited, and what to do."""
    where = f"{component.side}.{component.name}"
    if not component.code:
        return f'component {where} has no digest of its code on file; run "dira-bench pin {where}" to enter it.'
    return (
        f"the code of {where} ({', '.join(component.modules)}) has digest {component.actual}, but version "
        f"{component.version} in {component.side}/versions.yaml belongs to {component.code}; if numbers may change, "
        f'set version: {component.version + 1} and run "dira-bench pin {where} --bumped"; if not, let '
        f'"dira-bench pin {where}" prove it.'
    )


def find(root: Path, name: str) -> Component:
    """Look up a component as ``views`` or ``methods.views``.

    Raises:
        UnknownName: With near names.
    """
    known = components(root)
    matches = [component for key, component in known.items() if name in (key, component.name)]
    if len(matches) != 1:
        raise unknown("component", name, known, "methods/versions.yaml and tasks/versions.yaml")
    return matches[0]


@dataclass(frozen=True)
class Pinned:
    """A commit in which a component's digest was that of its code, and the version it had there."""

    revision: str
    version: int


def last_pinned(root: Path, component: Component) -> Pinned | None:
    """Return the newest commit whose code the component's digest is of; None if history holds no such commit.

    It is HEAD, unless an edit was committed without being pinned.
    """
    for revision in _revisions(root, component):
        version = _version_if_current(root, component, revision)
        if version is not None:
            return Pinned(revision, version)
    return None


def _revisions(root: Path, component: Component) -> Iterator[str]:
    """Yield HEAD and then the commit before each edit of the component or of its line in versions.yaml."""
    yield "HEAD"
    paths = [*component.modules, f"{component.side}/versions.yaml"]
    commits = _git(root, "log", "--first-parent", "--format=%H", "HEAD", "--", *paths) or ""
    yield from (f"{commit}^" for commit in commits.split())


def _version_if_current(root: Path, component: Component, revision: str) -> int | None:
    try:
        document = yaml.safe_load(_git(root, "show", f"{revision}:{component.side}/versions.yaml") or "") or {}
        body = document["components"][component.name]
        sources = {module: _git(root, "show", f"{revision}:{module}") for module in body["modules"]}
        present = {module: source for module, source in sources.items() if source is not None}
        current = len(present) == len(sources) and code_digest(present) == body.get("code")
        return int(body["version"]) if current else None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, SyntaxError):
        return None  # it was no component yet, or could not be read


def _git(root: Path, *words: str) -> str | None:
    """Return what git says about the repository at ``root``, or None if it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def write_digest(root: Path, component: Component) -> None:
    """Put the digest of the code as it is into versions.yaml, touching that one line only.

    Raises:
        VersionError: If the file does not have the component's ``code:`` where the format puts it.
    """
    path = root / component.side / "versions.yaml"
    text = path.read_text()
    pattern = re.compile(
        rf'(^[ ]+{re.escape(component.name)}:[^\n]*?(?:\n[ ]{{4,}}[^\n]*?)*?\bcode:[ \t]*)("[^"\n]*"|[0-9a-f]*)',
        re.MULTILINE,
    )
    updated, count = pattern.subn(lambda match: f'{match.group(1)}"{component.actual}"', text, count=1)
    if count != 1:
        raise VersionError(f'no "code:" of component "{component.name}" in {path}; add the line code: "" under it.')
    write_whole(path, updated.encode())
