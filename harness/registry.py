"""Two registries, one door: YAML files that DVC expands, and entry points for packages from outside.

``methods/registry.yaml`` and ``tasks/registry.yaml`` hold one mapping each, ``methods:`` and ``tasks:``. Entry-point
groups
``dira_bench.methods`` and ``dira_bench.tasks`` are a second door: each point loads a mapping with the same keys. A
plug-in
that breaks is listed as unavailable with its reason and never breaks anybody else.

What an entry *means* is not known here: ``methods.configuration.resolve`` and ``tasks.configuration.resolve`` turn an
entry
and a profile into a plan. Both are found by name at run time, so the machine imports neither.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from harness.contracts import ResolveMethod, ResolveTask
from harness.errors import ConfigurationError, DiraBenchError, unknown
from harness.spec import MethodEntry, MethodPlan, Parameters, TaskEntry, TaskPlan
from harness.yaml_files import key_lines, load_yaml

METHODS = "methods"
TASKS = "tasks"
LOCAL_PARAMETERS = "params.local.yaml"
Entry = TypeVar("Entry", MethodEntry, TaskEntry)


def project_root() -> Path:
    """Return the folder that holds ``harness/``, ``methods/``, ``tasks/`` and ``reports/``.

    Raises:
        ConfigurationError: If the four packages come from different places: a ``tasks/`` folder elsewhere on the import
            path shadows ours.
    """
    places: dict[str, Path] = {}
    for name in ("harness", METHODS, TASKS, "reports"):
        found = importlib.import_module(name).__file__
        places[name] = Path(found).resolve().parent.parent if found else Path("(a namespace folder)")
    root = places["harness"]
    stray = {name: place for name, place in places.items() if place != root}
    if stray:
        where = ", ".join(f'"{name}" from {place}' for name, place in stray.items())
        raise ConfigurationError(
            f"Python imports {where} but harness from {root}; expected all four from one folder; run from {root} "
            "or rename the folder that shadows ours."
        )
    return root


def validation_sentences(error: ValidationError, where: str) -> list[str]:
    """Turn a pydantic error into one sentence for each thing that is wrong."""
    sentences = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "the entry"
        found = problem.get("input")
        kind = problem["type"]
        if kind == "missing":
            sentences.append(f'{where}: key "{key}" is missing; add it.')
        elif kind == "extra_forbidden":
            sentences.append(f'{where}: key "{key}" is unknown; remove it or correct its spelling.')
        else:
            expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            sentences.append(f'{where}: "{key}" is {found!r}; expected {expected}.')
    return sentences


@dataclass(frozen=True)
class Broken:
    """An entry that cannot be used: its name, where it came from, and why."""

    name: str
    origin: str
    reason: str


@dataclass
class Shelf(Generic[Entry]):
    """The entries of one registry, in the order in which they were written."""

    kind: str
    entries: dict[str, Entry] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def __getitem__(self, name: str) -> Entry:
        if name in self.entries:
            return self.entries[name]
        for broken in self.broken:
            if broken.name == name:
                raise ConfigurationError(f'{self.kind} "{name}" ({broken.origin}) is unavailable: {broken.reason}')
        raise unknown(self.kind, name, self.entries, f"the registry of {self.kind}s")

    def __iter__(self) -> Any:
        return iter(self.entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __len__(self) -> int:
        return len(self.entries)


def _shelve(kind: str, model: type[Entry], root: Path, group: str, points: Iterable[EntryPoint]) -> Shelf[Entry]:
    shelf: Shelf[Entry] = Shelf(kind)
    top = f"{kind}s"
    path = root / top / "registry.yaml"
    raw = load_yaml(path).get(top)
    if not isinstance(raw, dict) or not raw:
        raise ConfigurationError(
            f'{path} has no entries under "{top}:"; expected at least one; see docs/architecture.md.'
        )
    lines = key_lines(path, top)
    problems: list[str] = []
    for name, body in raw.items():
        origin = f"{top}/registry.yaml:{lines.get(str(name), 0)}"
        if not isinstance(body, dict):
            problems.append(f'{origin}: "{name}" is {body!r}; expected a mapping of keys.')
            continue
        try:
            shelf.entries[str(name)] = model.model_validate({**body, "name": str(name), "origin": origin})
        except ValidationError as error:
            problems += validation_sentences(error, f'{origin} ({kind} "{name}")')
    if problems:
        raise ConfigurationError("\n".join(problems))
    for point in points:
        origin = f"entry point {point.value} of group {group}"
        if point.name in shelf.entries:
            first = shelf.entries[point.name].origin
            shelf.broken.append(
                Broken(point.name, origin, f"the name is already taken by {first}; rename one of the two.")
            )
            continue
        try:
            loaded = point.load()
            body = loaded() if callable(loaded) else loaded
            shelf.entries[point.name] = model.model_validate({**dict(body), "name": point.name, "origin": origin})
        except ValidationError as error:
            shelf.broken.append(Broken(point.name, origin, " ".join(validation_sentences(error, origin))))
        except Exception as error:  # a stranger's module may raise anything
            shelf.broken.append(Broken(point.name, origin, f"{type(error).__name__}: {error}"))
    return shelf


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)


def import_dotted(path: str) -> Any:
    """Import ``module:attribute``.

    Raises:
        ConfigurationError: If the path is malformed, the module cannot be imported, or the attribute is absent.
    """
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f'"{path}" is not a dotted path; expected "package.module:name".')
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ConfigurationError(f'"{path}" cannot be imported: {error}; install its package or correct it.') from error
    except AttributeError:
        raise ConfigurationError(f'module "{module}" has no "{attribute}"; correct the dotted path "{path}".') from None


@dataclass
class Registry:
    """Both registries, the parameters and the known data roots of one project."""

    root: Path
    methods: Shelf[MethodEntry]
    tasks: Shelf[TaskEntry]

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Names of the profiles that both sides know."""
        sides = [load_yaml(self.root / side / "profiles.yaml").get("profiles", {}) for side in (METHODS, TASKS)]
        return tuple(name for name in sides[0] if name in sides[1])

    @cached_property
    def data_roots(self) -> dict[str, Path]:
        """Task name → root of a real data set.

        From the environment (``DIRA_BENCH_DATA_<TASK>``, then ``DIRA_BENCH_DATA/<task>``) or the ignored
        ``params.local.yaml`` (``data_roots: {chestxray14: /data/ChestXray14}``).
        """
        local = self.root / LOCAL_PARAMETERS
        given = (load_yaml(local).get("data_roots") or {}) if local.is_file() else {}
        roots: dict[str, Path] = {}
        for task in self.tasks:
            named = os.environ.get(f"DIRA_BENCH_DATA_{task.name.upper()}") or given.get(task.name)
            common = os.environ.get("DIRA_BENCH_DATA")
            if named:
                roots[task.name] = Path(named).expanduser()
            elif common and (Path(common) / task.name).is_dir():
                roots[task.name] = Path(common) / task.name
        return roots

    def check_profile(self, profile: str) -> str:
        """Return the profile, or raise with near names."""
        if profile not in self.profiles:
            raise unknown("profile", profile, self.profiles, "methods/profiles.yaml and tasks/profiles.yaml")
        return profile

    def resolve_method(self, name: str, profile: str) -> MethodPlan:
        """Resolve a method under a profile; an entry that makes no sense raises ``ConfigurationError``."""
        resolve = cast("ResolveMethod", import_dotted(f"{METHODS}.configuration:resolve"))
        return _guard(lambda: resolve(self.methods[name], self.check_profile(profile)), self.methods[name].origin)

    def resolve_task(self, name: str, profile: str) -> TaskPlan:
        """Resolve a task under a profile; an entry that makes no sense raises ``ConfigurationError``."""
        resolve = cast("ResolveTask", import_dotted(f"{TASKS}.configuration:resolve"))
        entry = self.tasks[name]
        return _guard(lambda: resolve(entry, self.check_profile(profile), self.data_roots), entry.origin)


