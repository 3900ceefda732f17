"""``cancel``: end what engines still have of a plan."""

from __future__ import annotations

import typer

from harness.cli.execution import EXIT_UNDONE
from harness.cli.listing import Profile
from harness.cli.session import console, notes, open_session, shown
from harness.errors import many


def cancel(profile: Profile = None) -> None:
    """End the jobs that engines still queue or run for this profile. Everything finished is kept.

    Items that run in a driver of this or another machine end with that driver (Ctrl-C).
    """
    from harness.running.cancelling import cancel as cancel_jobs

    session = open_session(profile)
    found = cancel_jobs(session.store, session.plan.items.values())
    console.print(f"{many(len(found.jobs), 'job')} cancelled.")
    if found.watched:
        runs = "item runs" if len(found.watched) == 1 else "items run"
        console.print(f"{len(found.watched)} {runs} in a driver: end that command, with Ctrl-C or SIGTERM.")
    for job, reason in found.refused.items():
        notes.print(shown(f"job {job.id} of engine {job.engine} could not be cancelled: {reason}"))
    if found.refused:
        raise typer.Exit(EXIT_UNDONE)
