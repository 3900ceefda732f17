"""One contrast, tested in every way the report shows, and answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.metrics import Metric, metric_of
from harness.spec import Parameters
from harness.statistics.design import Cell, Design, Lineage, design, shares_repeats
from harness.statistics.estimate import (
    Estimate,
    Group,
    difference,
    hedges_g,
    pooled_sd,
    smallest_detectable,
    student,
    welch,
)
from harness.statistics.paper import PublishedNumber
from harness.statistics.runs import correlation, percentile_interval, pretraining_test, variance_split, worst_case
from harness.statistics.schema import Comparison
from harness.statistics.trials import Runs, TrialIndex
from harness.statistics.verdicts import agreement, bound_of, finding

_Fields = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two cells of a contrast.

    Attributes:
        runs: Its trials under the contrast's metric, as printed.
        resamples: Its mean over runs on each patient resample, points, shape ``(resamples,)``, or None; NaN where a
            resample cannot be scored.
        reinitialised: Its encoder is drawn anew for each repeat.
        printed: What the paper prints for it, or None.
        lineage: Where each run's encoder, labels and draws came from.
        planned_seeds: Pretraining seeds that the plan holds for it.
    """

    runs: Runs
    resamples: np.ndarray | None = None
    reinitialised: bool = False
    printed: PublishedNumber | None = None
    lineage: Mapping[TrialIndex, Lineage] = field(default_factory=dict)
    planned_seeds: int = 1

    @cached_property
    def cell(self) -> Cell:
        """Return the runs with their lineage."""
        if not self.reinitialised:
            return Cell(self.runs.values, self.lineage)
        anew = {index: self.lineage.get(index, Lineage("")) for index in self.runs.values}
        return Cell(self.runs.values, {index: lineage._replace(encoder="") for index, lineage in anew.items()})

    def absent_seeds(self) -> int:
        """Count the planned pretraining seeds that have no run, where some have."""
        return 0 if self.reinitialised or not self.runs.values else self.planned_seeds - len(self.runs.by_seed())

    def group(self) -> Group | None:
        """Summarise the runs; None with fewer than two."""
        return Group.of(self.runs.array()) if len(self.runs.values) > 1 else None

    def seed_means(self) -> list[float]:
        """Return the mean of each pretraining seed, or every run where each has its own encoder."""
        if self.reinitialised:
            return self.runs.array()
        return [math.fsum(values) / len(values) for values in self.runs.by_seed().values()]


def compare(
    method: Side,
    reference: Side,
    *,
    margin: float,
    parameters: Parameters,
    not_the_papers: str,
    names: Mapping[str, object],
) -> Comparison:
    """Test method − reference and give both answers.

    Args:
        method: The cell that is compared.
        reference: The cell it is compared with.
        margin: Equivalence margin as printed.
        parameters: α.
        not_the_papers: Why nothing here may be set against the paper; empty if it may.
        names: The identifying columns of the row; its metric says which way is better, its bounds and its unit.

    Raises:
        DataError: If the two cells were resampled differently.
    """
    alpha, metric = parameters.alpha, metric_of(names["metric"])
    a, b = method.group(), reference.group()
    obstacle = _obstacle(method, reference, metric)
    chosen = None if obstacle else design(method.cell, reference.cell)
    estimate = chosen.estimate if chosen else None
    fields: _Fields = {
        "n_method": len(method.runs.values),
        "n_reference": len(reference.runs.values),
        "mean_method": _mean(method.runs),
        "mean_reference": _mean(reference.runs),
        "sd_method": a.sd if a else None,
        "sd_reference": b.sd if b else None,
        "margin": margin,
        "missing": _missing(method.runs, reference.runs),
        **_tests(a, b, chosen, margin, alpha),
        **_pretraining(method, reference, estimate),
        **_patients(method, reference, estimate, alpha),
    }
    fields["correlation"] = _correlation(method, reference) if estimate else None
    fields |= _finding(method, reference, chosen, obstacle, margin, alpha, metric)
    fields |= _agreement(method, reference, (a, b), estimate, obstacle, not_the_papers, margin, alpha)
    return Comparison(p_holm=None, **names, **fields)


def _mean(runs: Runs) -> float | None:
    return float(np.mean(runs.array())) if runs.values else None


def _missing(method: Runs, reference: Runs) -> str:
    sides = (("method", method.missing), ("reference", reference.missing))
    return "; ".join(f"{side}: {text}" for side, text in sides if text)


