"""The commands of ``dira-bench``, in one list; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.cli.session import EXIT_INTERRUPTED, console
from harness.dotted import import_module
from harness.errors import BrokenCode

# Name → ``module:attribute`` below ``harness.cli``, a function or a group of commands, in the order of ``--help``.
PLACES = {
    "list": "listing:list_entries",
    "plan": "listing:plan",
    "run": "execution:run",
    "cancel": "cancelling:cancel",
    "status": "listing:status",
    "show": "listing:show",
    "verify": "upkeep:verify",
    "clean": "cleaning:clean",
    "pin": "upkeep:pin",
    "new": "beginning:new",
    "check": "upkeep:check",
    "audit": "auditing:audit",
    "gates": "gates:gates",
    "report": "stages:report",
    "rescore": "rescoring:rescore",
    "export": "exporting:export",
    "compare": "from_scratch:compare_command",
    "compare-results": "sharing:compare_results_command",
    "bundle": "sharing:bundle_command",
    "unbundle": "sharing:unbundle_command",
    "data": "data:data",
    "stage": "stages:stages",
}
STYLE: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": "rich"}


class Later(Mapping[str, Any]):
    """Name → command. A command's module is imported with it, so that nobody waits for what another command needs."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return a command, made at first use."""
        if name not in self._made:
            self._made[name] = _made(name, PLACES[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


def _made(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"{__package__}.{module}"), attribute)
    alone = typer.Typer(**STYLE)
    if isinstance(found, typer.Typer):
        for command in found.registered_commands:
            command.help = command.help or _paragraphs(command.callback.__doc__)
        alone.add_typer(found, name=name)
    else:
        alone.command(name, help=_paragraphs(found.__doc__))(found)
    return typer.main.get_group(alone).commands[name]


def _paragraphs(doc: str | None) -> str:
    """Write each paragraph of a docstring as one line, for the terminal breaks lines at its own width."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(doc or "").split("\n\n"))


class Commands(TyperGroup):
    """The commands; none of them ends because code that is not ours asked Python to end."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = Later()  # type: ignore[assignment]  # nothing is added to it

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in order, and import nothing."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for.

        Raises:
            BrokenCode: If foreign code raised ``SystemExit``: the command did not do what was asked for.
            Exit: With code 130 after a Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except SystemExit as error:
            raise BrokenCode(
                f"code of an entry or of an installed package asked Python to end (SystemExit: {error.code}), so "
                '"dira-bench" did not do what was asked for; expected code that returns or raises an exception; '
                'leave the entry or the package out (see "dira-bench list") or correct that code.'
            ) from error
        except KeyboardInterrupt:
            console.print("interrupted.")
            raise typer.Exit(EXIT_INTERRUPTED) from None


application = typer.Typer(cls=Commands, name="dira-bench", no_args_is_help=True, **STYLE)


def _version(asked: bool) -> None:
    if asked:
        try:
            console.print(f"dira-bench {version('dira-bench')}")
        except PackageNotFoundError:
            console.print("dira-bench (a checkout that is not installed)")
        raise typer.Exit


@application.callback()
def root(
    version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Rerun every experiment of DiRA (CVPR 2022), test every difference, and enter a method of your own."""
