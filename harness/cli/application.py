"""The commands of ``dira-bench``, in one list."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.cli import (
    auditing,
    beginning,
    cancelling,
    cleaning,
    data,
    execution,
    exporting,
    fetching,
    from_scratch,
    gates,
    listing,
    rescoring,
    sharing,
    stages,
    upkeep,
)
from harness.cli.session import console
from harness.errors import BrokenCode


class Commands(TyperGroup):
    """The commands; none of them ends because code that is not ours asked Python to end."""

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
            raise typer.Exit(execution.EXIT_INTERRUPTED) from None


application = typer.Typer(
    cls=Commands,
    name="dira-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


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


application.command("list")(listing.list_entries)
application.command("plan")(listing.plan)
application.command("run")(execution.run)
application.command("cancel")(cancelling.cancel)
application.command("status")(listing.status)
application.command("show")(listing.show)
application.command("verify")(upkeep.verify)
application.command("clean")(cleaning.clean)
application.command("pin")(upkeep.pin)
application.command("new")(beginning.new)
application.command("check")(upkeep.check)
application.command("audit")(auditing.audit)
application.command("gates")(gates.gates)
application.command("report")(stages.report)
application.command("rescore")(rescoring.rescore)
application.command("export")(exporting.export)
application.command("compare")(from_scratch.compare_command)
application.command("compare-results")(sharing.compare_results_command)
application.command("bundle")(sharing.bundle_command)
application.command("unbundle")(sharing.unbundle_command)
data.data.command("fetch")(fetching.fetch)
application.add_typer(data.data, name="data")
application.add_typer(stages.stages, name="stage")
