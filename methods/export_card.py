"""The card beside exported weights: what they are, what they saw, under which terms, how to load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def card(
    about: Mapping[str, Any],
    *,
    network: Mapping[str, Any],
    file: str,
    sha256: str,
    layout: str,
    keys: str,
    parts: Sequence[str],
    tensors: int,
    parameters: int,
    loading: str,
) -> str:
    """Write the card in Markdown; no time and no host, so the same weights give the same card.

    Args:
        about: ``method``, ``label``, ``source``, ``profile``, ``pretrain_seed``, ``base_seed``, ``phase_id``,
            ``decoder_trained``, ``saw_labels_of``, ``cohorts`` (label, stamp, synthetic, recipe digest), ``stamp`` (all
            of them, "" if real), ``phases`` (name, id, and their records' facts), ``budget_rule``,
            ``checkpoint_sha256`` (or None).
        network: As ``methods.networks.build`` takes it.
        file: Name of the weights.
        sha256: Their digest.
        layout: Name of the layout.
        keys: What the names follow.
        parts: What is in the file.
        tensors: How many.
        parameters: How many are trained.
        loading: Python.
    """
    lines = [f"# {about['label']} (`{about['method']}`, profile `{about['profile']}`)", ""]
    if about["stamp"]:
        lines += [
            f"> **{about['stamp']}.** These weights were trained on images that a program made, at the scale of "
            f"profile `{about['profile']}`. They say nothing about real images: use them to try your code.",
            "",
        ]
    absent = "" if "decoder" in parts else f" The decoder is absent: {_why_absent(about, layout)}."
    rows = [
        ("file", f"`{file}`"),
        ("SHA-256", f"`{sha256}`"),
        ("method", f"{about['label']}; source: {about['source']}"),
        ("network", f"`{network['name']}`, {network['in_channels']} input channels"),
        ("holds", f"{' and '.join(parts)}: {tensors} tensors, {parameters:,} parameters.{absent}"),
        ("keys", f"layout `{layout}`: {keys}"),
        ("data", _data(about)),
        ("labels seen", ", ".join(about["saw_labels_of"]) or "none"),
        ("budget", f"{about['budget_rule']}; {_images(about):,} images seen in all"),
        ("seed", f"pretraining seed {about['pretrain_seed']}, base seed {about['base_seed']}"),
        ("last phase", f"`{about['phase_id']}`"),
    ]
    if about["checkpoint_sha256"]:
        rows.append(("came from", f"a checkpoint from outside, SHA-256 `{about['checkpoint_sha256']}`"))
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows), "", "## Phases", ""]
    lines += ["| phase | images seen | steps | selected step | id |", "| --- | --- | --- | --- | --- |"]
    for phase in about["phases"]:
        shown = (_number(phase.get(key)) for key in ("images_seen", "steps", "selected_step"))
        lines.append(f"| {phase['phase']} | {' | '.join(shown)} | `{phase['id'][:16]}` |")
    lines += ["", "## Loading", "", "```python", loading, "```", "", "## Input", "", _input(about)]
    lines += ["", "## Licence", "", _licence(about), ""]
    return "\n".join(lines)


def _why_absent(about: Mapping[str, Any], layout: str) -> str:
    return f"layout `{layout}` has no place for it" if about["decoder_trained"] else "this method hands over none"


def _data(about: Mapping[str, Any]) -> str:
    if not about["cohorts"]:
        return "as its source says; none here"
    said = []
    for cohort in about["cohorts"]:
        stamp = f" (**{cohort['stamp']}**)" if cohort["synthetic"] else ""
        said.append(f"training images of {cohort['label']}{stamp}, cohort `{cohort['id'][:16]}`")
    return "; ".join(said)


def _images(about: Mapping[str, Any]) -> int:
    return sum(int(phase.get("images_seen") or 0) for phase in about["phases"])


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _input(about: Mapping[str, Any]) -> str:
    if about["checkpoint_sha256"]:
        return "As its source says."
    if about["normalisation"] in (None, "none"):
        return "Pixels in [0, 1], grey repeated over the channels, no mean or deviation subtracted."
    return f"Pixels in [0, 1], grey repeated over the channels, then normalised as `{about['normalisation']}`."


def _licence(about: Mapping[str, Any]) -> str:
    if about["checkpoint_sha256"]:
        return (
            "That of the checkpoint it came from, whose source is named above. DiRA-Bench renamed its tensors and "
            "claims nothing."
        )
    real = [cohort["label"] for cohort in about["cohorts"] if not cohort["synthetic"]]
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
