"""One command's view of the project: root, registries, parameters, families, plan and store."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TextIO, cast

from rich.markup import escape

from harness.advice import ask_for
from harness.cli.consoles import NARROWEST, EndsClean, make_console
from harness.errors import DataError, StoreError
from harness.executors.factory import Seldom, alive
from harness.foreign import printable
from harness.own_tables import read_own_tables
from harness.plan import Plan, make_plan
from harness.published import Families, load_families
from harness.registry import Registry, load_parameters, load_registry, project_root
from harness.results import Adopted, Examination, adopt, examine, from_scratch_marker
from harness.spec import Kind, Parameters
from harness.statistics.margins import margin_of, read_margins
from harness.store import Store

console = make_console(sys.stdout, os.environ)
# What is said beside the answer; standard output may be a document for a program.
notes = make_console(sys.stderr, os.environ, stderr=True)
EXIT_INTERRUPTED = 130


class Output:
    """Standard output, once it is kept for the answer of a command.

    Attributes:
        kept: Whether a command keeps it, from its first session on; ``main`` says so.
    """

    kept = False
    _taken = False

    def take(self) -> None:
        """Leave standard output to ``console`` and ``print_json``; what anybody else prints goes to standard error.

        An installed package may print when it is imported, from C or from a process it starts, and break a document
        that a program reads. So the descriptor itself is led to standard error, and the answer gets a copy of it.
        """
        if not self.kept or self._taken:
            return
        self._taken = True
        with contextlib.suppress(OSError, ValueError):  # closed by whoever started this command
            sys.stdout.flush()
            descriptor = os.dup(sys.stdout.fileno())
            answer = os.fdopen(descriptor, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
            console.file = cast("TextIO", EndsClean(answer))
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            sys.stdout = sys.stderr


output = Output()


def shown(text: object) -> str:
    """Write text that may come from anywhere so that neither rich nor the terminal takes any of it for a command."""
    return escape(printable(text))


def say(text: str, indent: int = 0, heading: str = "") -> None:
    """Write a sentence; where it is broken, its further lines stand four columns further in.

    Args:
        text: Plain text.
        indent: Columns before its first line.
        heading: What stands before it in bold.
    """
    bold = f"[bold]{escape(heading)}[/]" if heading else ""
    if console.soft_wrap or console.width < indent + NARROWEST:
        console.print(" " * indent + bold + shown(text))
        return
    margin = " " * (indent + 4)
    filled = textwrap.wrap(
        printable(heading + text), console.width, initial_indent=" " * indent, subsequent_indent=margin,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    lines = escape("\n".join(filled))
    console.print(lines.replace(escape(heading), bold, 1) if heading else lines, soft_wrap=True)


@dataclass(frozen=True)
class Session:
    """Everything lazily: a command pays for what it uses."""

    root: Path
    parameters: Parameters

    @cached_property
    def whole_registry(self) -> Registry:
        """Both registries, with the entries of every profile."""
        return load_registry(self.root)

    @cached_property
    def registry(self) -> Registry:
        """Both registries, with the entries of the profile alone."""
        return self.whole_registry.under(self.parameters.profile)

    @cached_property
    def families(self) -> Families:
        """The paper's tables and families of contrasts."""
        return load_families(self.root / "reports" / "families.yaml")

    @cached_property
    def plan(self) -> Plan:
        """Everything the registries, the profile and the parameters imply."""
        margins = read_margins(self.root / "reports" / "margins.yaml")
        with self._roots_told():
            return make_plan(
                self.registry,
                self.parameters,
                self.families,
                partial(margin_of, margins=margins),
                read_own_tables(self.root),
            )

    def _roots_told(self) -> contextlib.AbstractContextManager[None]:
        """Let whoever waits hear how far it is when data roots are looked through; imports nothing without one."""
        if not self.registry.data_roots:
            return contextlib.nullcontext()
        from harness.cli.looking import roots_told

        return roots_told()

    @cached_property
    def store(self) -> Store:
        """Attempts and their records.

        Raises:
            StoreError: If a link stands in the place of a folder of it, and leads to none.
        """
        places = self.root / ".trials", self.root / ".cohorts"
        for place in places:
            if place.is_symlink() and not place.exists():
                raise StoreError(
                    f"{place} is a link to {place.readlink()}, where nothing is; expected a folder; make that folder, "
                    "mount its disk, or remove the link."
                )
        store = Store(*places)
        store.ask = Seldom(alive)
        return store

    @cached_property
    def adopted(self) -> Adopted:
        """Committed rows that still stand; none while a run from scratch is under way."""
        if from_scratch_marker(self.root).exists():
            return Adopted()
        adopted = adopt(self.plan, self.root)
        for sentence in adopted.refused:
            notes.print(f"[yellow]note:[/] {shown(sentence)}")
        return adopted

    def refuse_edits(
        self,
        *,
        may_lack: Collection[Path] | None = (),
        thorough: bool = False,
        track: Callable[[list[tuple[Kind, str]]], Iterator[tuple[Kind, str]]] = iter,
    ) -> Examination:
        """Examine what is stored and committed before a number is printed from it; notes go to standard error.

        Raises:
            DataError: If anything was edited or damaged: every sentence, one a line.
        """
        store = Store(self.store.root, self.store.cohorts, notify=lambda sentence: None)
        found = examine(self.plan, self.root, store, may_lack=may_lack, thorough=thorough, track=track)
        for sentence in found.notes:
            notes.print(f"[yellow]note:[/] {shown(sentence)}")
        if found.faults:
            raise DataError("\n".join(found.faults))
        return found


def open_session(profile: str | None = None, **overrides: object) -> Session:
    """Find the project and read its parameters; ``profile`` and other overrides win over ``params.yaml``."""
    output.take()
    ask_for(profile)
    root = project_root()
    return Session(root, load_parameters(root, {"profile": profile, **overrides}))


def print_json(value: object) -> None:
    """Write JSON for a program to read: sorted keys, one document, nothing else on standard output."""
    text = json.dumps(value, indent=1, sort_keys=True, default=_jsonable)
    try:
        print(text, file=console.file, flush=True)
    except BrokenPipeError:
        console.on_broken_pipe()


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if not isinstance(value, tuple) else list(value)
    return str(value)
