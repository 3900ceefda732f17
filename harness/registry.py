"""Two registries, one door: YAML files that DVC expands, and entry points for packages from outside.

``methods/registry.yaml`` and ``tasks/registry.yaml`` hold one mapping each, ``methods:`` and ``tasks:``. Entry-point
groups
``dira_bench.methods`` and ``dira_bench.tasks`` are a second door: each point loads a mapping with the same keys. A
plug-in
that breaks is listed as unavailable with its reason and never breaks anybody else, nor does code that an entry names
by its dotted path (``harness.foreign``).

What an entry *means* is not known here: ``methods.configuration.resolve`` and ``tasks.configuration.resolve`` turn an
entry
and a profile into a plan. Both are found by name at run time, so the machine imports neither.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from harness.contracts import Committed, ResolveMethod, ResolveTask
from harness.dotted import import_dotted
from harness.errors import BrokenCode, ConfigurationError, DiraBenchError, UnknownName, unknown
from harness.foreign import EndedPython, describe_error, guest
from harness.spec import MethodEntry, MethodPlan, Parameters, TaskEntry, TaskPlan, extras
from harness.typed import Mistakes, read, sentences
from harness.yaml_files import load_with_lines, load_yaml, read_otherwise

METHODS = "methods"
TASKS = "tasks"
LOCAL_PARAMETERS = "params.local.yaml"
DATA_OF, WEIGHTS_OF = "DIRA_BENCH_DATA_", "DIRA_BENCH_WEIGHTS_"  # with an entry's name in capitals after it
DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
Entry = TypeVar("Entry", MethodEntry, TaskEntry)


def project_root() -> Path:
    """Return the folder that holds ``harness/``, ``methods/``, ``tasks/`` and ``reports/``.

    Raises:
        ConfigurationError: If the four packages come from different places: a ``tasks/`` folder elsewhere on the import
            path shadows ours.
    """
    places: dict[str, Path] = {}
    for name in ("harness", METHODS, TASKS, "reports"):
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec else None
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


@dataclass(frozen=True)
class Broken:
    """An entry that cannot be used: its name, where it came from, and why."""

    name: str
    origin: str
    reason: str


@dataclass
class Entries(Generic[Entry]):
    """The entries of one registry, in the order in which they were written."""

    kind: str
    by_name: dict[str, Entry] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)  # name → why this profile has no such entry

    def __getitem__(self, name: str) -> Entry:
        if name in self.by_name:
            return self.by_name[name]
        for broken in self.broken:
            if broken.name == name:
                raise ConfigurationError(f'{self.kind} "{name}" ({broken.origin}) is unavailable: {broken.reason}')
        raise self.unknown(name)

    def unknown(self, name: str, where: str = "") -> ConfigurationError:
        """Return the error for a name that has no entry here: one of another profile, or none at all."""
        if name in self.elsewhere:
            return UnknownName(f'{self.kind} "{name}" {self.elsewhere[name]}.')
        return unknown(self.kind, name, self.by_name, where or f"the registry of {self.kind}s")

    def known_names(self) -> frozenset[str]:
        """Return every name, of broken entries and of those of other profiles too."""
        return frozenset({*self.by_name, *self.elsewhere, *(broken.name for broken in self.broken)})

    def without(self, elsewhere: Mapping[str, str]) -> Entries[Entry]:
        """Return the entries without the named entries, which keep their reasons."""
        left = {name: entry for name, entry in self.by_name.items() if name not in elsewhere}
        return Entries(self.kind, left, self.broken, {**self.elsewhere, **elsewhere})

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def __len__(self) -> int:
        return len(self.by_name)


def from_entry_point(entry: MethodEntry | TaskEntry) -> bool:
    """Say whether an entry came with an installed package: such a one must never break anybody else."""
    return entry.origin.startswith("entry point ")


def _read(kind: str, model: type[Entry], root: Path, group: str, points: Iterable[EntryPoint]) -> Entries[Entry]:
    own: Entries[Entry] = Entries(kind)
    top = f"{kind}s"
    path = root / top / "registry.yaml"
    document, lines = load_with_lines(path, top)
    raw = document.get(top)
    if not isinstance(raw, dict) or not raw:
        raise ConfigurationError(
            f'{path} has no entries under "{top}:"; expected at least one; see docs/architecture.md.'
        )
    written = (
        dict(zip(raw, lines, strict=True)) if len(raw) == len(lines) else {}
    )  # name as read → as it stands in the file
    problems: list[str] = []
    for name, body in raw.items():
        stands = written.get(name, str(name))
        origin = f"{top}/registry.yaml:{lines.get(stands, 0)}"
        if otherwise := read_otherwise(stands):
            problems.append(
                f'{origin}: found "{_short(stands)}" as the name of a {kind}, which YAML reads as {otherwise}; '
                "expected a name that is text without quotes, too; choose another."
            )
            continue
        if not isinstance(body, dict):
            problems.append(f'{origin}: "{name}" is {body!r}; expected a mapping of keys.')
            continue
        try:
            named = {**body, "name": str(name), "origin": origin}
            own.by_name[str(name)] = read(model, named, f'{origin} ({kind} "{_short(name)}"): ')
        except Mistakes as error:
            problems += error.lines
    problems += _same_labels(own.by_name.values())
    if problems:
        raise ConfigurationError("\n".join(problems))
    for point in points:
        origin = f"entry point {point.value} of group {group}"
        if point.name in own.by_name:
            first = own.by_name[point.name].origin
            own.broken.append(
                Broken(point.name, origin, f"the name is already taken by {first}; rename one of the two.")
            )
            continue
        try:
            with guest():
                loaded = point.load()
                body = loaded() if callable(loaded) else loaded
                entry = read(model, {**dict(body), "name": point.name, "origin": origin}, f"{origin}: ")
            twice = _same_labels([*own.by_name.values(), entry])
            if twice:
                raise ConfigurationError(twice[-1])
            own.by_name[point.name] = entry
        except Mistakes as error:
            own.broken.append(Broken(point.name, origin, " ".join(error.lines)))
        except ConfigurationError as error:
            own.broken.append(Broken(point.name, origin, str(error)))
        except Exception as error:  # a stranger's module may raise anything
            own.broken.append(Broken(point.name, origin, describe_error(error)))
    return own


def _short(name: object, limit: int = 80) -> str:
    text = str(name)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _same_labels(entries: Iterable[MethodEntry | TaskEntry]) -> list[str]:
    """Return a sentence for each entry whose label, as a reader tells labels apart, is that of an earlier one."""
    seen: dict[str, MethodEntry | TaskEntry] = {}
    sentences = []
    for entry in entries:
        first = seen.setdefault(" ".join(entry.label.casefold().split()), entry)
        if first is not entry:
            sentences.append(
                f'{entry.origin} ("{entry.name}"): label "{entry.label}" is that of "{first.name}" ({first.origin}), '
                "so no table could tell the two apart; give it another label."
            )
    return sentences


def _points(group: str) -> list[EntryPoint]:
    try:
        return sorted(entry_points(group=group), key=lambda point: point.name)
    except Exception as error:  # one installed package whose metadata no parser takes
        raise ConfigurationError(
            f"the entry points of the installed packages cannot be read ({describe_error(error)}); expected the "
            "metadata that an installer writes; find the broken package with a verbose import of importlib.metadata."
        ) from error


@dataclass
class Registry:
    """Both registries, the parameters and the known data roots of one project."""

    root: Path
    methods: Entries[MethodEntry]
    tasks: Entries[TaskEntry]

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Names of the profiles that both sides know."""
        methods, tasks = self._profiles
        return tuple(name for name in methods if name in tasks)

    @cached_property
    def _profiles(self) -> tuple[dict[str, object], dict[str, object]]:
        methods, tasks = (
            load_yaml(self.root / side / "profiles.yaml").get("profiles") or {} for side in (METHODS, TASKS)
        )
        return methods, tasks

    def under(self, profile: str) -> Registry:
        """Return the registry as a profile sees it.

        An entry that names profiles exists under these alone; a closed profile has only the tasks that name it. Of
        ``compare_with`` only what is left remains.

        Raises:
            UnknownName: If there is no profile of that name.
        """
        self.check_profile(profile)
        closed = self._closed(profile)
        methods = self.methods.without(_elsewhere(self.methods, profile))
        tasks = self.tasks.without(_elsewhere(self.tasks, profile, closed=closed))
        for name, entry in methods.by_name.items():
            left = tuple(other for other in entry.compare_with if other not in methods.elsewhere)
            methods.by_name[name] = entry.model_copy(update={"compare_with": left})
        return Registry(self.root, methods, tasks)

    def _closed(self, profile: str) -> bool:
        """Say whether a profile, or one that it extends, is closed in ``tasks/profiles.yaml``."""
        _, profiles = self._profiles
        seen: set[str] = set()
        while isinstance(of := profiles.get(profile), dict) and profile not in seen:
            if "closed" in of:
                return of["closed"] is True
            seen.add(profile)
            profile = str(of.get("extends"))
        return False

    @cached_property
    def data_roots(self) -> dict[str, Path]:
        """Task name → root of a real data set.

        From the environment (``DIRA_BENCH_DATA_<TASK>``, then ``DIRA_BENCH_DATA/<task>``) or the ignored
        ``params.local.yaml`` (``data_roots: {chestxray14: /data/ChestXray14}``).

        Raises:
            ConfigurationError: If that file does not map tasks to folders.
        """
        given = _local_data_roots(self.root / LOCAL_PARAMETERS)
        roots: dict[str, Path] = {}
        for task in self.tasks:
            named = os.environ.get(DATA_OF + task.name.upper()) or given.get(task.name)
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
        entry = self.methods[name]
        return _guard(lambda: resolve(entry, self.check_profile(profile)), entry)

    def resolve_task(self, name: str, profile: str, committed: Committed = lambda: None) -> TaskPlan:
        """Resolve a task under a profile; an entry that makes no sense raises ``ConfigurationError``.

        Where no data root is given, ``committed`` says which images are meant.
        """
        resolve = cast("ResolveTask", import_dotted(f"{TASKS}.configuration:resolve"))
        entry = self.tasks[name]
        return _guard(lambda: resolve(entry, self.check_profile(profile), self.data_roots, committed), entry)


