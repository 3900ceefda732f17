"""``run --from-scratch`` and ``compare``: train everything anew, and say how much came out the same."""

from __future__ import annotations

import sys

from harness.cli.listing import Profile, counted, print_plan
from harness.cli.session import Session, console, open_session, shown
from harness.environment import device_slots
from harness.errors import ConfigurationError
from harness.executors.factory import Engine
from harness.registry import project_root
from harness.reproduction import begin_from_scratch, compare, end_from_scratch
from harness.results import from_scratch_marker
from harness.running import Chosen
from harness.store.files import parse_json


def refuse_part(profile: str, chosen: Chosen, trial: str | None, repeats: int | None) -> None:
    """A run from scratch is whole: DVC then assembles all of params.yaml's profile and would train what is absent."""
    given = {
        "--trial": trial, "--block": chosen.block != "all", "--method": chosen.methods, "--task": chosen.tasks,
        "--repeats": repeats,
    }  # fmt: skip
    found = [option for option, value in given.items() if value]
    if found:
        raise ConfigurationError(
            f"found {' and '.join(found)} with --from-scratch, which trains everything that is planned; leave "
            f"{'it' if len(found) == 1 else 'them'} out, or leave --from-scratch out to run a part."
        )
    usual = open_session().parameters.profile
    if profile != usual:
        raise ConfigurationError(
            f"found --profile {profile} with --from-scratch, but params.yaml has profile {usual}, which DVC assembles "
            f'afterwards; write "profile: {profile}" into params.yaml first.'
        )


def begin(session: Session, engine: Engine) -> None:
    """Set the old store aside once it is known that the run can start at all."""
    if engine.name == "local":
        device_slots(engine.slots, engine.device)
    if not from_scratch_marker(session.root).is_file():
        session.refuse_edits(may_lack=None)  # they will be compared with what is trained now
    begun = begin_from_scratch(session.root, session.plan.profile)
    console.print(
        "a run from scratch begins: no committed result is reused"
        if begun
        else "the interrupted run from scratch goes on"
    )
    print_plan(session, counted(session))


def compare_command(profile: Profile = None) -> None:
    """Say how many committed numbers the run from scratch has reproduced, and turn adoption on again."""
    ran = _profile_from_scratch()
    if ran and profile and profile != ran:
        raise ConfigurationError(
            f"found --profile {profile}, but the run from scratch was one of profile {ran}; leave --profile out."
        )
    session = open_session(ran or profile)
    session.refuse_edits(may_lack=None)
    planned = {item.id for item in session.plan.trials().values()}
    result = compare(session.root, session.plan.profile, planned)
    console.print(f"profile {session.plan.profile}: {result.sentence()}")
    for example in result.examples:
        console.print(shown(f"  not reproduced: {example}"))
    for cause in result.causes():
        console.print(shown(f"  {cause}"))
    end_from_scratch(session.root)
    report = session.root / "reports" / session.plan.profile / "report.html"
    if report.is_file():
        console.print(shown(f"the report: {report}"))
    sys.stdout.flush()


def _profile_from_scratch() -> str | None:
    """Return the profile of the run from scratch that is under way, as its marker says."""
    try:
        content = parse_json(from_scratch_marker(project_root()).read_text())
        return str(content["profile"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
