"""``new``: a commented beginning of a method, a task or a metric of one's own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from harness.cli.session import console, open_session, shown
from harness.skeletons import write_skeleton


class Kind(StrEnum):
    """What can be begun."""

    METHOD = "method"
    TASK = "task"
    METRIC = "metric"


NEXT = {
    Kind.METHOD: '"dira-bench check {name}" tries it; docs/adding-a-method.md says what each line means',
    Kind.TASK: '"dira-bench check {name}" tries it; docs/adding-a-task.md says what each line means',
    Kind.METRIC: 'write metric: "tasks.own.{name}:METRIC" into a task\'s entry, and "dira-bench check TASK" tries it; '
    "it is measured on masks while a trial runs, so trials that are done lack it; docs/adding-a-metric.md says what "
    'each line means, and which metrics "dira-bench rescore" computes of trials that are done',
}


def new(
    kind: Annotated[Kind, typer.Argument(help="method, task or metric.")],
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits and _.")],
) -> None:
    """Write the beginning of a method, a task or a metric of your own, which passes "check" as it is.

    Code goes to methods/own or tasks/own, the entry to the end of its registry. Nothing that is there is changed.
    """
    session = open_session()
    for path in write_skeleton(session.root, kind.value, name):
        console.print(f"written  {shown(path.relative_to(session.root).as_posix())}")
    console.print(shown(f"next: {NEXT[kind].format(name=name)}"))