def _elsewhere(own: Entries[Entry], profile: str, *, closed: bool = False) -> dict[str, str]:
    """Return why a profile has no entry of a name, for each entry that it has not."""
    found = {}
    for entry in own:
        if profile in entry.profiles or not (entry.profiles or closed):
            continue
        where = f"is not of profile {profile} ({entry.origin}): "
        if entry.profiles:
            where += f"its entry names {', '.join(entry.profiles)}; choose such a profile, or name {profile} there"
        else:
            where += f"that profile is closed, and the entry names no profile; write profiles: [{profile}] there"
        found[entry.name] = where
    return found


def _local_data_roots(path: Path) -> dict[str, str]:
    given = (load_yaml(path).get("data_roots") or {}) if path.is_file() else {}
    if not isinstance(given, dict) or not all(isinstance(place, str) for place in given.values()):
        raise ConfigurationError(
            f"data_roots in {path} is {given!r}; expected a mapping of tasks to folders; write "
            "data_roots: {chestxray14: FOLDER}."
        )
    return {str(task): place for task, place in given.items()}


Resolved = TypeVar("Resolved", MethodPlan, TaskPlan)


def _guard(resolve: Callable[[], Resolved], entry: MethodEntry | TaskEntry) -> Resolved:
    """Resolve an entry; whatever its code raises becomes one sentence."""
    try:
        with guest() if _names_code(entry) else contextlib.nullcontext():  # ours needs no watching
            return resolve()
    except DiraBenchError:
        raise
    except ValidationError as error:  # of a model of the entry's own code
        raise Mistakes(f"{entry.origin}: {line}" for line in sentences(error, None)) from None
    except Exception as error:  # the entry may name code of anybody's
        kind = BrokenCode if isinstance(error, EndedPython) or _names_code(entry) else ConfigurationError
        raise kind(
            f"{entry.origin}: the code that the entry names raised {describe_error(error)}; correct the entry or that "
            "code."
        ) from error