Resolved = TypeVar("Resolved", MethodPlan, TaskPlan)


def _guard(resolve: Callable[[], Resolved], origin: str) -> Resolved:
    try:
        return resolve()
    except DiraBenchError:
        raise
    except ValidationError as error:
        raise ConfigurationError("\n".join(validation_sentences(error, origin))) from None


def load_registry(root: Path | None = None, *, points: Callable[[str], Iterable[EntryPoint]] = _points) -> Registry:
    """Read both registries.

    Args:
        root: Project folder; found from the installed packages if left out.
        points: How entry points are listed; given by tests.

    Raises:
        ConfigurationError: Every malformed entry of both files at once, a sentence each.
    """
    root = root or project_root()
    problems: list[str] = []
    shelves: dict[str, Any] = {}
    for kind, model in (("method", MethodEntry), ("task", TaskEntry)):
        group = f"dira_bench.{kind}s"
        try:
            shelves[kind] = _shelve(kind, cast("Any", model), root, group, points(group))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    registry = Registry(root, shelves["method"], shelves["task"])
    _check_references(registry)
    return registry


def _check_references(registry: Registry) -> None:
    """Entries that name other entries must name ones that exist."""
    problems = []
    for method in registry.methods:
        for other in method.compare_with:
            if other not in registry.methods:
                error = unknown(
                    "method", other, registry.methods.entries, f"compare_with of {method.name} ({method.origin})"
                )
                problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))


def load_parameters(root: Path, overrides: Mapping[str, Any] | None = None) -> Parameters:
    """Read ``params.yaml``; ``overrides`` (from the command line) win.

    Raises:
        ConfigurationError: For a missing, unknown or senseless key, all at once.
    """
    path = root / "params.yaml"
    raw = load_yaml(path)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        return Parameters.model_validate({**raw, **given})
    except ValidationError as error:
        raise ConfigurationError("\n".join(validation_sentences(error, "params.yaml"))) from None
