"""The card beside exported weights: what they are, what they saw, under which terms, how to load them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.spec import Frozen
from methods.phases import NetworkSpec


class SeenCohort(Frozen):
    """Images that were trained on.

    Attributes:
        label: Of the task, or of what was generated.
        stamp: What its pages print.
        synthetic: Whether a program made them.
        id: Of the cohort item, or of the phase that generated them.
    """

    label: str
    stamp: str
    synthetic: bool
    id: str


class DonePhase(Frozen):
    """A phase of the pretraining, with what its record says; None where it says nothing."""

    phase: str
    id: str
    images_seen: int | None = None
    steps: int | None = None
    selected_step: int | None = None


class ExportedMethod(Frozen):
    """What the card says of a method.

    Attributes:
        method, label, source, dimensions, saw_labels_of: The entry's.
        profile, pretrain_seed, base_seed: Which of its encoders.
        phase_id: Id of the last phase.
        decoder_trained: Whether the method hands over a decoder.
        checkpoint_sha256: Of the file from outside that it came from, or None.
        normalisation: Of the network's input, where a phase says it.
        budget_rule: How the training was shared out.
        cohorts: What it saw.
        stamp: All stamps of synthetic ones; empty if all images are real.
        phases: From the first to the last.
    """

    method: str
    label: str
    source: str
    dimensions: int
    saw_labels_of: tuple[str, ...]
    profile: str
    pretrain_seed: int
    base_seed: int
    phase_id: str
    decoder_trained: bool
    checkpoint_sha256: str | None
    normalisation: str | None
    budget_rule: str
    cohorts: tuple[SeenCohort, ...]
    stamp: str
    phases: tuple[DonePhase, ...]


@dataclass(frozen=True)
class WrittenWeights:
    """What the card says of the file.

    Attributes:
        network: The backbone.
        file: Name of the weights.
        sha256: Their digest.
        layout: Name of the layout.
        keys: What the names follow.
        parts: What is in the file.
        tensors: How many.
        parameters: How many are trained.
        loading: Python.
    """

    network: NetworkSpec
    file: str
    sha256: str
    layout: str
    keys: str
    parts: tuple[str, ...]
    tensors: int
    parameters: int
    loading: str


def card(about: ExportedMethod, written: WrittenWeights) -> str:
    """Write the card in Markdown; no time and no host, so the same weights give the same card."""
    lines = [f"# {about.label} (`{about.method}`, profile `{about.profile}`)", ""]
    if about.stamp:
        lines += [
            f"> **{about.stamp}.** These weights were trained on images that a program made, at the scale of "
            f"profile `{about.profile}`. They say nothing about real images: use them to try your code.",
            "",
        ]
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in _rows(about, written)), ""]
    lines += [
        "## Phases",
        "",
        "| phase | images seen | steps | selected step | id |",
        "| --- | --- | --- | --- | --- |",
    ]
    for phase in about.phases:
        shown = (_number(number) for number in (phase.images_seen, phase.steps, phase.selected_step))
        lines.append(f"| {phase.phase} | {' | '.join(shown)} | `{phase.id[:16]}` |")
    lines += ["", "## Loading", "", "```python", written.loading, "```", "", "## Input", "", _input(about)]
    lines += ["", "## Licence", "", _licence(about), ""]
    return "\n".join(lines)


def _rows(about: ExportedMethod, written: WrittenWeights) -> list[tuple[str, str]]:
    """Return the rows of the first table: a name and what is said."""
    network, layout = written.network, written.layout
    absent = "" if "decoder" in written.parts else f" The decoder is absent: {_why_absent(about, layout)}."
    held = f"{written.tensors} tensors, {written.parameters:,} parameters"
    rows = [
        ("file", f"`{written.file}`"),
        ("SHA-256", f"`{written.sha256}`"),
        ("method", f"{about.label}; source: {about.source}"),
        ("network", f"`{network.name}`, {network.in_channels} input channels"),
        ("holds", f"{' and '.join(written.parts)}: {held}.{absent}"),
        ("keys", f"layout `{layout}`: {written.keys}"),
        ("data", _data(about)),
        ("labels seen", ", ".join(about.saw_labels_of) or "none"),
        ("budget", f"{about.budget_rule}; {_images(about):,} images seen in all"),
        ("seed", f"pretraining seed {about.pretrain_seed}, base seed {about.base_seed}"),
        ("last phase", f"`{about.phase_id}`"),
    ]
    if about.checkpoint_sha256:
        rows.append(("came from", f"a checkpoint from outside, SHA-256 `{about.checkpoint_sha256}`"))
    return rows


def _why_absent(about: ExportedMethod, layout: str) -> str:
    return f"layout `{layout}` has no place for it" if about.decoder_trained else "this method passes on none"


def _data(about: ExportedMethod) -> str:
    if not about.cohorts:
        return "as its source says; none here"
    said = []
    for cohort in about.cohorts:
        stamp = f" (**{cohort.stamp}**)" if cohort.synthetic else ""
        said.append(f"training images of {cohort.label}{stamp}, cohort `{cohort.id[:16]}`")
    return "; ".join(said)


def _images(about: ExportedMethod) -> int:
    return sum(phase.images_seen or 0 for phase in about.phases)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _input(about: ExportedMethod) -> str:
    if about.checkpoint_sha256:
        return "As its source says."
    if about.normalisation in (None, "none"):
        return "Pixels in [0, 1], grey repeated over the channels, no mean or deviation subtracted."
    return f"Pixels in [0, 1], grey repeated over the channels, then normalised as `{about.normalisation}`."


def _licence(about: ExportedMethod) -> str:
    if about.checkpoint_sha256:
        return (
            "That of the checkpoint it came from, whose source is named above. DiRA-Bench renamed its tensors and "
            "claims nothing."
        )
    real = [cohort.label for cohort in about.cohorts if not cohort.synthetic]
    owners = (
        f"They were learnt from {', '.join(real)}; what its owners ask of those who use it (docs/datasets.md) holds "
        "for you too: attribution, and citing the papers they name."
        if real
        else "No image of a person was used, so no data owner's terms attach."
    )
    return (
        "The code that made these weights is under the MIT licence, and its authors claim no rights in the weights. "
        f"{owners} The authors of DiRA describe their method as patent-pending; whether that concerns your use is "
        "yours to find out."
    )