def _names_code(entry: MethodEntry | TaskEntry) -> bool:
    """Say whether an entry names code by a dotted path, such as a recipe, a term or an adapter of one's own."""
    own = {**dict(entry), "label": "", "source": "", "origin": ""}
    unseen: list[object] = list(own.values())
    while unseen:
        value = unseen.pop()
        if isinstance(value, str):
            if ":" in value and DOTTED.fullmatch(value):
                return True
        elif isinstance(value, Mapping):
            unseen.extend(value.values())
        elif isinstance(value, list | tuple):
            unseen.extend(value)
    return False


def load_registry(root: Path | None = None, *, points: Callable[[str], Iterable[EntryPoint]] = _points) -> Registry:
    """Read both registries.

    Args:
        root: Project folder; found from the installed packages if left out.
        points: How entry points are listed; given by tests.

    Raises:
        ConfigurationError: Every malformed entry of both files at once, a sentence each.

    Example:
        >>> entry = load_registry().methods["dira_moco_v2"]
        >>> entry.label, entry.dimensions, entry.recipe
        ('DiRA (MoCo-v2)', 2, 'pretext')
    """
    root = root or project_root()
    problems: list[str] = []
    registries: dict[str, Any] = {}
    for kind, model in (("method", MethodEntry), ("task", TaskEntry)):
        group = f"dira_bench.{kind}s"
        try:
            registries[kind] = _read(kind, cast("Any", model), root, group, points(group))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    registry = Registry(root, registries["method"], registries["task"])
    _check_references(registry)
    _check_environment(registry, os.environ)
    return registry