def _obstacle(method_side: Side, reference_side: Side, metric: Metric) -> str:
    """Say why the contrast must not be read from the runs that remain; empty if it may be."""
    method, reference = method_side.runs, reference_side.runs
    sides = (("method", method), ("reference", reference))
    diverged = [f"{side}: {runs.diverged} diverged" for side, runs in sides if runs.diverged]
    if diverged:
        low_method, high_method = worst_case(method.array(), method.planned - len(method.values), *metric.bounds)
        low_reference, high_reference = worst_case(
            reference.array(), reference.planned - len(reference.values), *metric.bounds
        )
        return (
            f"{'; '.join(diverged)}; whatever the missing runs would have scored, the effect lies between "
            f"{low_method - high_reference:+.2f} and {high_method - low_reference:+.2f} {metric.unit}"
        )
    counts = method.scored_classes | reference.scored_classes
    if len(counts) > 1:
        listed = " and ".join(str(count) for count in sorted(counts))
        return f"the {metric.label}s average over {listed} scored classes and are never compared"
    absent = [
        f"{name}: {side.absent_seeds()} of {side.planned_seeds} pretraining seeds without a run"
        for name, side in (("method", method_side), ("reference", reference_side))
        if side.absent_seeds() > 0
    ]
    if absent:
        return "; ".join(absent)
    lacking = _missing(method, reference)
    if lacking and min(len(method.values), len(reference.values)) < 2:
        return lacking
    return ""


def _tests(a: Group | None, b: Group | None, chosen: Design | None, margin: float, alpha: float) -> _Fields:
    empty = ("effect", "ci_low", "ci_high", "t", "df", "p", "p_student", "p_welch", "hedges_g", "smallest_detectable")
    more = ("p_tost", "tost_power", "probability_above", "probability_below")
    fields: _Fields = {**dict.fromkeys((*empty, *more)), "design": "", "design_note": ""}
    if a is None or b is None or chosen is None:
        return fields
    estimate = chosen.estimate
    interval = estimate.interval()
    below = estimate.probability_above(-margin)
    return fields | {
        "design": chosen.name,
        "design_note": chosen.note,
        "effect": estimate.effect,
        "ci_low": interval[0] if interval else None,
        "ci_high": interval[1] if interval else None,
        "t": estimate.t,
        "df": estimate.df if estimate.testable else None,
        "p": estimate.p,
        "p_student": student(a, b).p,
        "p_welch": welch(a, b).p,
        "hedges_g": hedges_g(a, b),
        "smallest_detectable": smallest_detectable(estimate, alpha) if estimate.testable else None,
        "p_tost": estimate.p_tost(margin),
        "tost_power": estimate.tost_power(margin, alpha),
        "probability_above": estimate.probability_above(margin),
        "probability_below": None if below is None else 1 - below,
    }


def _correlation(method: Side, reference: Side) -> float | None:
    """Correlate the runs of two cells that share label subsets or seeds, repeat by repeat."""
    if not shares_repeats(method.cell, reference.cell):
        return None
    common = sorted(set(method.runs.values) & set(reference.runs.values))
    return correlation([method.runs.values[i] for i in common], [reference.runs.values[i] for i in common])


def _pretraining(method: Side, reference: Side, estimate: Estimate | None) -> _Fields:
    """Show the cruder test on the encoders' means beside the crossed design, and the spread split in two."""
    fields: _Fields = dict.fromkeys(("p_pretraining", "df_pretraining", "sd_pretraining", "sd_repeat"))
    if estimate is None or max(method.planned_seeds, reference.planned_seeds) < 2:
        return fields
    test = pretraining_test(method.seed_means(), reference.seed_means())
    if test is not None and test.testable:
        fields |= {"p_pretraining": test.p, "df_pretraining": test.df}
    matrices = [side.runs.matrix() for side in (method, reference) if not side.reinitialised]
    splits = [split for matrix in matrices if matrix is not None and (split := variance_split(matrix)) is not None]
    if splits:
        fields |= {
            "sd_pretraining": math.sqrt(sum(split.pretraining**2 for split in splits) / len(splits)),
            "sd_repeat": math.sqrt(sum(split.repeat**2 for split in splits) / len(splits)),
        }
    return fields


def _patients(method: Side, reference: Side, estimate: Estimate | None, alpha: float) -> _Fields:
    fields: _Fields = {"dagger": False, "resamples_lost": 0}
    fields |= dict.fromkeys(("patient_low", "patient_high", "joint_low", "joint_high"))
    if estimate is None or method.resamples is None or reference.resamples is None:
        return fields
    if method.resamples.shape != reference.resamples.shape:
        raise DataError(
            f"found {method.resamples.size} and {reference.resamples.size} patient resamples of one task; expected the "
            "same resamples for every method; run `dvc repro`."
        )
    differences = method.resamples - reference.resamples
    scored = differences[np.isfinite(differences)]
    fields["resamples_lost"] = differences.size - scored.size
    if scored.size < 2:
        return fields
    low, high = percentile_interval(scored)
    both = _with_patients(estimate, float(np.var(scored, ddof=1))).interval()
    p = estimate.p
    return fields | {
        "patient_low": low,
        "patient_high": high,
        "dagger": p is not None and p < alpha and low <= 0 <= high,
        "joint_low": both[0] if both else None,
        "joint_high": both[1] if both else None,
    }


