"""How often the statistics' words are right: simulated contrasts through the functions that make the tables.

``python -m bench.statistics --out docs/measurements/statistics.json`` draws runs as
``y = method + P_k + R_r + P×R + e``, with known effect, and counts how often a true null is marked, how often the
95 % interval holds the truth, and how often *equivalent* is said of a true difference of one margin. Each row is
compared with its nominal rate: inside the 99 % binomial band, below it (careful), or above it (with the reason).
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from harness.seeding import seed
from harness.spec import Parameters
from harness.statistics.contrast import Side, compare
from harness.statistics.design import Lineage
from harness.statistics.schema import Comparison
from harness.statistics.trials import Runs, TrialIndex

MARGIN = 1.0  # points
NAMES = {
    "family": "simulated", "family_label": "simulated", "family_size": 1, "block": "added", "method": "a",
    "method_label": "a", "reference": "b", "reference_label": "b", "task": "t", "task_label": "t",
    "label_fraction": 1.0, "metric": "auc", "synthetic": False, "stamp": "",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One world to draw contrasts from. Standard deviations in units of the run's own; 1 unit is ``unit`` points.

    Attributes:
        seeds: Pretraining seeds a side. beside: Of the reference, if others.
        runs: Repeats on each. pretraining: sd of P. repeat: sd of R, shared by both
        methods if ``shared``. interaction: sd of P×R. ratio: how much larger the reference's spread is.
        kept: Runs left on the reference's side, None for all. collapse: Share of runs that fall by ten units.
        patients: sd over test patients of the effect.
    """

    name: str
    seeds: int = 1
    runs: int = 10
    pretraining: float = 0.0
    repeat: float = 0.0
    interaction: float = 0.0
    ratio: float = 1.0
    kept: int | None = None
    collapse: float = 0.0
    shared: bool = False
    patients: float = 0.0
    unit: float = 1.0
    beside: int | None = None


def settings() -> Iterator[Setting]:
    """Yield every setting of the committed table."""
    for seeds in (1, 2, 3, 5, 10):
        for runs in (3, 5, 10, 30):
            spread = 0.8 if seeds > 1 else 0.0
            yield Setting("crossed" if seeds > 1 else "one checkpoint", seeds, runs, spread, 0.3, 0.2)
    for seeds in (2, 3, 10):
        yield Setting("no pretraining noise", seeds, 10)
        yield Setting("shared label subsets", seeds, 10, 0.8, 1.0, 0.2, shared=True)
        yield Setting("unequal spread 1:4", seeds, 10, 0.8, 0.3, 0.2, ratio=4)
    for runs in (3, 5, 10, 30):
        yield Setting("unequal spread 1:4", runs=runs, ratio=4)
        yield Setting("unequal spread 1:16", runs=runs, ratio=16)
    for kept in (6, 3):
        for ratio in (1, 4, 0.25):
            yield Setting(f"{kept} of 10 runs left on one side", kept=kept, ratio=ratio)
    for repeat in (0.83, 0.5):
        # r between the methods' runs is repeat² / (repeat² + 1): .83 and .5
        yield Setting(f"shared label subsets, r = {repeat:g}", repeat=(repeat / (1 - repeat)) ** 0.5, shared=True)
    yield Setting("one run in ten collapses", collapse=0.1)
    yield Setting("patients as noisy as runs", patients=(2 / 10) ** 0.5)


def draw(setting: Setting, effect: float, generator: np.random.Generator) -> tuple[Side, Side]:
    """Draw one contrast whose true effect, in points, is ``effect``."""
    shared = generator.normal(0, setting.repeat, setting.runs) if setting.shared else None
    shift = generator.normal(0, setting.patients)
    sides = []
    for ratio, truth in ((1.0, effect / setting.unit + shift), (setting.ratio, 0.0)):
        seeds = setting.seeds if not sides or setting.beside is None else setting.beside
        shape = seeds, setting.runs
        repeats = shared if shared is not None else ratio * generator.normal(0, setting.repeat, setting.runs)
        values = (
            truth
            + repeats
            + ratio
            * (
                generator.normal(0, setting.pretraining, (seeds, 1))
                + generator.normal(0, setting.interaction, shape)
                + generator.normal(0, 1, shape)
            )
        )
        values -= 10 * (generator.random(shape) < setting.collapse)
        sides.append(50 + setting.unit * values)
    method, reference = (_side(values, setting, index) for index, values in enumerate(sides))
    if setting.kept is not None:
        kept = {index: value for index, value in reference.runs.values.items() if index.repeat < setting.kept}
        reference = Side(Runs(kept, setting.runs), lineage=reference.lineage, planned_seeds=setting.seeds)
    if setting.patients:
        vector = generator.normal(0, setting.unit * setting.patients, 500)
        method = Side(method.runs, vector, lineage=method.lineage, planned_seeds=setting.seeds)
        reference = Side(reference.runs, np.zeros(500), lineage=reference.lineage, planned_seeds=setting.seeds)
    return method, reference


