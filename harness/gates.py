"""Was it learnt? Judges what each phase measured on held-out images by the thresholds of ``methods/gates.yaml``.

The measurements stand in ``results/<profile>/pretraining/<method>.json``; nothing is trained or measured here. One row
of ``gates.csv`` is one condition of one gate, or a measurement that no gate asks for. The last phase of a method
decides, because its weights are what is transferred:

* *not learnt*: a condition failed, in any pretraining seed;
* *learnt*: each condition of each term was met, in every seed;
* *not gated*: nothing failed and something could not be judged: nothing was pretrained or measured (records of older
  versions), or a term has no gate (one of somebody's own).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError, model_validator

from harness.advice import command
from harness.descriptions import PhaseDescription, PretrainingDescription
from harness.errors import ConfigurationError, DataError
from harness.spec import Frozen, Text
from harness.typed import Mistakes, Number, Rate, read
from harness.yaml_files import load_with_item_lines

GATES = "methods/gates.yaml"
Word = Literal["learnt", "not learnt", "not gated"]
NOT_LEARNT: Word = "not learnt"
NOTHING_PRETRAINED = "nothing was pretrained"
_MAPPINGS: TypeAdapter[list[dict[str, object]]] = TypeAdapter(list[dict[str, object]])
CONDITIONS = ("at_least", "at_most", "times_chance", "times_start", "below_chance_by")


class Measurement(Frozen):
    """What a phase found about one of its terms; ``methods.training.measurements`` describes each.

    Attributes:
        value: None if it was not finite. chance, start: What to hold it against; None where there is none.
    """

    measure: str
    role: str
    term: str
    views: str
    value: float | None
    chance: float | None
    start: float | None
    images: int
    among: int | None


@dataclass(frozen=True)
class Condition:
    """One threshold: its name in the YAML, its number, and the most that the measure can be, if that is known."""

    name: str
    number: float
    at_best: float | None

    @property
    def most(self) -> bool:
        """Whether it is an upper bound."""
        return self.name in ("at_most", "below_chance_by")

    def bound(self, found: Measurement) -> float | None:
        """Return the value that must be reached, or not exceeded; None if what it refers to was not measured."""
        if self.name in ("at_least", "at_most"):
            return self.number
        reference = found.start if self.name == "times_start" else found.chance
        if reference is None:
            return None
        if self.name == "below_chance_by":
            return reference - self.number
        asked = self.number * reference
        return asked if self.at_best is None else min(asked, (reference + self.at_best) / 2)

    def met(self, value: float | None, bound: float) -> bool:
        """Say whether a value meets the condition; one that is not finite does not."""
        return value is not None and (value <= bound if self.most else value >= bound)


class Gate(Frozen):
    """One gate of a term, as ``methods/gates.yaml`` describes its keys."""

    measure: Text
    views: Literal["undistorted", "distorted"] | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    times_chance: Rate | None = None
    times_start: Rate | None = None
    below_chance_by: Rate | None = None
    at_best: Rate | None = None
    suffices: bool = True
    why: Text

    @model_validator(mode="after")
    def _refers(self) -> Gate:
        if self.at_best is not None and self.times_chance is None and self.times_start is None:
            raise ValueError("found at_best without times_chance or times_start, which alone use it; remove it")
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its conditions, in the order of ``CONDITIONS``; none if it is reported alone."""
        numbers = ((name, getattr(self, name)) for name in CONDITIONS)
        return tuple(Condition(name, number, self.at_best) for name, number in numbers if number is not None)

    def asks(self, found: Measurement) -> bool:
        """Say whether it is about a measurement."""
        return self.measure == found.measure and self.views in (None, found.views)


Gates = Mapping[str, tuple[Gate, ...]]  # a term's type → its gates


