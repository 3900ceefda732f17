"""``export``: take an encoder that was pretrained here elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.advice import command
from harness.cli import numbers
from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, open_session, print_json, shown
from harness.dotted import import_dotted
from harness.errors import StoreError, Unavailable, UnknownName
from harness.spec import EncoderSpec, MethodPlan, Record
from methods.export_card import DonePhase, ExportedMethod, SeenCohort

NUMBERS = ("images_seen", "steps", "selected_step")  # that the card says of a phase


def export(
    method: Annotated[str, typer.Argument(help="A method whose pretraining is finished in the store.")],
    layout: Annotated[str, typer.Option(help="Library whose tensor names are used: torchvision, smp or monai.")],
    pretrain_seed: Annotated[
        int,
        typer.Option(
            help="Which of the method's pretrainings, counted from 0.",
            callback=numbers.whole("--pretrain-seed", 0, numbers.MANY_REPEATS),
        ),
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the three files.")] = Path("exports"),
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Write a pretrained encoder as safetensors, with its SHA-256 and a card that says what it is."""
    import_dotted("methods.export_layouts:find_layout")(layout)
    session = open_session(profile)
    records = finished(session, method, pretrain_seed)
    about = describe(session, method, pretrain_seed, records)
    last = records[-1]
    if not session.store.verify(last):
        raise StoreError(
            f"the weights of {method} in the store are damaged and were set aside; expected the bytes their record "
            "vouches for; run the pretraining again"
        )
    made = import_dotted("methods.export:export")(session.store.folder(last), layout, out, about)
    if as_json:
        print_json({"weights": made.weights, "digest": made.digest, "card": made.card, "sha256": made.sha256})
        return
    console.print(f"{shown(str(made.weights))}  {made.tensors} tensors ({' and '.join(made.parts)})")
    console.print(f"{shown(str(made.digest))}  {made.sha256}")
    console.print(shown(str(made.card)))
    if about.stamp:
        console.print(f"[yellow]{shown(about.stamp)}[/]: good for trying code, not for images of people")


def finished(session: Session, method: str, pretrain_seed: int) -> list[Record]:
    """Return the records of a method's phases, the first to the last (an earlier one may have been removed).

    Raises:
        UnknownName: If there is no such method or no such pretraining seed.
        Unavailable: If it has no phases, cannot run here, or its last phase is not done.
    """
    plan = session.plan
    label = session.registry.methods[method].label
    resolved = plan.methods[method]
    if resolved.unavailable:
        raise Unavailable(f"{label} is unavailable under profile {plan.profile}: {resolved.unavailable}")
    if not resolved.phases:
        raise Unavailable(
            f"{label} has no pretraining to export: its encoder is drawn for each trial; expected a method that "
            "trains; export another"
        )
    chain = plan.phases.get((method, pretrain_seed))
    if not chain:
        known = sorted(index for name, index in plan.phases if name == method)
        if not known:
            raise Unavailable(
                f"{label} has no cohort to pretrain on under profile {plan.profile}; expected its data; "
                f"{command('plan')} says what is missing"
            )
        raise UnknownName(
            f"{label} has no pretraining seed {pretrain_seed}; expected one of {', '.join(map(str, known))}; raise "
            "pretrain_seeds in params.yaml for more"
        )
    records = [session.store.ok("phase", item.id) for item in chain]
    if records[-1] is None:
        raise Unavailable(
            f"{label} is not pretrained yet under profile {plan.profile} (phase {chain[-1].outline.phase} is "
            f"{session.store.state('phase', chain[-1].id)}); expected its last phase in the store; run it first: "
            f"dira-bench run --profile {plan.profile} --trial {chain[-1].id[:16]}"
        )
    return [record for record in records if record is not None]


def describe(session: Session, method: str, pretrain_seed: int, records: list[Record]) -> ExportedMethod:
    """Collect what the card says."""
    plan = session.plan
    entry, resolved = session.registry.methods[method], plan.methods[method]
    encoder = EncoderSpec.model_validate(resolved.encoder)
    cohorts = _cohorts(session, resolved, records)
    return ExportedMethod(
        method=method,
        label=entry.label,
        source=entry.source,
        dimensions=entry.dimensions,
        saw_labels_of=entry.saw_labels_of,
        profile=plan.profile,
        pretrain_seed=pretrain_seed,
        base_seed=plan.parameters.base_seed,
        phase_id=records[-1].id,
        decoder_trained=encoder.decoder == "trained",
        checkpoint_sha256=encoder.checkpoint_sha256,
        normalisation=resolved.phases[-1].outline.normalisation,
        budget_rule=resolved.shares.rule,
        cohorts=tuple(cohorts),
        stamp="; ".join(dict.fromkeys(cohort.stamp for cohort in cohorts if cohort.synthetic)),
        phases=tuple(_phase(record) for record in records),
    )


def _cohorts(session: Session, resolved: MethodPlan, records: list[Record]) -> list[SeenCohort]:
    """Return the images that the phases saw: cohorts, and what a recipe generated."""
    plan = session.plan
    names = list(dict.fromkeys(phase.cohort for phase in resolved.phases if phase.cohort))
    cohorts = [
        SeenCohort(
            label=session.registry.tasks[name].label,
            stamp=plan.tasks[name].stamp,
            synthetic=plan.tasks[name].synthetic,
            id=plan.cohorts[name].id,
        )
        for name in names
    ]
    generated = "SYNTHETIC: generated by its recipe"
    return cohorts + [
        SeenCohort(label=phase.name, stamp=generated, synthetic=True, id=record.id)
        for phase, record in zip(resolved.phases, records, strict=False)
        if phase.cohort is None and phase.outline.generator
    ]


def _phase(record: Record) -> DonePhase:
    """Return what the record of a phase says of it."""
    numbers = {name: value for name in NUMBERS if isinstance(value := record.facts.get(name), int)}
    return DonePhase.model_validate({"phase": record.outline.phase, "id": record.id, **numbers})
