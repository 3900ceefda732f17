"""``export``: take an encoder that was pretrained here elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, open_session, print_json
from harness.errors import StoreError, Unavailable, UnknownName
from harness.registry import import_dotted
from harness.spec import Record


def export(
    method: Annotated[str, typer.Argument(help="A method whose last phase is done in the store.")],
    layout: Annotated[str, typer.Option(help="Whose names the tensors get: torchvision, smp or monai.")],
    pretrain_seed: Annotated[int, typer.Option(help="Which of its encoders.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the three files.")] = Path("exports"),
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Write a pretrained encoder as safetensors, with its SHA-256 and a card that says what it is."""
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
    console.print(f"{escape(str(made.weights))}  {made.tensors} tensors ({' and '.join(made.parts)})")
    console.print(f"{escape(str(made.digest))}  {made.sha256}")
    console.print(escape(str(made.card)))
    if about["stamp"]:
        console.print(f"[yellow]{escape(about['stamp'])}[/]: good for trying code, not for images of people")


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
                '"dira-bench plan" says what is missing'
            )
        raise UnknownName(
            f"{label} has no pretraining seed {pretrain_seed}; expected one of {', '.join(map(str, known))}; raise "
            "pretrain_seeds in params.yaml for more"
        )
    records = [session.store.ok("phase", item.id) for item in chain]
    if records[-1] is None:
        raise Unavailable(
            f"{label} is not pretrained yet under profile {plan.profile} (phase {chain[-1].spec['phase']} is "
            f"{session.store.state('phase', chain[-1].id)}); expected its last phase in the store; run it first: "
            f"dira-bench run --profile {plan.profile} --trial {chain[-1].id[:16]}"
        )
    return [record for record in records if record is not None]


def describe(session: Session, method: str, pretrain_seed: int, records: list[Record]) -> dict[str, Any]:
    """Collect what the card says."""
    plan = session.plan
    entry, resolved = session.registry.methods[method], plan.methods[method]
    names = list(dict.fromkeys(phase.cohort for phase in resolved.phases if phase.cohort))
    cohorts: list[dict[str, Any]] = [
        {
            "label": session.registry.tasks[name].label,
            "stamp": plan.tasks[name].stamp,
            "synthetic": plan.tasks[name].synthetic,
            "id": plan.cohorts[name].id,
        }
        for name in names
    ]
    stamps = list(dict.fromkeys(cohort["stamp"] for cohort in cohorts if cohort["synthetic"]))
    return {
        "method": method,
        "label": entry.label,
        "source": entry.source,
        "dimensions": entry.dimensions,
        "saw_labels_of": list(entry.saw_labels_of),
        "profile": plan.profile,
        "pretrain_seed": pretrain_seed,
        "base_seed": plan.parameters.base_seed,
        "phase_id": records[-1].id,
        "decoder_trained": resolved.encoder.get("decoder") == "trained",
        "checkpoint_sha256": resolved.encoder.get("checkpoint_sha256"),
        "normalisation": resolved.phases[-1].configuration.get("normalisation"),
        "budget_rule": str(resolved.budget.get("rule", "as its recipe says")),
        "cohorts": cohorts,
        "stamp": "; ".join(stamps),
        "phases": [{**record.facts, "phase": record.spec["phase"], "id": record.id} for record in records],
    }