class GateRow(Frozen):
    """One line of ``gates.csv``.

    Attributes:
        method, pretrain_seed, phase, term: Whose; the term by its type.
        measure, views: What was measured; empty in a row that only says why nothing could be judged.
        value, chance, start: What was found, what a network that learnt nothing has, what the fresh one had.
        condition, bound: ``times_chance 12.8`` and the value that this comes to; empty if it is reported alone.
        passed: Empty if there is no condition, or if it could not be judged.
        decides: Whether this is the method's last phase.
        note: Why it could not be judged.
    """

    method: str
    pretrain_seed: int
    phase: str
    term: str
    measure: str = ""
    views: str = ""
    value: float | None = None
    chance: float | None = None
    start: float | None = None
    condition: str = ""
    bound: float | None = None
    passed: bool | None = None
    decides: bool
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a method's gates come to.

    Attributes:
        word: In a word.
        why: Not learnt: which gates failed. Not gated: why not. Learnt: empty.
    """

    word: Word
    why: str = ""


NO_GATES = Verdict("not gated", NOTHING_PRETRAINED)


def read_gates(path: Path) -> dict[str, tuple[Gate, ...]]:
    """Read ``methods/gates.yaml``.

    Raises:
        ConfigurationError: It is absent or malformed, or a term has only gates that pass nobody alone; each sentence
            names its line.
    """
    document, lines = load_with_item_lines(path, "terms")
    given = document.get("terms")
    if not isinstance(given, dict):
        raise ConfigurationError(f'{path}: found no mapping under "terms:"; expected gates by a term\'s dotted type.')
    gates: dict[str, tuple[Gate, ...]] = {}
    wrong: list[str] = []
    for term, items in given.items():
        at = lines.get(term, [0])
        if not isinstance(items, list) or not items:
            wrong.append(f'{path}:{at[0]} (term "{term}"): found {items!r}; expected a list of gates.')
            continue
        own: list[Gate] = []
        for item, line in zip(items, at[1:], strict=True):
            try:
                own.append(read(Gate, item, f'{path}:{line} (term "{term}"): '))
            except Mistakes as error:
                wrong += error.lines
        if len(own) == len(items) and (sentence := _empty(own)):
            wrong.append(f'{path}:{at[0]} (term "{term}"): {sentence}')
        gates[term] = tuple(own)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return gates


def _empty(gates: Iterable[Gate]) -> str:
    """Say what is wrong with a term whose gates pass it without a gate that suffices."""
    binding = [gate for gate in gates if gate.conditions]
    if binding and not any(gate.suffices for gate in binding):
        names = ", ".join(gate.measure for gate in binding)
        return f"found {names} alone, which passes nobody (suffices: false); expected another gate; add one."
    return ""


def judge(pretraining: PretrainingDescription, gates: Gates, where: str) -> list[GateRow]:
    """Judge every phase of a method.

    Args:
        pretraining: What its ``pretraining/<method>.json`` tells.
        gates: What ``read_gates`` returned.
        where: The file, for error messages.

    Returns:
        At least one row for each phase; none for a method without phases.

    Raises:
        DataError: If a measurement is malformed.
    """
    rows: list[GateRow] = []
    for chain in pretraining.pretraining_seeds:
        for phase in chain.phases:
            decides = phase is chain.phases[-1]
            who = _Whose(pretraining.method, chain.pretrain_seed, phase.name, decides)
            rows += _phase_rows(who, phase, gates, where)
    return rows


@dataclass(frozen=True)
class _Whose:
    method: str
    pretrain_seed: int
    phase: str
    decides: bool

    def row(self, term: str, **values: Any) -> GateRow:
        return GateRow(
            method=self.method,
            pretrain_seed=self.pretrain_seed,
            phase=self.phase,
            decides=self.decides,
            term=term,
            **values,
        )


def _phase_rows(who: _Whose, phase: PhaseDescription, gates: Gates, where: str) -> list[GateRow]:
    found = _measurements(phase, f"{where}, phase {who.phase}: ")
    if not found:
        note = "nothing was measured" if phase.status == "ok" else f"phase {phase.status}"
        return [who.row("", note=note)]
    rows = []
    types = [path for path in phase.outline.types if path]  # a recipe of somebody's own may say nothing of the kind
    for term in dict.fromkeys([*types, *(one.term for one in found)]):
        own = [one for one in found if one.term == term]
        rows += [row for one in own for row in _measured(who, one, gates.get(term, ()))]
        rows += list(_lacking(who, term, own, gates))
    return rows


def _measurements(phase: PhaseDescription, prefix: str) -> list[Measurement]:
    """Read a phase's measurements; numbers that are not finite become None."""
    try:
        given = _MAPPINGS.validate_python(phase.measurements)
        return [read(Measurement, _finite(one), prefix) for one in given]
    except (Mistakes, ValidationError) as error:
        text = str(error) if isinstance(error, Mistakes) else f"{prefix}the measurements are no list of mappings."
        raise DataError(f"{text} Write the file again with {command('report')}.") from None


