"""Figures keep every name whole, say what their axes count, and are the same bytes whenever they are written."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from harness.statistics.summary import read_comparisons
from reports.render import figures, frames, style
from reports.render.inputs import CurvePoint
from reports.render.pictures import family_name
from tests.reports.test_render import make

LONG = "A very long name that somebody gave to Donaudampfschifffahrtsgesellschaft"


def fractions_of(grid: list[float], method: str = "DiRA") -> pd.DataFrame:
    return pd.DataFrame([
        {"task": "Lungs", "method": method, "label_fraction": f, "mean": 50.0, "low": 49.0, "high": 51.0, "unit": "points"}
        for f in grid
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "places", "said"),
    [
        ([0.01, 0.25, 0.5, 1.0], [1, 25, 50, 100], "labelled training units"),
        ([0.01, 0.1, 1.0], [0, 1, 2], "labelled training units\n(logarithmic)"),  # 1 % would touch 10 %
        ([0.001, 0.01, 0.1, 1.0], [-1, 0, 1, 2], "labelled training units\n(logarithmic)"),
    ],
)
def test_label_fractions_stand_on_a_true_scale_that_the_axis_names(grid, places, said):
    (axis,) = figures.fractions(fractions_of(grid), "").axes
    assert list(axis.get_xticks()) == pytest.approx(places)
    assert axis.get_xlabel() == said
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [f"{fraction * 100:g} %" for fraction in grid]


def test_no_name_is_cut_off_at_the_edge_of_a_figure():
    effects = pd.DataFrame([
        {"panel": LONG, "row": f"{LONG} − {LONG}, {LONG}", "place": 0, "finding": "better", "effect": 1.0, "low": 0.5, "high": 1.5,
         "published": float("nan"), "published_low": float("nan"), "published_high": float("nan"), "margin": 0.5,
         "unit": "points"},
    ] * 3)  # fmt: skip
    for figure in (figures.effects(effects, ""), figures.fractions(fractions_of([0.01, 1.0], LONG), "")):
        with style.context():
            figure.canvas.draw()
            width, height = figure.canvas.get_width_height()
            for axis in figure.axes:
                for text in (*axis.get_yticklabels(), axis.xaxis.label, axis._left_title):
                    box = text.get_window_extent()
                    assert box.x0 >= -0.5 and box.x1 <= width + 0.5, text.get_text()
            for key in figure.legends:
                box = key.get_window_extent()
                assert box.x1 <= width and box.y1 <= height + 8


def test_a_word_that_is_too_long_is_broken_and_a_short_label_is_left_alone():
    assert style.wrapped("ChestX-ray14", 12) == "ChestX-ray14"
    assert max(map(len, style.wrapped(LONG, 12).split("\n"))) <= 12
    assert re.sub(r"\s", "", style.wrapped(LONG, 12)) == LONG.replace(" ", "")


def test_epochs_are_no_steps(monkeypatch):
    """An autoencoder's 20 epochs do not put off the steps of the phase that follows."""

    def point(phase: str, step: int, name: str) -> CurvePoint:
        return CurvePoint("transvw", 0, phase, step, name, 1.0)

    monkeypatch.setattr(frames, "_chains", lambda results, labels: {"transvw": ("TransVW", "dis+res")})
    curves = [point("discovery", epoch, "validation_autoencoder") for epoch in (1, 20)]
    curves += [point("dis+res", step, "validation_restoration") for step in (60, 120)]
    curves += [point("dis+res+adv", 60, "validation_restoration")]
    frame = frames.curves_frame(SimpleNamespace(curves=curves), {"transvw": "TransVW"})
    found = {count: sorted(part["step"]) for count, part in frame.groupby("count")}
    assert found == {frames.EPOCHS: [1, 20], frames.STEPS: [60, 120, 180]}
    said = {
        axis.get_title(loc="left").replace("\n", " "): axis.get_xlabel() for axis in figures.curves(frame, "").axes[:2]
    }
    assert said == {"TransVW: restoration": frames.STEPS, "TransVW: autoencoder": frames.EPOCHS}


def test_a_pdf_is_the_same_bytes_each_time_and_names_no_program_and_no_date():
    figure = figures.fractions(fractions_of([0.01, 1.0]), "SYNTHETIC: analytic phantoms")
    one, two = (style.figure_bytes(figure, "What it shows. SYNTHETIC: analytic phantoms") for _ in range(2))
    assert one == two
    assert one["pdf"].startswith(b"%PDF") and b"SYNTHETIC: analytic phantoms" in one["pdf"]
    assert b"Date" not in one["pdf"] and b"atplotlib" not in one["pdf"]


def test_each_family_of_contrasts_has_a_figure_of_its_own(tmp_path):
    results, folder, _ = make(tmp_path, synthetic=True)
    families = {c.family for c in read_comparisons(results / "miniature" / "comparisons.csv") if c.effect is not None}
    assert len(families) > 2
    assert {f"{family_name(family)}.pdf" for family in families} <= {p.name for p in (folder / "figures").glob("*.pdf")}


def test_a_bar_panel_shows_all_of_each_interval_and_bars_begin_at_zero_unless_all_values_lie_far_above():
    low, high, start = figures.bar_limits([-14.0, 92.0])
    assert low < -14.0 and high > 92.0 and start == 0.0
    low, high, start = figures.bar_limits([34.0, 92.0])
    assert (low, start) == (0.0, 0.0)
    low, high, start = figures.bar_limits([88.0, 92.0])
    assert 0.0 < low == start < 88.0


def overlapping(figure) -> list[tuple[str, str]]:
    """Return the pairs of texts of a figure that cover each other."""
    with style.context():
        figure.canvas.draw()
        texts = [text for axis in figure.axes for text in (*axis.texts, *axis.get_xticklabels(), axis._left_title)]
        boxes = [
            (text.get_text(), text.get_window_extent()) for text in texts if text.get_text() and text.get_visible()
        ]
    return [
        (name, other)
        for place, (name, box) in enumerate(boxes)
        for other, second in boxes[place + 1 :]
        if min(box.x1, second.x1) - max(box.x0, second.x0) > 1 and min(box.y1, second.y1) - max(box.y0, second.y0) > 1
    ]


@pytest.mark.parametrize("width", [style.TWO_COLUMNS, style.ONE_COLUMN])
def test_the_names_of_bars_do_not_touch_at_the_width_of_a_column(width):
    frame = pd.DataFrame([
        {"task": task, "pair": base, "role": role, "label": name, "value": 60.0 + trial, "unit": "points", "mark": "↓",
         "p": "3.8e−05", "effect": "−14.08", "published": float("nan")}
        for task in ("ChestX-ray14 (AUC)", "CheXpert (AUC)", "SIIM-ACR (Dice)", "Montgomery (Dice)")
        for base in ("MoCo-v2", "Barlow Twins", "SimSiam")
        for role, name in (("reference", f"{base} (not learnt)"), ("method", f"DiRA ({base}) (not learnt)"))
        for trial in range(10)
    ])  # fmt: skip
    figure = figures.bars(frame, "SYNTHETIC: analytic phantoms", width=width)
    assert figure.get_size_inches()[0] == pytest.approx(width)
    assert figure.get_size_inches()[1] <= style.TALLEST
    assert overlapping(figure) == []