def _side(values: np.ndarray, setting: Setting, index: int) -> Side:
    seeds = len(values)
    runs = {TrialIndex(k, r): float(values[k, r]) for k in range(seeds) for r in range(setting.runs)}
    subset = (lambda r: f"subset {r}") if setting.shared else (lambda r: "")
    lineage = {i: Lineage(f"{index} {i.pretrain_seed}", subset=subset(i.repeat)) for i in runs}
    return Side(Runs(runs, len(runs)), lineage=lineage, planned_seeds=seeds)


@dataclass
class Row:
    """What a setting came to; rates in percent."""

    setting: Setting
    contrasts: int
    design: str
    marked: float
    covered: float
    equivalent: float
    verdict: str


def simulate(setting: Setting, contrasts: int, base_seed: int) -> Row:
    """Count marks and coverage under no effect, and *equivalent* under an effect of one margin."""
    generator = np.random.Generator(np.random.PCG64(seed(base_seed, "simulation", repr(setting))))
    parameters = Parameters(
        profile="paper", repeats=setting.runs, pretrain_seeds=setting.seeds, base_seed=base_seed, alpha=0.05
    )
    marked = covered = 0
    designs: dict[str, int] = {}
    for _ in range(contrasts):
        row = _compare(draw(setting, 0.0, generator), parameters)
        low, high = (row.joint_low, row.joint_high) if setting.patients else (row.ci_low, row.ci_high)
        designs[row.design] = designs.get(row.design, 0) + 1
        if row.p is None or low is None or high is None:
            continue
        marked += (low > 0 or high < 0) if setting.patients else row.p < 0.05
        covered += low <= 0 <= high
    rescaled = Setting(**{**asdict(setting), "unit": _unit(setting)})
    equal = sum(_equivalent(rescaled, parameters, generator) for _ in range(contrasts))
    rates = [100 * count / contrasts for count in (marked, covered, equal)]
    return Row(
        setting=setting,
        contrasts=contrasts,
        design=max(designs, key=lambda name: designs[name]),
        marked=rates[0],
        covered=rates[1],
        equivalent=rates[2],
        verdict=_verdict(rates, contrasts),
    )


def _unit(setting: Setting) -> float:
    """Return points a unit that give the equivalence test a fair chance: a true standard error of a quarter margin."""
    over_runs = (1 + setting.ratio**2) * (
        setting.pretraining**2 / setting.seeds + (1 + setting.interaction**2) / (setting.seeds * setting.runs)
    )
    return float(0.25 * MARGIN / np.sqrt(over_runs))


def _equivalent(setting: Setting, parameters: Parameters, generator: np.random.Generator) -> bool:
    row = _compare(draw(setting, MARGIN, generator), parameters)
    return row.finding == "equivalent"


def _compare(sides: tuple[Side, Side], parameters: Parameters) -> Comparison:
    return compare(*sides, margin=MARGIN, parameters=parameters, not_the_papers="simulated", names=NAMES)


def _verdict(rates: list[float], contrasts: int) -> str:
    """Set false marks and false equivalences beside 5 %, in the 99 % binomial band."""
    low, high = (100 * stats.binom.ppf(q, contrasts, 0.05) / contrasts for q in (0.005, 0.995))
    words = []
    for name, rate in (("marks", rates[0]), ("equivalent", rates[2])):
        if rate > high:
            words.append(f"{name} above the band")
        elif rate < low:
            words.append(f"{name} careful")
    return "; ".join(words) or "within the band"


def main() -> None:
    """Run every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contrasts", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    started = time.process_time()
    rows = []
    print("setting | seeds × runs | ratio | design | marks % | coverage % | equivalent % | verdict")
    for setting in settings():
        row = simulate(setting, arguments.contrasts, 2022)
        rows.append(row)
        print(
            f"{setting.name} | {setting.seeds} × {setting.runs} | {setting.ratio:g} | {row.design} | "
            f"{row.marked:.1f} | {row.covered:.1f} | {row.equivalent:.1f} | {row.verdict}",
            flush=True,
        )
    counted, seconds = 2 * len(rows) * arguments.contrasts, time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.0f} CPU s for {counted} contrasts, drawing included: {20_000 * seconds / counted:.1f} for 20,000")
    print(f"peak memory {peak:.0f} MiB")
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
