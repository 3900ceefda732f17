"""Was it learnt? The gates of every phase as rows of text, for the report and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from harness.gates import NOT_LEARNT, GateRow, Verdict, gate_words
from reports.render.formats import markdown_table, markdown_text
from reports.render.inputs import Results

HEADINGS = ("Method", "Phase", "Measure", "Value", "Chance", "Start", "Asked", "Passed")


class GateText(NamedTuple):
    """One row of the table, as text."""

    phase: str
    measure: str
    value: str
    chance: str
    start: str
    asked: str
    passed: str


@dataclass(frozen=True)
class MethodGates:
    """One method's rows, phase by phase; the last phase decides."""

    method: str
    label: str
    verdict: Verdict
    rows: tuple[GateText, ...]


def methods_shown(results: Results, methods: Mapping[str, str]) -> list[MethodGates]:
    """Gather every method that has gates or says why it has none, in the order in which statistics left them."""
    return [
        MethodGates(method, methods[method], results.verdict(method), _texts(list(rows)))
        for method, rows in groupby(results.gates, key=lambda row: row.method)
    ]


def _texts(rows: list[GateRow]) -> tuple[GateText, ...]:
    """Write a method's rows; phase and seed stand where they change."""
    several = len({row.pretrain_seed for row in rows}) > 1
    texts, before = [], ""
    for row in rows:
        phase = row.phase + (f", pretraining {row.pretrain_seed}" if several else "") + (", decides" * row.decides)
        texts.append(GateText("" if phase == before else phase, *gate_words(row)))
        before = phase
    return tuple(texts)


def with_labels(gate: str, methods: Mapping[str, str]) -> str:
    """Write ``not learnt: simsiam, mine`` with labels."""
    names = gate.removeprefix(f"{NOT_LEARNT}: ").split(", ")
    return f"{NOT_LEARNT}: {', '.join(methods.get(name, name) for name in names)}"


def markdown(results: Results, methods: Mapping[str, str], stamp: str) -> str:
    """Write the table as Markdown.

    Args:
        results: What was measured.
        methods: Registry name → label.
        stamp: What to print where images were made by a program; empty for real ones.
    """
    rows = [
        [markdown_text(one.label) + f"<br>{one.verdict.word}" if not place else "", *map(markdown_text, text)]
        for one in methods_shown(results, methods)
        for place, text in enumerate(one.rows)
    ]
    lines = [
        "# Was it learnt?",
        "",
        "Each phase on images it did not train on; thresholds of `methods/gates.yaml`.",
        "The last phase of a method decides.",
        *(["", f"**{markdown_text(stamp)}**"] if stamp else []),
        "",
        markdown_table(HEADINGS, rows),
    ]
    return "\n".join(lines) + "\n"
