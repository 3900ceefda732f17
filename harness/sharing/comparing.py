"""Two folders of results, cell by cell: a rerun, another machine, another version, a colleague's.

A cell is a method on a task at a label fraction, under one metric. A cell that both folders hold is tested as a
contrast is (``harness.statistics.contrast``): the second folder's runs minus the first's, with the same margins. Runs
with one trial id are the same experiment, so they count as paired by repeat and by encoder; runs with other ids are
taken for independent. Holm's correction runs over all cells of one metric that have a p value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import ConfigurationError, many
from harness.metrics import metric_of
from harness.published import CellKey
from harness.sharing.folders import ResultsFolder
from harness.spec import Frozen, Parameters
from harness.statistics.contrast import Side, compare
from harness.statistics.design import Lineage
from harness.statistics.estimate import holm
from harness.statistics.schema import Comparison
from harness.statistics.trials import TrialIndex

Images = Literal["same", "different", "unknown"]
Verdict = Literal[
    "identical", "equivalent", "better", "worse", "unresolved", "at the floor", "at the ceiling", "constant shift",
    "only in A", "only in B",
]  # fmt: skip
NOWHERE = ("only in A", "only in B")


class CellDifference(Frozen):
    """One cell under one metric in two folders, A and B; numbers as printed (points, or the metric's unit).

    Attributes:
        method, task, label_fraction, metric: Which cell.
        n_a, n_b, mean_a, mean_b, sd_a, sd_b: Its runs with a value; None where there are too few.
        same_trials: Runs whose trial id stands in both folders. bit_equal: those of them with the same value.
        images: Whether the task's cohort has one id in both folders.
        design: How the difference is tested; empty if it is not.
        effect, ci_low, ci_high, p, p_holm, p_tost: B − A, its 95 % interval and its tests.
        margin: Equivalence margin.
        verdict: ``better`` says that B is better than A. ``identical``: the same value in every run;
            ``constant shift``: every run moved by as much, so no test applies.
        note: What a reader must know with it.
    """

    method: str
    task: str
    label_fraction: float
    metric: str
    n_a: int
    n_b: int
    mean_a: float | None
    mean_b: float | None
    sd_a: float | None
    sd_b: float | None
    same_trials: int
    bit_equal: int
    images: Images
    design: str
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    p_tost: float | None
    margin: float
    verdict: Verdict
    note: str


@dataclass(frozen=True)
class Differences:
    """What two folders come to.

    Attributes:
        rows: A row a cell and metric that has a margin.
        values, equal: Values of the same trials in both folders, under every metric and count, and those that are
            bit-equal.
        alpha: Level of the tests.
        without_margin: Metrics that have no margin, so that nothing but bit-equality is said of them.
    """

    rows: Sequence[CellDifference]
    values: int
    equal: int
    alpha: float
    without_margin: Sequence[str] = ()

    @property
    def verdicts(self) -> Counter[str]:
        """Count the rows of each verdict."""
        return Counter(row.verdict for row in self.rows)

    def sentence(self) -> str:
        """Say it in one sentence."""
        both = [row for row in self.rows if row.verdict not in NOWHERE]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        held = sum(row.p_holm is not None and row.p_holm < self.alpha for row in both)
        return (
            f"{many(len(both), 'cell')} with runs in both folders ({counts}); {held} differ after Holm's correction; "
            f"{self.equal} of {many(self.values, 'value')} of the same trials bit-equal."
        )


def compare_results(
    a: ResultsFolder, b: ResultsFolder, margin_of: Callable[[str], float], parameters: Parameters
) -> Differences:
    """Compare every cell of two folders.

    Args:
        a: The first folder, the reference.
        b: The second.
        margin_of: Equivalence margin of a metric, as printed.
        parameters: α.

    Raises:
        ConfigurationError: If a metric is unknown here or has no margin.
        DataError: If a file of either folder is damaged or was edited.
    """
    cells = sorted({*a.rows, *b.rows})
    margins = {metric: _margin(metric, margin_of) for cell in cells for metric in _metrics(a, b, cell)}
    rows = [
        _difference(a, b, cell, metric, margin, parameters)
        for cell in cells
        for metric in _metrics(a, b, cell)
        if (margin := margins[metric]) is not None
    ]
    equal = [same for cell in cells for metric in _named(a, b, cell) for same in _same(a, b, cell, metric).values()]
    without = sorted(metric for metric, margin in margins.items() if margin is None)
    return Differences(_corrected(rows), len(equal), sum(equal), parameters.alpha, without)


def _margin(metric: str, margin_of: Callable[[str], float]) -> float | None:
    metric_of(metric)  # an unknown metric is a fault of the folder or of this checkout, and is said
    try:
        return margin_of(metric)
    except ConfigurationError:
        return None


def _metrics(a: ResultsFolder, b: ResultsFolder, cell: CellKey) -> Iterator[str]:
    """Yield the metrics that either folder has a value of, without counts."""
    yield from (name for name in _named(a, b, cell) if not metric_of(name).counts)


def _named(a: ResultsFolder, b: ResultsFolder, cell: CellKey) -> list[str]:
    """Return the metrics and counts that either folder has a value of."""
    runs = [run for folder in (a, b) for run in folder.rows.get(cell, {}).values()]
    return list(dict.fromkeys(name for run in runs for name, row in run.items() if row.value is not None))


def _difference(
    a: ResultsFolder, b: ResultsFolder, cell: CellKey, metric: str, margin: float, parameters: Parameters
) -> CellDifference:
    same = _same(a, b, cell, metric)
    sides = [_side(folder, cell, metric, set(same)) for folder in (a, b)]
    names = {
        "family": "", "family_label": "", "family_size": 1, "block": "added", "method": "B", "method_label": "B",
        "reference": "A", "reference_label": "A", "task": cell.task, "task_label": cell.task,
        "label_fraction": cell.label_fraction, "metric": metric, "synthetic": False, "stamp": "",
    }  # fmt: skip
    found = compare(sides[1], sides[0], margin=margin, parameters=parameters, not_the_papers="two folders", names=names)
    verdict = _verdict(found, sides)
    return CellDifference(
        method=cell.method,
        task=cell.task,
        label_fraction=cell.label_fraction,
        metric=metric,
        n_a=found.n_reference,
        n_b=found.n_method,
        mean_a=found.mean_reference,
        mean_b=found.mean_method,
        sd_a=found.sd_reference,
        sd_b=found.sd_method,
        same_trials=len(same),
        bit_equal=sum(same.values()),
        images=_images(a.cohort(cell.task), b.cohort(cell.task)),
        design=found.design,
        effect=found.effect,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p=found.p,
        p_holm=None,
        p_tost=found.p_tost,
        margin=margin,
        verdict=verdict,
        note="" if verdict in NOWHERE else "; ".join(part for part in (found.finding_note, found.design_note) if part),
    )


def _verdict(found: Comparison, sides: Sequence[Side]) -> Verdict:
    """Name what was found; ``sides`` are A's and B's."""
    if not sides[1].runs.values:
        return "only in A"
    if not sides[0].runs.values:
        return "only in B"
    shifted = found.effect is not None and found.effect != 0 and found.p is None
    return "constant shift" if shifted else found.finding


def _same(a: ResultsFolder, b: ResultsFolder, cell: CellKey, metric: str) -> Mapping[TrialIndex, bool]:
    """Return the runs with one trial id in both folders, and whether their values are bit-equal."""
    ours, theirs = a.rows.get(cell, {}), b.rows.get(cell, {})
    found = {}
    for index in sorted(ours.keys() & theirs.keys()):
        one, other = ours[index].get(metric), theirs[index].get(metric)
        if one is None or other is None or not one.trial_id or one.trial_id != other.trial_id:
            continue
        if one.value is not None and other.value is not None:
            found[index] = repr(one.value) == repr(other.value)
    return found


def _side(folder: ResultsFolder, cell: CellKey, metric: str, same: set[TrialIndex]) -> Side:
    runs = folder.trials.runs(cell, metric, planned=0)
    lineage = {index: _lineage(folder, cell, index, index in same) for index in runs.values}
    return Side(
        runs,
        reinitialised=folder.drawn_anew(cell.method),
        lineage=lineage,
        planned_seeds=max(1, len(runs.by_seed())),
    )


def _lineage(folder: ResultsFolder, cell: CellKey, index: TrialIndex, same: bool) -> Lineage:
    """Say where a run came from: one trial id has one encoder, one label subset and one order of samples."""
    encoder = f"seed {index.pretrain_seed}"
    if not same:
        return Lineage(encoder)
    trial = next(iter(folder.rows[cell][index].values())).trial_id
    return Lineage(encoder, frozenset({encoder}), trial, trial)


def _images(ours: str, theirs: str) -> Images:
    if not ours or not theirs:
        return "unknown"
    return "same" if ours == theirs else "different"


def _corrected(rows: Sequence[CellDifference]) -> list[CellDifference]:
    """Correct p within each metric, over the cells that have one."""
    adjusted: dict[int, float | None] = {}
    for metric in sorted({row.metric for row in rows}):
        own = [number for number, row in enumerate(rows) if row.metric == metric and row.p is not None]
        adjusted |= dict(zip(own, holm([rows[number].p for number in own], len(own)), strict=True))
    return [row.model_copy(update={"p_holm": adjusted.get(number)}) for number, row in enumerate(rows)]
