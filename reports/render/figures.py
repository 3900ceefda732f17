"""Figures: each is a function from a data frame to a matplotlib figure, with no file and no global state.

Every function takes the stamp of made-up images and prints it across the picture; an empty stamp prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.render import frames, style, wording


def _limits(values: Sequence[float], headroom: float) -> tuple[float, float]:
    """Return axis limits around values, with room above for marks, inside [0, 100] below."""
    low, high = min(values), max(values)
    span = max(high - low, 0.5)
    return max(low - 0.25 * span, min(0.0, low)), high + headroom * span


def _dash(index: int) -> Any:
    """Return the line style of the i-th series: dashed once the colours begin again."""
    return ("-", "--", ":")[index // len(style.SERIES) % 3]


PANEL_TITLE, CURVE_TITLE = 42, 26  # characters of a panel's title in a line
TITLE_LINE = 0.17  # inches
KEY_LINE = 0.23
BAR_NAME = 11  # characters of a method's name in a line below its bar


def bars(frame: pd.DataFrame, stamp: str) -> Figure:
    """Draw Fig. 4: for each task the base beside the method, with spread, single trials and the Finding.

    Args:
        frame: One row a trial: ``task`` (with its metric), ``pair`` (which contrast), ``role`` (``reference`` or
            ``method``), ``label``, ``value``, ``unit``, ``mark``, ``p`` (text), ``effect`` (text), ``published``
            (the paper's mean, NaN where it is not to be drawn).
        stamp: Printed across the figure; empty for real images.
    """
    with style.context():
        tasks = list(dict.fromkeys(frame["task"]))
        columns = min(2, len(tasks))
        lines = -(-len(tasks) // columns)
        pairs_most = max(frame[frame["task"] == task]["pair"].nunique() for task in tasks)
        foot = 0.14 * max(style.deepest(frame["label"], BAR_NAME) - 2, 0)  # inches, of names of more than two lines
        crown = TITLE_LINE * (style.deepest(tasks, PANEL_TITLE) - 1)
        figure = Figure(figsize=(max(7.6, columns * (1.9 * pairs_most + 1.2)), (3.7 + foot + crown) * lines + 0.75))
        axes = np.atleast_1d(np.asarray(figure.subplots(lines, columns, squeeze=False))).ravel()
        for position, axis in enumerate(axes):
            if position >= len(tasks):
                axis.set_axis_off()
                continue
            _bar_panel(axis, frame[frame["task"] == tasks[position]], tasks[position])
        handles = [
            Patch(facecolor=style.BASE_FILL, label="discriminative base"),
            Patch(facecolor=style.METHOD_FILL, label="DiRA"),
            Line2D(
                [],
                [],
                marker="o",
                linestyle="",
                markersize=4,
                color=style.INK,
                markerfacecolor="white",
                label="one trial",
            ),
        ]
        if frame["published"].notna().any():
            handles.append(
                Line2D([], [], marker="D", linestyle="", markersize=5, color=style.STAMP, label="paper's mean")
            )
        height = figure.get_size_inches()[1]
        figure.subplots_adjust(
            left=0.09,
            right=0.985,
            top=1 - (0.72 + crown) / height,
            bottom=(0.62 + foot) / height,
            wspace=0.24,
            hspace=0.42 + (foot + crown) / 2.6,
        )
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), bbox_to_anchor=(0.04, 1.0))
        style.stamp_figure(figure, stamp)
    return figure


def _bar_panel(axis: Axes, frame: pd.DataFrame, title: str) -> None:
    """Draw one task: pairs of bars. The axis does not start at zero, and says so."""
    reached = [frame["value"].min(), frame["value"].max(), *frame["published"].dropna()]
    groups = frame.groupby(["pair", "role"], sort=False)["value"]
    means, sds = groups.mean(), groups.std(ddof=1).fillna(0.0)
    reached += [*(means - sds), *(means + sds)]
    bottom, top = _limits(reached, headroom=0.42)
    axis.set_ylim(bottom, top)
    ticks, names = [], []
    for place, pair in enumerate(dict.fromkeys(frame["pair"])):
        inside = frame[frame["pair"] == pair]
        for role, offset, fill in (("reference", -0.2, style.BASE_FILL), ("method", 0.2, style.METHOD_FILL)):
            rows = inside[inside["role"] == role]
            if rows.empty:
                continue
            x, values = place + offset, rows["value"].to_numpy(dtype=float)
            mean, sd = means[(pair, role)], sds[(pair, role)]
            axis.bar(x, mean - bottom, width=0.36, bottom=bottom, color=fill)
            axis.errorbar(x, mean, yerr=sd, color=style.INK, capsize=3, linewidth=1.1, capthick=1.1)
            spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
            axis.plot(
                x + spread, values, "o", markersize=3.4, color=style.INK, markerfacecolor="white", markeredgewidth=0.8
            )
            published = rows["published"].iloc[0]
            if pd.notna(published):
                axis.plot(x, published, "D", markersize=5, color=style.STAMP)
            ticks.append(x)
            names.append(style.wrapped(str(rows["label"].iloc[0]), BAR_NAME))
        first = inside.iloc[0]
        span = top - bottom
        height = max(inside["value"].max(), *((means + sds)[pair])) + 0.07 * span
        if pd.notna(first["mark"]) and first["mark"]:
            left, right, foot = place - 0.2, place + 0.2, height - 0.025 * span
            axis.plot([left, left, right, right], [foot, height, height, foot], color=style.MUTED, linewidth=0.9)
            text = f"{first['mark']}  {first['effect']}\np = {first['p']}"
            axis.text(place, height + 0.015 * span, text, ha="center", va="bottom", fontsize=8)
    axis.set_xticks(ticks, names, fontsize=8)
    axis.set_xlim(-0.6, frame["pair"].nunique() - 0.4)
    axis.set_title(style.wrapped(title, PANEL_TITLE))
    unit = str(frame["unit"].iloc[0])
    axis.set_ylabel(f"{unit} (axis starts at {wording.number(bottom, 1)})" if bottom > 0 else unit)


def fractions(frame: pd.DataFrame, stamp: str) -> Figure:
    """Draw label-fraction curves: one panel a task, one line a method, whiskers for the 95 % interval of the mean.

    Args:
        frame: ``task``, ``method`` (label), ``label_fraction``, ``mean``, ``low``, ``high``
            (NaN without spread), ``unit``.
        stamp: Printed across the figure; empty for real images.
    """
    with style.context():
        tasks, methods = list(dict.fromkeys(frame["task"])), list(dict.fromkeys(frame["method"]))
        columns = min(2, len(tasks))
        lines = -(-len(tasks) // columns)
        width = max(4.6 * columns, 6.4)
        beside = style.key_columns(methods, width)
        keys = -(-len(methods) // beside)
        crown = TITLE_LINE * (style.deepest(tasks, PANEL_TITLE) - 1)
        figure = Figure(figsize=(width, (3.3 + crown) * lines + 0.3 + KEY_LINE * keys))
        axes = np.atleast_1d(np.asarray(figure.subplots(lines, columns, squeeze=False))).ravel()
        for axis in axes[len(tasks) :]:
            axis.set_axis_off()
        for axis, task in zip(axes, tasks, strict=False):
            _fraction_panel(axis, frame[frame["task"] == task], methods)
            axis.set_ylabel(str(frame[frame["task"] == task]["unit"].iloc[0]))
            axis.set_title(style.wrapped(task, PANEL_TITLE))
        handles = [
            Line2D(
                [],
                [],
                color=style.SERIES[i % 8],
                linestyle=_dash(i),
                marker=style.MARKERS[i % 8],
                markersize=5,
                linewidth=1.0,
                label=method,
            )
            for i, method in enumerate(methods)
        ]
        height = figure.get_size_inches()[1]
        figure.subplots_adjust(
            left=0.085,
            right=0.985,
            top=1 - (0.4 + crown + KEY_LINE * keys) / height,
            bottom=0.62 / height,
            wspace=0.2,
            hspace=0.5 + crown / 2.3,
        )
        figure.legend(handles=handles, loc="upper left", ncols=beside, bbox_to_anchor=(0.03, 1.0))
        style.stamp_figure(figure, stamp)
    return figure


def _fraction_panel(axis: Axes, panel: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw one task: a line a method, each a little aside so that whiskers do not cover each other.

    Label fractions stand where they belong: evenly per unit, or on a logarithm where they would cover each other.
    """
    grid = np.array(sorted(panel["label_fraction"].unique())) * 100
    crowded = len(grid) > 1 and np.diff(grid).min() < 0.05 * (grid[-1] - grid[0])
    places = np.log10(grid) if crowded else grid
    span = float(places[-1] - places[0]) or 1.0
    apart = span * min(0.006, 0.06 / max(len(methods) - 1, 1))  # many methods stay within their label fraction
    for index, method in enumerate(methods):
        line = panel[panel["method"] == method].sort_values("label_fraction")
        if line.empty:
            continue
        x = line["label_fraction"].to_numpy(dtype=float) * 100
        x = (np.log10(x) if crowded else x) + apart * (index - (len(methods) - 1) / 2)
        mean = line["mean"].to_numpy(dtype=float)
        errors = np.vstack([mean - line["low"].to_numpy(dtype=float), line["high"].to_numpy(dtype=float) - mean])
        colour = style.SERIES[index % len(style.SERIES)]
        axis.errorbar(
            x,
            mean,
            yerr=np.nan_to_num(errors),
            color=colour,
            linestyle=_dash(index),
            capsize=2,
            linewidth=1.0,
            elinewidth=0.8,
        )
        axis.plot(x, mean, style.MARKERS[index % len(style.MARKERS)], color=colour, markersize=5)
    axis.set_xticks(places, [f"{fraction:g} %" for fraction in grid])
    axis.set_xlabel("labelled training units used" + (" (logarithmic)" if crowded else ""))


CURVE_COLUMNS = 4


def curves(frame: pd.DataFrame, stamp: str) -> Figure:
    """Draw learning curves of pretraining: a panel for each loss of each base, a colour for each rung of the ladder.

    Args:
        frame: ``panel`` (its title), ``rung`` (terms of the last phase), ``side`` (``train`` or ``validation``),
            ``line`` (which points are joined), ``step`` (counted on through the phases), ``count`` (what that counts),
            ``value``, ``phase_start`` (step at which the point's phase began).
        stamp: Printed across the figure; empty for real images.
    """
    with style.context():
        names, rungs = list(dict.fromkeys(frame["panel"])), list(dict.fromkeys(frame["rung"]))
        colours = {rung: style.SERIES[index % len(style.SERIES)] for index, rung in enumerate(rungs)}
        beside = style.key_columns([*rungs, "validation", "train"], 10.2)
        lines, keys = -(-len(names) // CURVE_COLUMNS), -(-(len(rungs) + 2) // beside)
        crown = TITLE_LINE * (style.deepest(names, CURVE_TITLE) - 1)
        figure = Figure(figsize=(10.2, (1.95 + crown) * lines + 0.4 + KEY_LINE * keys))
        axes = np.atleast_1d(np.asarray(figure.subplots(lines, CURVE_COLUMNS, squeeze=False))).ravel()
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        for position, (axis, name) in enumerate(zip(axes, names, strict=False)):
            panel = frame[frame["panel"] == name]
            _curve_panel(axis, panel, colours)
            axis.set_title(style.wrapped(name, CURVE_TITLE), fontsize=8.5)
            axis.set_ylabel("")
            counts = " and ".join(dict.fromkeys(panel["count"]))
            axis.set_xlabel(counts if position >= len(names) - CURVE_COLUMNS or counts != frames.STEPS else "")
            axis.tick_params(labelsize=7.5)
        handles = [Line2D([], [], color=colours[rung], linewidth=1.6, label=rung) for rung in rungs]
        handles += [
            Line2D([], [], color=style.MUTED, linewidth=1.2, linestyle=dash, label=side)  # type: ignore[arg-type]
            for side, dash in (("validation", "-"), ("train", "--"))
        ]
        height = figure.get_size_inches()[1]
        figure.subplots_adjust(
            left=0.05,
            right=0.985,
            top=1 - (0.5 + crown + KEY_LINE * keys) / height,
            bottom=0.6 / height,
            wspace=0.24,
            hspace=0.5 + crown / 1.3,
        )
        figure.legend(handles=handles, loc="upper left", ncols=beside, bbox_to_anchor=(0.03, 1.0))
        style.stamp_figure(figure, stamp)
    return figure


def _curve_panel(axis: Axes, panel: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw one loss of one base, with a hollow ring where a phase begins: optimiser and schedule are fresh."""
    seaborn.lineplot(
        panel,
        x="step",
        y="value",
        hue="rung",
        palette=colours,
        style="side",
        style_order=("validation", "train"),
        units="line",
        estimator=None,
        linewidth=1.1,
        legend=False,
        ax=axis,
    )
    began = panel[(panel["side"] == "validation") & (panel["phase_start"] > 0)]
    first = began.sort_values("step").groupby(["line", "rung"], sort=True).first().reset_index()
    for row in first.to_dict("records"):
        axis.plot(row["step"], row["value"], "o", color=colours[row["rung"]], markerfacecolor="white", markersize=4)


EFFECT_NAME, FAMILY_TITLE = 62, 50  # characters of a contrast's name and of a family's in a line


def effects(frame: pd.DataFrame, stamp: str) -> Figure:
    """Draw every contrast as an effect with its 95 % interval, ours above the paper's, the margin shaded.

    Args:
        frame: ``family``, ``title``, ``finding``, ``effect``, ``low``, ``high``, ``published``, ``published_low``,
            ``published_high``, ``margin`` (NaN where unknown), ``unit``.
        stamp: Printed across the figure; empty for real images.
    """
    with style.context():
        families = list(dict.fromkeys(frame["family"]))
        counts = [int((frame["family"] == family).sum()) for family in families]
        beside = bool(frame["published"].notna().any())
        ours = 0.13 if beside else 0.0
        crown = TITLE_LINE * (style.deepest(families, FAMILY_TITLE) - 1)
        per_row = max(0.34, 0.13 * style.deepest(frame["title"], EFFECT_NAME) + 0.08)  # inches
        gap, above, below = 0.72 + crown, 0.8 + crown, 0.7
        height = above + below + sum(per_row * count + gap for count in counts) - gap
        figure = Figure(figsize=(8.6, height))
        axes, top = [], height - above
        for count in counts:
            axes.append(figure.add_axes((0.44, (top - per_row * count) / height, 0.545, per_row * count / height)))
            top -= per_row * count + gap
        for axis, family in zip(axes, families, strict=True):
            _effect_panel(axis, frame[frame["family"] == family].reset_index(drop=True), ours)
            axis.set_title(style.wrapped(family, FAMILY_TITLE))
        units = dict.fromkeys(frame["unit"])
        axes[-1].set_xlabel(f"method − reference, {' or '.join(units)} (95 % interval)")
        handles = [
            *(
                Line2D([], [], color=style.FINDING_COLOURS[f], marker="o", markersize=5, linewidth=1.6, label=f)
                for f in wording.FINDINGS
                if f in set(frame["finding"])
            ),
            Patch(facecolor="#e9eef4", label="margin of equivalence"),
        ]
        if beside:
            paper = Line2D([], [], color=style.MUTED, marker="D", markersize=4, linewidth=0.9, label="paper")
            paper.set_markerfacecolor("white")
            handles.append(paper)
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), bbox_to_anchor=(0.01, 1.0), fontsize=8)
        style.stamp_figure(figure, stamp)
    return figure


def _effect_panel(axis: Axes, panel: pd.DataFrame, ours: float) -> None:
    """Draw the contrasts of one family, top to bottom.

    Args:
        axis: Its panel.
        panel: Its rows of the frame.
        ours: How far above its line an effect of ours stands, so that the paper's fits below.
    """
    axis.axvline(0, color=style.INK, linewidth=0.9)
    for place, row in enumerate(panel.to_dict("records")):
        y = float(len(panel) - 1 - place)
        axis.fill_betweenx([y - 0.42, y + 0.42], -row["margin"], row["margin"], color="#e9eef4", linewidth=0)
        colour = style.FINDING_COLOURS[row["finding"]]
        if pd.notna(row["effect"]):
            if pd.notna(row["low"]):
                axis.plot([row["low"], row["high"]], [y + ours] * 2, color=colour, linewidth=1.6)
            axis.plot(row["effect"], y + ours, "o", color=colour, markersize=5.5)
        if pd.notna(row["published"]):
            if pd.notna(row["published_low"]):
                ends = [row["published_low"], row["published_high"]]
                axis.plot(ends, [y - 0.2] * 2, color=style.MUTED, linewidth=0.9)
            axis.plot(row["published"], y - 0.2, "D", color=style.MUTED, markerfacecolor="white", markersize=4)
    # Each family has its own axis: gains at 1 % of the labels would flatten all others.
    reached = panel[["effect", "low", "high", "published", "published_low", "published_high"]]
    margin = float(panel["margin"].max())
    low = min(float(np.nanmin(reached.to_numpy(dtype=float))), -margin)
    high = max(float(np.nanmax(reached.to_numpy(dtype=float))), margin)
    axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axis.set_yticks(
        range(len(panel) - 1, -1, -1), [style.wrapped(title, EFFECT_NAME) for title in panel["title"]], fontsize=7.5
    )
    axis.set_ylim(-0.6, len(panel) - 0.4)
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