def _finite(given: Mapping[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in given.items()
    }


def _measured(who: _Whose, found: Measurement, gates: Iterable[Gate]) -> Iterator[GateRow]:
    """Give a row for each condition that a measurement must meet, or one row that reports it."""
    values = found.model_dump(include={"measure", "views", "value", "chance", "start"})
    note = "" if found.value is not None else "not a finite number"
    conditions = [condition for gate in gates if gate.asks(found) for condition in gate.conditions]
    if not conditions:
        yield who.row(found.term, **values, note=note)
    for condition in conditions:
        bound = condition.bound(found)
        yield who.row(
            found.term,
            **values,
            condition=f"{condition.name} {condition.number:g}",
            bound=bound,
            passed=None if bound is None else condition.met(found.value, bound),
            note=note or ("" if bound is not None else "what it refers to was not measured"),
        )


def _lacking(who: _Whose, term: str, found: list[Measurement], gates: Gates) -> Iterator[GateRow]:
    """Give a row for each gate of a term that nothing was measured for, and for a term without gates."""
    if term not in gates:
        yield who.row(term, note=f"{GATES} has no gate for this term")
    for gate in gates.get(term, ()):
        if not any(gate.asks(one) for one in found):
            for condition in gate.conditions:
                yield who.row(
                    term,
                    measure=gate.measure,
                    views=gate.views or "",
                    condition=f"{condition.name} {condition.number:g}",
                    note="not measured",
                )


def verdicts(rows: Iterable[GateRow]) -> dict[str, Verdict]:
    """Return method → verdict, of every method that has rows; a method without has ``NO_GATES``."""
    deciding: dict[str, list[GateRow]] = {}
    for row in rows:
        own = deciding.setdefault(row.method, [])
        if row.decides:
            own.append(row)
    return {method: _verdict(own) for method, own in deciding.items()}


def _verdict(rows: list[GateRow]) -> Verdict:
    several = len({row.pretrain_seed for row in rows}) > 1
    if failed := [row for row in rows if row.passed is False]:
        return Verdict(NOT_LEARNT, "; ".join(_failure(row, several) for row in failed))
    if unjudged := [row for row in rows if row.note and (row.condition or not row.measure)]:
        return Verdict("not gated", "; ".join(dict.fromkeys(_reason(row) for row in unjudged)))
    if not any(row.passed for row in rows):
        return Verdict("not gated", "no gate of its terms has a condition")
    return Verdict("learnt")


def named(row: GateRow) -> str:
    """Name a measure for a reader: ``own key, undistorted``."""
    return ", ".join(part for part in (row.measure.replace("_", " "), row.views) if part)


def figure(value: float | None) -> str:
    """Write a measured number with three significant digits."""
    return "–" if value is None else f"{value:.3g}"


def required(row: GateRow) -> str:
    """Write what a row asks for: ``at least 0.05 (12.8 × chance)``; empty if nothing."""
    name, _, number = row.condition.partition(" ")
    if not name:
        return ""
    side = "at most" if name in ("at_most", "below_chance_by") else "at least"
    of = {
        "times_chance": f"{number} × chance",
        "times_start": f"{number} × start",
        "below_chance_by": f"chance − {number}",
    }.get(name, "")
    if row.bound is None:
        return f"{side} {of or number}"
    return f"{side} {figure(row.bound)}" + (f" ({of})" if of else "")


def _failure(row: GateRow, several: bool) -> str:
    seed = f" in pretraining seed {row.pretrain_seed}" if several else ""
    return f"{named(row)} {figure(row.value)}, asked {required(row)}{seed}"


def _reason(row: GateRow) -> str:
    about = named(row) or row.term.rpartition(":")[2]
    return f"{about}: {row.note}" if about else row.note


def gate_words(row: GateRow) -> tuple[str, str, str, str, str, str]:
    """Say a row in six words: measure, value, chance, start, gate, whether it was passed."""
    measure = named(row) or row.term.rpartition(":")[2] or "–"
    passed = {True: "passed", False: "failed", None: row.note or "reported"}[row.passed]
    return measure, figure(row.value), figure(row.chance), figure(row.start), required(row) or "–", passed
