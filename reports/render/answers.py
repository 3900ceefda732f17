"""Answers the questions of ``reports/tables.yaml`` in words, from contrasts and views alone.

An answer is decided by p values that are corrected within each family (Holm), so that a yes to "in any of them?" may
be read as one. *Unresolved* is an answer: p ≥ α is never called a no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.metrics import metric_of
from harness.published import in_families
from harness.statistics.schema import Comparison, View
from reports.render import wording
from reports.render.formats import markdown_table, markdown_text
from reports.render.inputs import Question, Results
from reports.render.learnt import with_labels
from reports.render.setting import setting

HEADINGS = (
    "Contrast", "Effect [95 %]", "95 % over patients", "95 % over both", "p", "p corrected (m)", "Pretrainings",
    "Finding",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One question and what the runs say to it.

    Attributes:
        name: Its key; an anchor.
        question: As asked.
        short: A word or two: ``yes, in 2 of 6``, ``unresolved``.
        sentences: What a reviewer can quote, one sentence each.
        contrasts: Every contrast behind it that could be tested.
        stamp, setting: What to print beside its numbers.
    """

    name: str
    question: str
    short: str
    sentences: tuple[str, ...]
    contrasts: tuple[Comparison, ...]
    stamp: str
    setting: str


def answers(
    questions: Mapping[str, Question],
    results: Results,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
    alpha: float,
) -> list[Answer]:
    """Answer every question that has a tested contrast.

    Args:
        questions: By name, in the order of the report.
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.
        alpha: Level of the tests.
    """
    found = []
    for name, question in questions.items():
        rows = [c for c in results.contrasts if _asked(question, c) and c.effect is not None]
        if not rows:
            continue
        better, worse = _standing(rows, alpha, 1), _standing(rows, alpha, -1)
        sentences = [_verdict(rows, better, worse, alpha), *_where(better, "Better"), *_where(worse, "Worse")]
        sentences += _reservations(rows, [*better, *worse])
        sentences += [_view(view, methods, rows) for view in results.views if _viewed(question, view, rows)]
        found.append(
            Answer(
                name=name,
                question=question.question,
                short=_count(rows, better, worse) if question.open else _short(rows, better, worse),
                sentences=tuple(sentences),
                contrasts=tuple(rows),
                stamp=wording.stamp_of(rows),
                setting=setting(results.cohorts, tasks, (row.task for row in rows)),
            )
        )
    return found


def introduction(found: Sequence[Answer]) -> str:
    """Say how answers are made, and what their effects are in."""
    unit = wording.units(contrast.metric for answer in found for contrast in answer.contrasts)
    return (
        f"Each answer follows by rule from the contrasts below it. An effect is method − reference in {unit}; p is "
        "corrected within the family by Holm (m contrasts). Unresolved is an answer: the runs show neither a "
        "difference nor equivalence."
    )


def row(contrast: Comparison) -> tuple[str, ...]:
    """Say a contrast in texts, under ``HEADINGS``."""
    c = contrast
    crossed = c.design.startswith("crossed")
    spread = f", sd {wording.number(c.sd_pretraining)}" if c.sd_pretraining is not None else ""
    # The design stands under "Pretrainings".
    reason = "; ".join(part for part in (c.gate, c.missing, c.finding_note) if part)
    return (
        wording.contrast_title(c),
        f"{wording.signed(c.effect)} {wording.interval(c.ci_low, c.ci_high)}",
        wording.interval(c.patient_low, c.patient_high),
        wording.interval(c.joint_low, c.joint_high),
        wording.probability(c.p),
        f"{wording.probability(c.p_holm)} ({c.family_size})",
        f"several{spread}" if crossed else "one a side",
        f"{wording.mark(c)} {c.finding}" + (f" ({reason})" if reason else ""),
    )


def markdown(found: Sequence[Answer]) -> str:
    """Write all answers as Markdown: the words first, then the contrasts behind them."""
    lines = ["# What was found", "", introduction(found)]
    for answer in found:
        lines += ["", f"## {markdown_text(answer.question)}", "", f"**{markdown_text(answer.short.capitalize())}.**"]
        for note in (answer.stamp, answer.setting):
            lines += ["", f"**{markdown_text(note)}**"] if note else []
        lines += ["", *(f"- {markdown_text(sentence)}" for sentence in answer.sentences), ""]
        lines.append(markdown_table(HEADINGS, [[markdown_text(text) for text in row(c)] for c in answer.contrasts]))
    return "\n".join(lines) + "\n"


def _asked(question: Question, contrast: Comparison) -> bool:
    if not in_families(contrast.family, question.families) or contrast.reference in question.not_against:
        return False
    return not question.against or contrast.reference in question.against


def _standing(rows: Sequence[Comparison], alpha: float, sign: int) -> list[Comparison]:
    """List what is better (or worse) after correction within its family; what is equivalent is neither."""
    word = "better" if sign > 0 else "worse"
    return [c for c in rows if c.finding == word and c.p_holm is not None and c.p_holm < alpha]


def _count(rows: Sequence[Comparison], better: Sequence[Comparison], worse: Sequence[Comparison]) -> str:
    return f"better in {len(better)}, worse in {len(worse)} of {len(rows)}"


def _short(rows: Sequence[Comparison], better: Sequence[Comparison], worse: Sequence[Comparison]) -> str:
    total = len(rows)
    if better and worse:
        return _count(rows, better, worse)
    if better:
        return f"yes, in {len(better)} of {total}"
    if worse:
        return f"no: worse in {len(worse)} of {total}"
    same = sum(c.finding in ("equivalent", "identical") for c in rows)
    return f"no: equivalent in all {total}" if same == total else "unresolved"


