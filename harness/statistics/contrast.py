"""One contrast, tested in every way the report shows, and answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.spec import Parameters
from harness.statistics.estimate import (
    Estimate,
    Group,
    difference_of_effects,
    hedges_g,
    pooled_sd,
    prediction,
    smallest_detectable,
    student,
    welch,
)
from harness.statistics.paper import PUBLISHED_RUNS, PublishedNumber
from harness.statistics.runs import paired, percentile_interval, pretraining_test, variance_split, worst_case
from harness.statistics.schema import Comparison
from harness.statistics.trials import Runs
from harness.statistics.verdicts import agreement, finding

_Fields = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two cells of a contrast.

    Attributes:
        runs: Its trials under the contrast's metric, in points.
        resamples: Its mean over runs on each patient resample, points, shape ``(resamples,)``, or None.
        reinitialised: Its encoder is drawn anew for each repeat.
        printed: What the paper prints for it, or None.
    """

    runs: Runs
    resamples: np.ndarray | None = None
    reinitialised: bool = False
    printed: PublishedNumber | None = None

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
    names: Mapping[str, Any],
) -> Comparison:
    """Test method − reference and give both answers.

    Args:
        method: The cell that is judged.
        reference: The cell it is judged against.
        margin: Equivalence margin in points.
        parameters: α, seed plan and number of pretraining seeds.
        not_the_papers: Why nothing here may be set against the paper; empty if it may.
        names: The identifying columns of the row.

    Raises:
        DataError: If the two cells were resampled differently.
    """
    alpha = parameters.alpha
    a, b = method.group(), reference.group()
    obstacle = _obstacle(method.runs, reference.runs)
    estimate = student(a, b) if a and b and not obstacle else None
    fields: _Fields = {
        "n_method": len(method.runs.values),
        "n_reference": len(reference.runs.values),
        "mean_method": _mean(method.runs),
        "mean_reference": _mean(reference.runs),
        "sd_method": a.sd if a else None,
        "sd_reference": b.sd if b else None,
        "margin": margin,
        "missing": _missing(method.runs, reference.runs),
        **_tests(a, b, estimate, margin, alpha),
        **_pairing(method, reference, estimate, parameters),
        **_pretraining(method, reference, estimate, parameters),
        **_patients(method, reference, estimate, alpha),
    }
    fields |= _finding(method, reference, estimate, obstacle, fields, margin, alpha)
    fields |= _agreement(method, reference, (a, b), obstacle, not_the_papers, margin, alpha)
    return Comparison(p_holm=None, **names, **fields)


def _mean(runs: Runs) -> float | None:
    return float(np.mean(runs.array())) if runs.values else None


def _missing(method: Runs, reference: Runs) -> str:
    sides = (("method", method.missing), ("reference", reference.missing))
    return "; ".join(f"{side}: {text}" for side, text in sides if text)


def _obstacle(method: Runs, reference: Runs) -> str:
    """Say why the contrast must not be read from the runs that remain; empty if it may be."""
    sides = (("method", method), ("reference", reference))
    diverged = [f"{side}: {runs.diverged} diverged" for side, runs in sides if runs.diverged]
    if diverged:
        low_method, high_method = worst_case(method.array(), method.planned - len(method.values))
        low_reference, high_reference = worst_case(reference.array(), reference.planned - len(reference.values))
        return (
            f"{'; '.join(diverged)}; whatever the missing runs would have scored, the effect lies between "
            f"{low_method - high_reference:+.2f} and {high_method - low_reference:+.2f} points"
        )
    counts = method.scored_classes | reference.scored_classes
    if len(counts) > 1:
        listed = " and ".join(str(count) for count in sorted(counts))
        return f"the AUCs average over {listed} scored classes and are never compared"
    lacking = _missing(method, reference)
    if lacking and min(len(method.values), len(reference.values)) < 2:
        return lacking
    return ""


def _tests(a: Group | None, b: Group | None, estimate: Estimate | None, margin: float, alpha: float) -> _Fields:
    empty = ("effect", "ci_low", "ci_high", "t", "df", "p", "p_welch", "hedges_g", "smallest_detectable")
    fields: _Fields = dict.fromkeys((*empty, "p_tost", "tost_power"))
    if a is None or b is None or estimate is None:
        return fields
    interval = estimate.interval()
    spread = pooled_sd(a, b)
    return fields | {
        "effect": estimate.effect,
        "ci_low": interval[0] if interval else None,
        "ci_high": interval[1] if interval else None,
        "t": estimate.t,
        "df": estimate.df if estimate.testable else None,
        "p": estimate.p,
        "p_welch": welch(a, b).p,
        "hedges_g": hedges_g(a, b),
        "smallest_detectable": smallest_detectable(a.n, b.n, alpha) * spread if spread > 0 else None,
        "p_tost": estimate.p_tost(margin),
        "tost_power": estimate.tost_power(margin, alpha),
    }


