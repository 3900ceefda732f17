"""The two tables that statistics leave for the report: one row a cell, one row a contrast.

``results/<profile>/cells.csv`` and ``results/<profile>/comparisons.csv`` hold exactly these columns in this order,
published rows first (in the order of ``reports/families.yaml``), then the added block. Values are in points (percent)
as the paper prints them. An empty cell means "does not apply", never zero.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from harness.spec import Frozen

Block = Literal["published", "added"]
Bound = Literal["at the floor", "at the ceiling"]
Finding = Literal["better", "worse", "equivalent", "unresolved", "identical", "at the floor", "at the ceiling"]
Agreement = Literal[
    "reproduced", "different (higher)", "different (lower)", "too small to tell", "inconclusive", "not comparable"
]
Design = Literal[
    "", "Student", "Welch", "paired by repeat", "crossed", "crossed, paired by repeat", "crossed, paired by encoder"
]


class CellSummary(Frozen):
    """One cell: method × task × label fraction × metric.

    Attributes:
        block: ``published`` if the paper prints this cell, else ``added``.
        tables: Which of the paper's tables print it, joined by ``;`` (``tab2;tab4``); empty in the added block.
        method, method_label, task, task_label, label_fraction, metric: Names as in the registries; fraction in (0, 1].
        scored_classes: For AUC, how many classes could be scored; cells with different counts are never compared.
        planned: Trials planned. done: trials with a value that counts. n: values averaged (= done).
        missing: Why ``done < planned``: ``2 diverged``, ``1 failed``, ``10 unavailable: …``; empty when complete.
        mean, sd: In points; sd with ddof 1. sd_ddof0: as the authors' code prints it.
        ci_low, ci_high: 95 % t-interval of the mean over runs.
        patient_low, patient_high: 2.5 and 97.5 percentiles of the mean over patient resamples. resamples_lost: those
            that could not be scored (no case of a class was drawn); the percentiles are over the others.
        worst_low, worst_high: Bounds of the mean if missing trials were 0 or 100; only when some diverged.
        published_mean, published_sd, published_place: What the paper prints and where.
        agreement, agreement_reason: With the paper's absolute number; ``not comparable`` with its reason on phantoms
            and wherever the test set is not the published one.
        best, second: Ranked within its table column (block by block).
        synthetic: True if any of its pixels was made by a program. stamp: what to print beside it.
        device_classes: ``cpu``, ``cuda`` or ``cpu+cuda`` (mixed, marked).
        flags: What a reader must know about values that do count: ``1 diverged, scored at its best validation``.
        best_in, second_in: The tables in whose column the cell ranks first or second (``tab2;tab4``; ``added`` in the
            added block), because Tab. 2 and Tab. 4 share cells but not columns.
        gate: ``learnt``, ``not learnt`` or ``not gated``: what the method's gates come to (``gates.csv`` has each).
    """

    block: Block
    tables: str
    method: str
    method_label: str
    task: str
    task_label: str
    label_fraction: float
    metric: str
    scored_classes: int | None
    planned: int
    done: int
    n: int
    missing: str
    mean: float | None
    sd: float | None
    sd_ddof0: float | None
    ci_low: float | None
    ci_high: float | None
    patient_low: float | None
    patient_high: float | None
    resamples_lost: int
    worst_low: float | None
    worst_high: float | None
    published_mean: float | None
    published_sd: float | None
    published_place: str
    agreement: Agreement
    agreement_reason: str
    best: bool
    second: bool
    synthetic: bool
    stamp: str
    device_classes: str
    flags: str = ""
    best_in: str = ""
    second_in: str = ""
    gate: str = ""
    added_later: ClassVar = ("gate",)


class Comparison(Frozen):
    """One contrast: method − reference on one task at one label fraction, in points.

    Attributes:
        family, family_label: The closed list it belongs to (``fig4``, ``res``, ``adv``, ``tab2_imagenet``, …,
            ``added_random``, ``added_res``, …, ``added.<method>``).
        family_size: m of Holm's correction: the length of the closed list, missing contrasts included (as p = 1).
        block, method, reference, task, label_fraction, metric: Names as in the registries.
        n_method, n_reference, mean_method, mean_reference, sd_method, sd_reference: The two cells.
        design, design_note: How the contrast is tested, by what its two cells share (``harness.statistics.design``),
            and what a reader must know with it. It decides marks, intervals, equivalence, smallest effect, Agreement.
        effect: mean_method − mean_reference. ci_low, ci_high: its 95 % interval over runs and encoders.
        joint_low, joint_high: 95 % interval over runs and test patients together: the two variances added.
        t, df, p: The primary test: two-sided, under the design.
        p_student, p_welch: The two independent tests over runs; Student's is the paper's. p_holm: Holm within the
            family on the primary p.
        hedges_g: Standardised effect. smallest_detectable: in points, at the actual n, α and power .80.
        margin: Equivalence margin in points. p_tost: larger of the two one-sided p. tost_power: power TOST had.
        probability_above, probability_below: That the true effect exceeds +margin, or falls below −margin.
        correlation: Between the runs of the two cells, where repeats share a label subset or seeds.
        p_pretraining, df_pretraining, sd_pretraining, sd_repeat: With several pretraining seeds: the test on seed means
            and the variance split.
        patient_low, patient_high: 95 % percentile interval of the effect over patient resamples.
        dagger: Significant over runs, but the patient interval holds 0. resamples_lost: resamples of patients on which
            one of the cells has no value (no case of a class was drawn); the interval is over the others.
        finding, finding_note: Ours alone. Precedence: TOST passes → equivalent; t rejects → better/worse; else
            unresolved with the power TOST had. ``identical`` for a zero-variance pair of equal values.
        published_effect, published_low, published_high, published_p, published_sd_assumed: The paper's contrast with
            its interval; sd assumed when the table prints none.
        difference, difference_low, difference_high, difference_p, difference_df, difference_p_tost: Our effect minus
            the paper's (Welch–Satterthwaite over four groups).
        agreement, agreement_reason: With the paper.
        missing: Why it could not be tested: ``reference: 1 diverged``; empty when complete.
        synthetic, stamp: As for cells.
        gate: Whose encoder was not learnt: ``method not learnt``, ``reference not learnt``, both, or empty.
    """

    family: str
    family_label: str
    family_size: int
    block: Block
    method: str
    method_label: str
    reference: str
    reference_label: str
    task: str
    task_label: str
    label_fraction: float
    metric: str
    n_method: int
    n_reference: int
    mean_method: float | None
    mean_reference: float | None
    sd_method: float | None
    sd_reference: float | None
    design: Design
    design_note: str
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    joint_low: float | None
    joint_high: float | None
    t: float | None
    df: float | None
    p: float | None
    p_student: float | None
    p_welch: float | None
    p_holm: float | None
    hedges_g: float | None
    smallest_detectable: float | None
    margin: float
    p_tost: float | None
    tost_power: float | None
    probability_above: float | None
    probability_below: float | None
    correlation: float | None
    p_pretraining: float | None
    df_pretraining: float | None
    sd_pretraining: float | None
    sd_repeat: float | None
    patient_low: float | None
    patient_high: float | None
    dagger: bool
    resamples_lost: int
    finding: Finding
    finding_note: str
    published_effect: float | None
    published_low: float | None
    published_high: float | None
    published_p: float | None
    published_sd_assumed: bool
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    difference_p: float | None
    difference_df: float | None
    difference_p_tost: float | None
    agreement: Agreement
    agreement_reason: str
    missing: str
    synthetic: bool
    stamp: str
    gate: str = ""
    added_later: ClassVar = ("gate",)


class View(Frozen):
    """One line of ``views.csv``: what a family comes to, beside its contrasts.

    Attributes:
        kind: ``probability of improvement`` (a share of 1; .5 means none) or ``mean gain over bases`` (points).
        family, family_label: As for contrasts.
        method, reference: The pair; empty where bases are averaged.
        task: ``task|label fraction|metric``; empty where cells are averaged.
        estimate, low, high: With its 95 % interval.
        units: Cells averaged, or pairs of checkpoints.
        gate: Which methods in it were not learnt: ``not learnt: simsiam``; empty if none.
    """

    kind: Literal["probability of improvement", "mean gain over bases"]
    family: str
    family_label: str
    method: str
    reference: str
    task: str
    estimate: float
    low: float | None
    high: float | None
    units: int
    gate: str = ""
    added_later: ClassVar = ("gate",)


class PrintedContrast(Frozen):
    """A published contrast before a run of ours.

    Attributes:
        family, method, reference, task, label_fraction, delta: Which.
        effect, margin: As printed, and the equivalence margin; in the metric's unit.
        spread: Where the spreads come from: ``printed``; ``the same cells at all labels`` where the contrast's own are
            not printed; or empty, and then no rate is known.
    """

    family: str
    method: str
    reference: str
    task: str
    label_fraction: float
    delta: float | None
    effect: float
    margin: float
    spread: str


class Prospect(PrintedContrast):
    """One line of ``outlook.csv``: what a run could say of a published contrast.

    Attributes:
        reproduced, different, too_small, inconclusive: How often a true reproduction reads so, as shares of 1.
        ceiling: How often it would read *reproduced* with endless runs of ours.
    """

    reproduced: float | None
    different: float | None
    too_small: float | None
    inconclusive: float | None
    ceiling: float | None