def _with_patients(estimate: Estimate, variance: float) -> Estimate:
    """Add the variance over test patients, which many resamples know, to that over runs and encoders."""
    over_runs = estimate.standard_error**2
    total = over_runs + variance
    df = total**2 / (over_runs**2 / estimate.df) if over_runs > 0 else 1e9
    return Estimate(estimate.effect, math.sqrt(total), df)


def _finding(
    method: Side,
    reference: Side,
    chosen: Design | None,
    obstacle: str,
    margin: float,
    alpha: float,
    metric: Metric,
) -> _Fields:
    identical = len(method.runs.values) > 1 and dict(method.runs.values) == dict(reference.runs.values)
    ours, beside = _mean(method.runs), _mean(reference.runs)
    bound = None if chosen is None or ours is None or beside is None else bound_of(ours, beside, margin, *metric.bounds)
    answer = finding(
        chosen.estimate if chosen else None,
        margin,
        alpha,
        obstacle=obstacle,
        identical=identical,
        bound=bound,
        metric=metric,
    )
    remarks = [answer.note]
    if chosen is not None:
        for side, cell in (("method", method), ("reference", reference)):
            if cell.runs.missing:
                remarks.append(f"{side}: {len(cell.runs.values)} of {cell.runs.planned} runs")
            if cell.runs.flags:
                remarks.append(f"{side}: {cell.runs.flags}")
    return {"finding": answer.finding, "finding_note": "; ".join(part for part in remarks if part)}


def _agreement(
    method: Side,
    reference: Side,
    groups: tuple[Group | None, Group | None],
    estimate: Estimate | None,
    obstacle: str,
    not_the_papers: str,
    margin: float,
    alpha: float,
) -> _Fields:
    """Set our effect beside the paper's, printed with or without a spread."""
    names = ("published_effect", "published_low", "published_high", "published_p")
    tests = ("difference", "difference_low", "difference_high", "difference_p", "difference_df", "difference_p_tost")
    fields: _Fields = {**dict.fromkeys((*names, *tests)), "published_sd_assumed": False}
    a, b = groups
    ours, beside = method.printed, reference.printed
    theirs: Estimate | None = None  # as the paper tests it
    spread: Estimate | None = None  # without assuming equal variances
    remark = ""
    if ours is not None and beside is not None and ours.mean is not None and beside.mean is not None:
        fields["published_effect"] = float(ours.mean - beside.mean)  # subtracted as printed, in decimals
        if ours.group is not None and beside.group is not None:
            theirs = student(ours.group, beside.group)
            spread = welch(ours.group, beside.group)
            fields["published_p"] = theirs.p
        elif a and b and not not_the_papers and not obstacle:
            # Our spread stands in for the one not printed; a spread from other images or another protocol may not.
            runs = min(ours.runs, beside.runs)
            remark, fields["published_sd_assumed"] = f"σ assumed{_unstated(ours, beside)}", True
            spread = Estimate(fields["published_effect"], pooled_sd(a, b) * math.sqrt(2 / runs), a.n + b.n - 2)
            theirs = spread
        if theirs is not None and (interval := theirs.interval()) is not None:
            fields["published_low"], fields["published_high"] = interval
    reason = not_the_papers or obstacle
    if not reason and estimate is None and fields["published_effect"] is not None:
        reason = "fewer than two runs a side"
    apart = difference(estimate, spread) if estimate is not None and spread is not None and not reason else None
    effects = (estimate.effect, fields["published_effect"]) if apart is not None and estimate is not None else None
    answer = agreement(apart, margin, alpha, obstacle=reason, remark=remark, effects=effects)
    if apart is not None:
        interval = apart.interval()
        fields |= {
            "difference": apart.effect,
            "difference_low": interval[0] if interval else None,
            "difference_high": interval[1] if interval else None,
            "difference_p": apart.p,
            "difference_df": apart.df,
            "difference_p_tost": apart.p_tost(margin),
        }
    return fields | {"agreement": answer.agreement, "agreement_reason": answer.reason}


def _unstated(*numbers: PublishedNumber) -> str:
    """Say what stands in for a number of runs that the paper does not state."""
    runs = {number.runs for number in numbers if number.n is None}
    return f", number of runs unstated and taken as {min(runs)}" if runs else ""