def _pairing(method: Side, reference: Side, estimate: Estimate | None, parameters: Parameters) -> _Fields:
    if parameters.seed_plan != "shared" or estimate is None:
        return {"p_paired": None, "correlation": None}
    common = sorted(set(method.runs.values) & set(reference.runs.values))
    result = paired([method.runs.values[i] for i in common], [reference.runs.values[i] for i in common])
    return {"p_paired": result.p, "correlation": result.correlation}


def _pretraining(method: Side, reference: Side, estimate: Estimate | None, parameters: Parameters) -> _Fields:
    fields: _Fields = dict.fromkeys(("p_pretraining", "df_pretraining", "sd_pretraining", "sd_repeat"))
    if parameters.pretrain_seeds < 2 or estimate is None:
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
    if estimate is None or method.resamples is None or reference.resamples is None:
        return {"patient_low": None, "patient_high": None, "dagger": False}
    if method.resamples.shape != reference.resamples.shape:
        raise DataError(
            f"found {method.resamples.size} and {reference.resamples.size} patient resamples of one task; expected the "
            "same resamples for every method; run `dvc repro`."
        )
    low, high = percentile_interval(method.resamples - reference.resamples)
    p = estimate.p
    return {"patient_low": low, "patient_high": high, "dagger": p is not None and p < alpha and low <= 0 <= high}


def _finding(
    method: Side,
    reference: Side,
    estimate: Estimate | None,
    obstacle: str,
    fields: Mapping[str, Any],
    margin: float,
    alpha: float,
) -> _Fields:
    identical = len(method.runs.values) > 1 and dict(method.runs.values) == dict(reference.runs.values)
    answer = finding(estimate, margin, alpha, obstacle=obstacle, identical=identical)
    remarks = [answer.note]
    if estimate is not None:
        for side, cell in (("method", method), ("reference", reference)):
            if cell.runs.missing:
                remarks.append(f"{side}: {len(cell.runs.values)} of {cell.runs.planned} runs")
            if cell.runs.flags:
                remarks.append(f"{side}: {cell.runs.flags}")
        p_seeds = fields["p_pretraining"]
        if p_seeds is not None and estimate.p is not None and (p_seeds < alpha) != (estimate.p < alpha):
            verdict = "significant" if p_seeds < alpha else "not significant"
            df = fields["df_pretraining"]
            remarks.append(f"{verdict} over pretraining seeds (p = {p_seeds:.2g}, {df:.3g} degrees of freedom)")
    return {"finding": answer.finding, "finding_note": "; ".join(part for part in remarks if part)}


def _agreement(
    method: Side,
    reference: Side,
    groups: tuple[Group | None, Group | None],
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
    printed_a, printed_b = method.printed, reference.printed
    difference: Estimate | None = None
    remark = ""
    if printed_a is not None and printed_b is not None and printed_a.mean is not None and printed_b.mean is not None:
        effect = float(printed_a.mean - printed_b.mean)
        fields["published_effect"] = effect
        theirs: Estimate | None = None
        if printed_a.group is not None and printed_b.group is not None:
            theirs = student(printed_a.group, printed_b.group)
            fields["published_p"] = theirs.p
            if a and b:
                difference = difference_of_effects(a, b, printed_a.group, printed_b.group)
        elif a and b and not not_the_papers and not obstacle:
            # Our spread stands in for the one not printed; a spread from other images or another protocol may not.
            remark, fields["published_sd_assumed"] = "σ assumed", True
            difference = prediction(a, b, effect, PUBLISHED_RUNS)
            theirs = Estimate(effect, pooled_sd(a, b) * math.sqrt(2 / PUBLISHED_RUNS), a.n + b.n - 2)
        if theirs is not None and (interval := theirs.interval()) is not None:
            fields["published_low"], fields["published_high"] = interval
    reason = not_the_papers or obstacle
    if not reason and difference is None and fields["published_effect"] is not None:
        reason = "fewer than two runs a side"
    answer = agreement(difference, margin, alpha, obstacle=reason, remark=remark)
    if difference is not None and not reason:
        interval = difference.interval()
        fields |= {
            "difference": difference.effect,
            "difference_low": interval[0] if interval else None,
            "difference_high": interval[1] if interval else None,
            "difference_p": difference.p,
            "difference_df": difference.df,
            "difference_p_tost": difference.p_tost(margin),
        }
    return fields | {"agreement": answer.agreement, "agreement_reason": answer.reason}
