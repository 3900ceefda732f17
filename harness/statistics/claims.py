"""The paper's claims: ``results/published/claims.yaml``, expanded to one claim a contrast."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.errors import ConfigurationError
from harness.spec import KEY, Frozen
from harness.statistics.paper import Paper, PublishedNumber
from harness.typed import read
from harness.yaml_files import load_yaml

Source = Literal["fig4", "tab1", "tab2", "tab3", "tab4", "tab5", "text"]
ClaimType = Literal["significance", "direction", "equivalence", "arithmetic"]
Says = Literal["better", "not different", "not worse", "higher", "equivalent", "equals"]
MarkColumn = Literal["mark_imagenet", "mark_supervised"]

_SAYS: dict[ClaimType, tuple[Says, ...]] = {
    "significance": ("better", "not different", "not worse"),
    "direction": ("higher",),
    "equivalence": ("equivalent",),
    "arithmetic": ("equals",),
}


class Term(Frozen):
    """One contrast of printed numbers: method − reference on a task, at a fraction and, in Tab. 5, a threshold."""

    method: str
    reference: str
    task: str
    label_fraction: float
    delta: float | None = None


class Claim(Frozen):
    """One claim of the paper.

    Attributes:
        id: Unique; built from the entry's id and the contrast.
        source, type, where, claim: As in the file: where it is made, of what kind, and what it says in our words.
        says: What must hold.
        terms: The contrast it is about; several for an average.
        printed: The number that arithmetic must give, as printed; None for the other types.
        also_at: Further equivalence margins, in points, that the note reports.
        remark: What the paper itself says against or beside the claim.
    """

    id: str
    source: str
    type: ClaimType
    where: str
    claim: str
    says: Says
    terms: tuple[Term, ...]
    printed: Decimal | None = None
    also_at: tuple[float, ...] = ()
    remark: str = ""


class ClaimEntry(Frozen):
    """One entry of the file; see the header there.

    Attributes:
        says: What must hold, unless the printed marks say it.
        marks: Column of ``paper.csv`` whose marks make the claim; contrasts without a mark make none.
        unmarked: Column of ``paper.csv``: only contrasts *without* a mark there make this claim.
        quantity: For arithmetic: the stated gain (Fig. 4), the number beside an arrow, or an average of differences.
        printed: For an average: the number as the text prints it.
        remarks: ``method.task`` → remark.
    """

    id: str = Field(pattern=KEY)
    source: Source
    type: ClaimType
    where: str = Field(min_length=1)
    claim: str = Field(min_length=1)
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    label_fractions: tuple[float, ...] = (1.0,)
    deltas: tuple[float, ...] = ()
    says: Says | None = None
    marks: MarkColumn | None = None
    unmarked: MarkColumn | None = None
    quantity: Literal["gain", "arrow", "average"] | None = None
    printed: Decimal | None = None
    also_at: tuple[float, ...] = ()
    remarks: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.type == "arithmetic") != (self.quantity is not None):
            raise ValueError(f"{self.id}: quantity belongs to arithmetic claims, and each of them names one")
        if (self.quantity == "average") != (self.printed is not None):
            raise ValueError(f"{self.id}: printed belongs to averages, and each of them prints one number")
        if self.type != "arithmetic" and (self.says is None) == (self.marks is None):
            raise ValueError(f"{self.id}: either says or marks makes the claim; give one of them")
        if self.says is not None and self.says not in _SAYS[self.type]:
            expected = " or ".join(f'"{word}"' for word in _SAYS[self.type])
            raise ValueError(f'{self.id}: a claim of type {self.type} says {expected}, found "{self.says}"')
        return self

    def terms(self) -> tuple[Term, ...]:
        """List the contrasts the entry crosses."""
        return tuple(
            Term(method=method, reference=reference, task=task, label_fraction=fraction, delta=delta)
            for method, reference in self.pairs
            for task in self.tasks
            for fraction in self.label_fractions
            for delta in (self.deltas or (None,))
        )

    def expand(self, paper: Paper) -> tuple[Claim, ...]:
        """Return one claim a contrast; one in all for an average."""
        shared: dict[str, Any] = {
            "source": self.source,
            "type": self.type,
            "where": self.where,
            "claim": self.claim,
            "also_at": self.also_at,
        }
        if self.quantity == "average":
            return (Claim(id=self.id, says="equals", terms=self.terms(), printed=self.printed, **shared),)
        claims = []
        for term in self.terms():
            says: Says | None = "equals" if self.quantity else self.says
            mark = _printed(paper, self, term, "tab2") if self.marks or self.unmarked else None
            if self.marks and mark is not None:
                symbol = getattr(mark, self.marks)
                if self.type == "significance":
                    says = {"↑": "better", "*": "not different"}.get(symbol)  # type: ignore[assignment]
                else:
                    says = "equivalent" if symbol == "*" else None
            if self.unmarked and mark is not None and getattr(mark, self.unmarked):
                says = None
            if says is None:
                continue
            name = f"{self.id}.{term.method}.{term.task}"
            name += f".{term.label_fraction:g}" if len(self.label_fractions) > 1 else ""
            name += f".{term.delta:g}" if term.delta is not None else ""
            claims.append(
                Claim(
                    id=name,
                    says=says,
                    terms=(term,),
                    printed=_printed_difference(paper, self, term) if self.quantity else None,
                    remark=self.remarks.get(f"{term.method}.{term.task}", ""),
                    **shared,
                )
            )
        return tuple(claims)


def _printed(paper: Paper, entry: ClaimEntry, term: Term, place: str) -> PublishedNumber:
    """Find the row of ``paper.csv`` that a claim reads."""
    for number in paper.numbers:
        key = (number.place, number.method, number.task, number.label_fraction, number.delta)
        if key == (place, term.method, term.task, term.label_fraction, term.delta):
            return number
    raise ConfigurationError(
        f'claim "{entry.id}" reads {place} for {term.method} × {term.task}, which paper.csv does not hold; '
        "correct the claim's pairs or tasks."
    )


def _printed_difference(paper: Paper, entry: ClaimEntry, term: Term) -> Decimal:
    number = _printed(paper, entry, term, entry.source)
    printed = number.mean if entry.quantity == "gain" else number.printed_difference
    if printed is None or number.reference != term.reference:
        raise ConfigurationError(
            f'claim "{entry.id}" reads a difference of {term.method} from {term.reference} on {term.task}, which '
            f"{entry.source} does not print; correct the claim's pairs or tasks."
        )
    return printed


class _File(Frozen):
    claims: tuple[ClaimEntry, ...]


def read_claims(path: Path, paper: Paper) -> tuple[Claim, ...]:
    """Read ``results/published/claims.yaml`` and expand it.

    Raises:
        ConfigurationError: If the file is absent, malformed, or reads a number the paper does not print.
    """
    document = load_yaml(path)
    entries = read(_File, document, f"{path}, ").claims
    claims = tuple(claim for entry in entries for claim in entry.expand(paper))
    twice = [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]
    if twice:
        raise ConfigurationError(f"{path} makes {', '.join(twice)} more than once; give each entry its own id.")
    return claims