def _verdict(
    rows: Sequence[Comparison], better: Sequence[Comparison], worse: Sequence[Comparison], alpha: float
) -> str:
    """Count the outcomes; together they come to all contrasts."""
    words = Counter[str](c.finding for c in rows if c not in better and c not in worse)
    alone = words.pop("better", 0) + words.pop("worse", 0)
    parts = [f"{len(better)} better", f"{len(worse)} worse"]
    parts += [f"{alone} significant alone but not after correction"] if alone else []
    parts += [f"{words[word]} {word}" for word in wording.FINDINGS if words[word]]
    level = wording.threshold(alpha)
    *most, last = [str(size) for size in sorted({c.family_size for c in rows})]
    sizes = f"{', '.join(most)} or {last}" if most else last
    within = f"within its family of {sizes} (Holm, p < {level})"
    each = "each with" if len(rows) > 1 else "with"
    return f"Of {wording.counted(len(rows), 'contrast')}, {each} p corrected {within}: {', '.join(parts)}."


def _where(rows: Sequence[Comparison], word: str) -> list[str]:
    """Name the contrasts that stand, by task and label fraction."""
    columns: dict[str, list[str]] = {}
    single = len({(c.reference, metric_of(c.metric).delta is not None) for c in rows}) == 1
    for c in rows:
        name = c.method_label if single else f"{c.method_label} {wording.MINUS} {c.reference_label}"
        where = wording.column(c.task_label, c.label_fraction) + wording.beside(c.metric)
        mark = wording.DAGGER if c.dagger else ""
        unlearnt = f" ({c.gate})" if c.gate else ""
        columns.setdefault(where, []).append(
            f"{name} {wording.signed(c.effect)}{mark} {wording.interval(c.ci_low, c.ci_high)}, "
            f"corrected p {wording.probability(c.p_holm)}{unlearnt}"
        )
    return [f"{word} on {where}: {'; '.join(names)}." for where, names in columns.items()]


def _reservations(rows: Sequence[Comparison], standing: Sequence[Comparison]) -> list[str]:
    """Say what these tests do not cover: other patients, other pretrainings, effects too small for so few runs."""
    said = []
    if held := [c for c in standing if c.patient_low is not None]:
        back = sum(c.dagger for c in held)
        if len(held) == 1:
            holds = f"holds 0 ({wording.DAGGER})" if back else "does not hold 0"
            said.append(f"Its interval over resampled test patients {holds}.")
        elif back:
            said.append(
                f"For {back} of these {len(held)} the interval over resampled test patients holds 0 ({wording.DAGGER})."
            )
        else:
            said.append(f"For none of these {len(held)} does the interval over resampled test patients hold 0.")
    crossed = [c for c in rows if c.design.startswith("crossed")]
    if crossed:
        spreads = [c.sd_pretraining for c in crossed if c.sd_pretraining is not None]
        unit = wording.units(c.metric for c in crossed)
        span = f"; the spread between pretrainings is {_span(spreads)} {unit}" if spreads else ""
        said.append(f"{_resting(crossed, rows)} on several pretraining seeds{span}.")
    if unlearnt := [c for c in rows if c.gate]:
        those = sum(c.gate != "" for c in standing)
        also = f", {those} of them among those named" if those else ""
        of = wording.counted(len(rows), "contrast")
        said.append(f"In {len(unlearnt)} of {of} an encoder was not learnt by its own gates{also}.")
    if lone := [c for c in rows if c not in crossed]:
        whose = "its interval" if len(lone) == 1 else "their intervals"
        said.append(f"{_resting(lone, rows)} on one checkpoint a side: pretraining noise is not in {whose}.")
    open_ = [c for c in rows if c.finding == "unresolved" and c.smallest_detectable is not None]
    if open_:
        power = _span([float(c.smallest_detectable or 0) for c in open_])
        unit = wording.units(c.metric for c in open_)
        where = "the unresolved one" if len(open_) == 1 else "the unresolved ones"
        said.append(f"In {where} these runs would have found effects from {power} {unit} (power .80).")
    return said


def _resting(some: Sequence[Comparison], rows: Sequence[Comparison]) -> str:
    """Write ``2 of 9 contrasts rest``."""
    return f"{len(some)} of {wording.counted(len(rows), 'contrast')} rest{'s' if len(some) == 1 else ''}"


def _span(values: Sequence[float]) -> str:
    low, high = wording.number(min(values)), wording.number(max(values))
    return low if low == high else f"{low} to {high}"


def _viewed(question: Question, view: View, rows: Sequence[Comparison]) -> bool:
    """Say whether a view is of these contrasts as a whole: no single column, no pair of another question."""
    pairs = {(c.family, c.method, c.reference) for c in rows}
    if view.family not in question.families or view.family not in {c.family for c in rows}:
        return False
    return view.task == "" and (not view.method or (view.family, view.method, view.reference) in pairs)


def _view(view: View, methods: Mapping[str, str], rows: Sequence[Comparison]) -> str:
    gate = f" ({with_labels(view.gate, methods)})" if view.gate else ""
    if view.method:
        pair = f"{methods.get(view.method, view.method)} over {methods.get(view.reference, view.reference)}"
        chance = f"{wording.number(view.estimate)} {wording.plain_interval(view.low, view.high)}"
        return f"Probability that one run improves, {pair}: {chance}, {wording.counted(view.units, 'cell')}{gate}."
    unit = wording.units(c.metric for c in rows)
    return (
        f"Mean gain over {wording.counted(view.units, 'base')}, all columns: {wording.signed(view.estimate)} "
        f"{wording.interval(view.low, view.high)} {unit} (the unit is a pair of checkpoints){gate}."
    )
