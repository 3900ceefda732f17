"""The commands of ``dira-bench``, in one list."""

from __future__ import annotations

import typer

from harness.cli import auditing, data, execution, exporting, listing, stages, upkeep

application = typer.Typer(
    name="dira-bench",
    help="Rerun every experiment of DiRA (CVPR 2022), test every difference, and enter a method of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
application.command("list")(listing.list_entries)
application.command("plan")(listing.plan)
application.command("run")(execution.run)
application.command("status")(listing.status)
application.command("show")(listing.show)
application.command("verify")(upkeep.verify)
application.command("pin")(upkeep.pin)
application.command("check")(upkeep.check)
application.command("audit")(auditing.audit)
application.command("report")(stages.report)
application.command("export")(exporting.export)
application.command("compare")(execution.compare_command)
application.add_typer(data.data, name="data")
application.add_typer(stages.stages, name="stage")
