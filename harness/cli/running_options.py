"""The options of ``run``, a type each: what it is called, what it may be, and the sentence that explains it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import numbers
from harness.executors.factory import OURS

Block = Annotated[
    str,
    typer.Option(
        help="Which cells: published (those that the paper prints), added (the others) or all.",
    ),
]
Methods = Annotated[
    list[str] | None, typer.Option("--method", help="Only this method's trials. Can be given several times.")
]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task's trials. Can be given several times.")]
Trial = Annotated[
    str | None, typer.Option(help="Only the trial, phase or cohort whose id begins with these characters.")
]
Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help="Run what is done a second time, beside the store, and compare: --trial, or the chosen phases and a "
        "sample of the chosen trials.",
    ),
]
Sample = Annotated[
    int | None,
    typer.Option(
        help="How many trials --again repeats; default 20. Needs --again, and no --trial.",
        callback=numbers.whole("--sample", 1, numbers.MANY_REPEATS),
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        help="How many items run at once; default one per GPU, or one per core without a GPU. With --engine together: "
        "how many processes share one item.",
        callback=numbers.whole("--slots", 1, numbers.MANY_SLOTS),
    ),
]
MaxJobs = Annotated[
    int | None,
    typer.Option(
        "--max-jobs",
        help="With a cluster's engine, in place of --slots: how many jobs are queued or run at once.",
        callback=numbers.whole("--max-jobs", 1, numbers.MANY_SLOTS),
    ),
]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Workers = Annotated[
    int,
    typer.Option(
        help="Processes that load data for each trial. The number changes no result.",
        callback=numbers.whole("--workers", 0, numbers.MANY_WORKERS),
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds that one attempt may take; default no limit.", callback=numbers.seconds("--timeout")),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run items again that failed in earlier runs.")]
AllowMixed = Annotated[
    bool, typer.Option("--allow-mixed", help="Allow CPU and GPU trials in one cell. The cell is marked as mixed.")
]
FromScratch = Annotated[
    bool,
    typer.Option(
        "--from-scratch",
        help="Train everything again. The store is renamed and kept, and no committed result is reused.",
    ),
]
Repeats = Annotated[
    int | None,
    typer.Option(
        help="Fine-tuning runs of each cell, instead of the number in params.yaml.",
        callback=numbers.whole("--repeats", 1, numbers.MANY_REPEATS),
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help=f"What runs the items: {', '.join(OURS)}, the name of an installed engine, or a dotted path "
        "package.module:function. together pretrains one --method with several processes, one GPU each; a phase in 3D, "
        "or a supervised one, is trained by one of them alone.",
    ),
]
OptionsPath = Annotated[
    Path | None,
    typer.Option("--engine-options", help="A YAML file with what the engine is to be told; docs/engines.md."),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach", help="Queue what is ready and leave; for engines whose jobs go on alone. The same command returns."
    ),
]
ExitWhenIdle = Annotated[
    bool, typer.Option("--exit-when-idle", help="Leave once other drivers have a free slot for all that is left.")
]
Until = Annotated[
    str | None,
    typer.Option(
        help="Leave at this time, with checkpoints, and start nothing that would not end before: 3h50m, 18:30 or "
        "2026-11-29T06:00.",
    ),
]