def _check_references(registry: Registry) -> None:
    """Entries must name entries and profiles that exist; one from a package that does not is unavailable."""
    problems: list[str] = []
    registries: tuple[Entries[Any], ...] = (registry.methods, registry.tasks)
    for own in registries:
        for entry in list(own):
            found = _unknown_profiles(registry, entry)
            found += _dangling(registry, entry) if isinstance(entry, MethodEntry) else []
            if found and from_entry_point(entry):
                del own.by_name[entry.name]
                own.broken.append(Broken(entry.name, entry.origin, " ".join(found)))
            else:
                problems += found
    if problems:
        raise ConfigurationError("\n".join(problems))


def _unknown_profiles(registry: Registry, entry: MethodEntry | TaskEntry) -> list[str]:
    """Return a sentence for each profile of an entry that neither file of profiles has."""
    if not entry.profiles:
        return []
    known = {*registry._profiles[0], *registry._profiles[1]}
    where = f"profiles of {entry.name} ({entry.origin})"
    return [str(unknown("profile", name, known, where)) for name in entry.profiles if name not in known]


def _check_environment(registry: Registry, environment: Mapping[str, str]) -> None:
    """Refuse a variable that names a file or folder for an entry that does not exist, or takes none.

    Nobody would read it, and something else would be read in silence.
    """
    problems = []
    for begins, own in ((WEIGHTS_OF, registry.methods), (DATA_OF, registry.tasks)):
        known = {name.upper() for name in (*own.by_name, *(broken.name for broken in own.broken))}
        for variable in sorted(name for name, value in environment.items() if name.startswith(begins) and value):
            name = variable.removeprefix(begins)
            if name not in known:
                problems.append(str(unknown(own.kind, name, known, f"the environment variable {variable}")))
    ours = {entry.name: entry for entry in registry.methods if not from_entry_point(entry)}
    idle = {name.upper() for name, entry in ours.items() if not extras(entry).get("weights")}
    problems += [
        f"the environment variable {WEIGHTS_OF}{name} names a file of weights, but that method reads none; expected "
        "an entry with weights:; unset the variable"
        for name in sorted(idle)
        if environment.get(WEIGHTS_OF + name)
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))


def _dangling(registry: Registry, method: MethodEntry) -> list[str]:
    """Return a sentence for each name in a method's entry that no registry holds."""
    sentences = []
    for key, names, own in (
        ("compare_with", method.compare_with, registry.methods),
        ("saw_labels_of", method.saw_labels_of, registry.tasks),
    ):
        known = {*own.by_name, *(broken.name for broken in own.broken)}
        for name in names:
            if name not in known:
                where = f"{key} of {method.name} ({method.origin})"
                sentences.append(str(unknown(own.kind, name, own.by_name, where)))
    return sentences


def load_parameters(root: Path, overrides: Mapping[str, object] | None = None) -> Parameters:
    """Read ``params.yaml``; ``overrides`` (from the command line) win.

    Raises:
        ConfigurationError: For a missing, unknown or senseless key, all at once.
    """
    path = root / "params.yaml"
    raw = load_yaml(path)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        return read(Parameters, {**raw, **given}, "params.yaml: ")
    except ConfigurationError:
        if not given:
            raise
    read(Parameters, raw, "params.yaml: ")
    return read(Parameters, {**raw, **given}, "--")  # the file alone is as expected, so the command line is not
