"""The paper's numbers, as ``results/published/paper.csv`` holds them: facts with their place, nothing derived."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from harness.errors import ConfigurationError
from harness.metrics import metric_of
from harness.spec import Frozen
from harness.statistics.estimate import Group
from harness.statistics.printed import UNSTATED_RUNS
from harness.typed import sentences


class PublishedNumber(Frozen):
    """One printed cell of a table, or one gain stated in the text.

    Attributes:
        place: ``tab1`` … ``tab5``, ``fig4``.
        kind: ``score``, or ``gain``: a difference stated in §5.1 beside Fig. 4.
        method, task, label_fraction, metric: Registry names.
        reference: What a printed arrow or gain refers to; empty where none is printed.
        delta: IoU threshold of a localization score, else None.
        mean: In points as printed; None where the paper prints "-".
        sd: In points as printed; None in Tab. 1, Tab. 5 and Fig. 4.
        printed_difference: The number beside an arrow, with the decimals it was printed with.
        arrow: ``up`` or ``down`` where an arrow is printed.
        mark_imagenet, mark_supervised: Tab. 2's marks: ``↑`` significantly better, ``*`` statistically equivalent.
        n: Runs behind the number; None where the paper does not state it (Tab. 1: "multiple runs").
        note: What the printed number does not say.
    """

    place: Literal["tab1", "tab2", "tab3", "tab4", "tab5", "fig4"]
    kind: Literal["score", "gain"]
    method: str
    reference: str
    task: str
    label_fraction: float
    metric: str
    delta: float | None
    mean: Decimal | None
    sd: Decimal | None
    printed_difference: Decimal | None
    arrow: Literal["", "up", "down"]
    mark_imagenet: Literal["", "↑", "*"]
    mark_supervised: Literal["", "↑", "*"]
    n: int | None = Field(ge=2)
    note: str

    @field_validator("delta", "mean", "sd", "printed_difference", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("n", mode="before")
    @classmethod
    def _unstated_is_none(cls, value: object) -> object:
        return None if value == "unstated" else value

    @property
    def unit(self) -> str:
        """What it is printed in: that of its metric."""
        return metric_of(self.metric).unit

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better in its metric."""
        return not metric_of(self.metric).higher_is_better

    @property
    def runs(self) -> int:
        """The stated number of runs, or the fewest that an unstated one can mean."""
        return UNSTATED_RUNS if self.n is None else self.n

    @property
    def group(self) -> Group | None:
        """The score's runs, reading the printed sd as ddof 1; None without a printed sd."""
        if self.kind != "score" or self.mean is None or self.sd is None:
            return None
        return Group(self.runs, float(self.mean), float(self.sd))


class Paper:
    """The printed numbers, by cell.

    Args:
        numbers: Every row of the file, in its order.
    """

    def __init__(self, numbers: Iterable[PublishedNumber]) -> None:
        self.numbers = tuple(numbers)
        self._scores: dict[tuple[str, str, float, float | None], list[PublishedNumber]] = {}
        for number in self.numbers:
            if number.kind == "score" and number.mean is not None:
                key = (number.method, number.task, number.label_fraction, number.delta)
                self._scores.setdefault(key, []).append(number)

    def score(
        self, method: str, task: str, label_fraction: float, delta: float | None = None
    ) -> PublishedNumber | None:
        """Return the printed score of a cell, or None; a cell that two tables print is the same in both."""
        found = self._scores.get((method, task, label_fraction, delta))
        return found[0] if found else None

    def places(self, method: str, task: str, label_fraction: float, delta: float | None = None) -> str:
        """Name where a cell's score is printed, joined by ``;``."""
        return ";".join(number.place for number in self._scores.get((method, task, label_fraction, delta), ()))


def read_paper(path: Path) -> Paper:
    """Read ``results/published/paper.csv``.

    Raises:
        ConfigurationError: If the file is absent or a row is malformed; every bad row gets one sentence.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); expected the paper's printed numbers; restore it."
        ) from error
    numbers, problems = [], []
    for line, row in enumerate(rows, start=2):
        try:
            numbers.append(PublishedNumber.model_validate(row))
        except ValidationError as error:
            problems += [f"{path}, line {line}, {said}" for said in sentences(error, PublishedNumber)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Paper(numbers)
