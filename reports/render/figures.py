"""Figures: each is a function from a data frame to a matplotlib figure, with no file and no global state.

Every function takes the stamp of made-up images and prints it across the picture (an empty stamp prints nothing), and
a note that stands below it. A figure is as wide as the text of a paper of two columns, or as one of its columns, so
that its letters keep their size there.
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
from matplotlib.ticker import MaxNLocator

from reports.render import frames, style, wording

TITLE_LINE = 0.14  # inches
KEY_LINE = 0.18
MARGIN_FILL = "#e9eef4"
LETTER = 0.066  # inches, of a letter of the smallest type, and room to spare


def _dash(index: int) -> Any:
    """Return the line style of the i-th series: dashed once the colours begin again."""
    return ("-", "--", ":")[index // len(style.SERIES) % 3]


def _panels(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Part a frame by a column, in the order in which its values come."""
    return {str(name): part for name, part in frame.groupby(column, sort=False)}


def _grid(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Make so many panels, row by row; the last row may be short."""
    lines = -(-count // columns)
    places = figure.add_gridspec(lines, columns)
    return [figure.add_subplot(places[place // columns, place % columns]) for place in range(count)]


BAR_SIZE = 6.5  # points
MANY_TRIALS = 12  # beyond which dots become smaller


def bars(frame: pd.DataFrame, stamp: str, note: str = "", width: float = style.TWO_COLUMNS) -> Figure:
    """Draw Fig. 4: for each task the base beside the method, with spread, single trials and the Finding.

    Args:
        frame: One row a trial: ``task`` (with its metric), ``pair`` (which contrast), ``role`` (``reference`` or
            ``method``), ``label``, ``value``, ``unit``, ``mark``, ``p`` (text), ``effect`` (text), ``published``
            (the paper's mean, NaN where it is not to be drawn).
        stamp: Printed across the figure; empty for real images.
        note: Printed below it.
        width: Inches; as wide as one column of a paper, the panels stand below each other.
    """
    with style.context():
        panels = _panels(frame, "task")
        columns = min(2 if width > style.ONE_COLUMN else 1, len(panels))
        lines = -(-len(panels) // columns)
        pairs = max(panel["pair"].nunique() for panel in panels.values())
        each = (width / columns - 0.55) / pairs  # inches of a pair
        names = [_pair_name(pair, each) for panel in panels.values() for _, pair in panel.groupby("pair", sort=False)]
        deep = 0.11 * max(name.count("\n") + 1 for name in names)
        titles = int((width / columns - 0.6) / 0.075)
        crown = TITLE_LINE * (style.deepest(panels, titles) - 1)
        handles = _bar_key(frame)
        beside = style.key_columns([handle.get_label() for handle in handles], width)
        top = 0.32 + crown + KEY_LINE * -(-len(handles) // beside)
        gap, low = 0.34 + deep + crown, 0.12 + deep + style.foot(note, width)
        high = style.share_of_page(1.45, lines, top + low + (lines - 1) * gap, least=0.9)
        height = top + lines * high + (lines - 1) * gap + low
        figure = Figure(figsize=(width, height))
        for axis, (task, panel) in zip(_grid(figure, len(panels), columns), panels.items(), strict=True):
            _bar_panel(axis, panel, style.wrapped(str(task), titles), each)
        figure.subplots_adjust(
            left=0.52 / width,
            right=1 - 0.06 / width,
            top=1 - top / height,
            bottom=low / height,
            wspace=0.56 / ((width - 0.58 - 0.56 * (columns - 1)) / columns),
            hspace=gap / high,
        )
        figure.legend(handles=handles, loc="upper left", ncols=beside, bbox_to_anchor=(0.0, 1.0))
        style.finish(figure, stamp, note)
    return figure


def _bar_key(frame: pd.DataFrame) -> list[Any]:
    dot = Line2D([], [], marker="o", linestyle="", markersize=3, color=style.INK, markerfacecolor="white")
    dot.set_label("one trial")
    handles = [
        Patch(facecolor=style.BASE_FILL, label="base, named first"),
        Patch(facecolor=style.METHOD_FILL, label="DiRA, named below"),
        dot,
    ]
    if frame["published"].notna().any():
        handles.append(Line2D([], [], marker="D", linestyle="", markersize=4, color=style.STAMP, label="paper's mean"))
    return handles


def _pair_name(pair: pd.DataFrame, width: float) -> str:
    """Name the two bars of a pair below them, the left one first; each begins a line."""
    labels = pair.groupby("role", sort=False)["label"].first()
    return "\n".join(style.wrapped(str(label), max(int(width / LETTER), 8)) for label in labels)


def bar_limits(reached: Sequence[float]) -> tuple[float, float, float]:
    """Choose the axis of a bar panel: all of it is seen, and bars begin at 0 unless all values lie far above.

    Args:
        reached: Ends of everything that is drawn.

    Returns:
        The axis' lower and upper end, and where bars begin.
    """
    low, high = min(reached), max(reached)
    span = max(high - low, 0.5)
    cut = low > 0.5 * high > 0
    start = low - 0.25 * span if cut else 0.0
    lowest = start if cut else min(0.0, low - 0.05 * span if low < 0 else 0.0)
    return lowest, high + 0.45 * (high - lowest), start


def _bar_panel(axis: Axes, frame: pd.DataFrame, title: str, each: float) -> None:
    """Draw one task: pairs of bars. An axis that does not start at zero says so."""
    groups = frame.groupby(["pair", "role"], sort=False)["value"]
    means, sds = groups.mean(), groups.std(ddof=1).fillna(0.0)
    reached = [frame["value"].min(), frame["value"].max(), *frame["published"].dropna()]
    bottom, top, start = bar_limits([*reached, *(means - sds), *(means + sds)])
    span = top - bottom
    pairs = list(dict.fromkeys(frame["pair"]))
    beside = {"reference": (-0.21, style.BASE_FILL), "method": (0.21, style.METHOD_FILL)}
    x = np.array([pairs.index(pair) + beside[role][0] for pair, role in means.index])
    fills = [beside[role][1] for _, role in means.index]
    axis.bar(x, means.to_numpy() - start, width=0.38, bottom=start, color=fills)
    axis.errorbar(x, means, yerr=sds, fmt="none", ecolor=style.INK, capsize=2, elinewidth=0.9, capthick=0.9)
    if bottom < start:
        axis.axhline(start, color=style.INK, linewidth=0.8)
    for place, (_, values) in zip(x, groups, strict=True):
        spread = np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else np.zeros(1)
        axis.plot(
            place + spread, values, "o", markersize=2.6 if len(values) <= MANY_TRIALS else 2.1, color=style.INK,
            markerfacecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
    published = frame.groupby(["pair", "role"], sort=False)["published"].first()
    axis.plot(x, published.to_numpy(dtype=float), "D", markersize=4, color=style.STAMP)
    names = []
    for place, pair in enumerate(pairs):
        inside = frame[frame["pair"] == pair]
        names.append(_pair_name(inside, each))
        first = inside.iloc[0]
        if not (pd.notna(first["mark"]) and first["mark"]):
            continue
        height = max(inside["value"].max(), *((means + sds)[pair])) + 0.06 * span
        left, right, foot = place - 0.21, place + 0.21, height - 0.025 * span
        axis.plot([left, left, right, right], [foot, height, height, foot], color=style.MUTED, linewidth=0.8)
        text = f"{first['mark']} {first['effect']}\np = {first['p']}"
        axis.text(place, height + 0.015 * span, text, ha="center", va="bottom", fontsize=BAR_SIZE)
    unit = str(frame["unit"].iloc[0])
    most = 100.0 if unit == "points" else top  # no share is above one, though marks stand there
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(bottom, top)
    axis.set_yticks([tick for tick in ticks if bottom <= tick <= most])
    axis.set_ylim(bottom, top)
    axis.set_xticks(range(len(pairs)), names, fontsize=BAR_SIZE)
    axis.set_xlim(-0.5, len(pairs) - 0.5)
    axis.set_title(title)
    axis.set_ylabel(f"{unit} (from {wording.number(start, 1)})" if start > 0 else unit)


CROWDED = 0.12  # of the axis: closer than this, the names of two label fractions would touch


def fractions(frame: pd.DataFrame, stamp: str, note: str = "") -> Figure:
    """Draw label-fraction curves: one panel a task, one line a method, whiskers for the 95 % interval of the mean.

    Args:
        frame: ``task``, ``method`` (label), ``label_fraction``, ``mean``, ``low``, ``high``
            (NaN without spread), ``unit``.
        stamp: Printed across the figure; empty for real images.
        note: Printed below it.
    """
    with style.context():
        panels, methods = _panels(frame, "task"), list(dict.fromkeys(frame["method"]))
        width, columns = style.TWO_COLUMNS, min(3, len(panels))
        if len(panels) == 4:  # two by two: no panel alone in its row
            columns = 2
        lines = -(-len(panels) // columns)
        beside = style.key_columns(methods, width)
        titles = int((width / columns - 0.5) / 0.075)
        crown = TITLE_LINE * (style.deepest(panels, titles) - 1)
        aside = 0.56  # inches left of a panel, for its numbers and their unit
        top, gap, high = 0.32 + crown + KEY_LINE * -(-len(methods) // beside), 0.85 + crown, 2.0
        low = 0.52 + style.foot(note)
        height = top + lines * high + (lines - 1) * gap + low
        figure = Figure(figsize=(width, height))
        for axis, (task, panel) in zip(_grid(figure, len(panels), columns), panels.items(), strict=True):
            _fraction_panel(axis, panel, methods)
            axis.set_ylabel(str(panel["unit"].iloc[0]))
            axis.set_title(style.wrapped(str(task), titles))
        handles = [
            Line2D(
                [], [], color=style.SERIES[i % 8], linestyle=_dash(i), marker=style.MARKERS[i % 8], markersize=4,
                linewidth=1.0, label=method,
            )
            for i, method in enumerate(methods)
        ]  # fmt: skip
        figure.subplots_adjust(
            left=0.5 / width,
            right=1 - 0.06 / width,
            top=1 - top / height,
            bottom=low / height,
            wspace=aside / ((width - 0.56 - aside * (columns - 1)) / columns),
            hspace=gap / high,
        )
        figure.legend(handles=handles, loc="upper left", ncols=beside, bbox_to_anchor=(0.0, 1.0))
        style.finish(figure, stamp, note)
    return figure


def _fraction_panel(axis: Axes, panel: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw one task: a line a method, each a little aside so that whiskers do not cover each other.

    Label fractions stand where they belong: evenly per unit, or on a logarithm where they would cover each other.
    """
    grid = np.array(sorted(panel["label_fraction"].unique())) * 100
    crowded = len(grid) > 1 and np.diff(grid).min() < CROWDED * (grid[-1] - grid[0])
    places = np.log10(grid) if crowded else grid
    span = float(places[-1] - places[0]) or 1.0
    apart = span * min(0.008, 0.08 / max(len(methods) - 1, 1))  # many methods stay within their label fraction
    for method, line in panel.sort_values("label_fraction").groupby("method", sort=False):
        index = methods.index(str(method))
        x = line["label_fraction"].to_numpy(dtype=float) * 100
        x = (np.log10(x) if crowded else x) + apart * (index - (len(methods) - 1) / 2)
        mean = line["mean"].to_numpy(dtype=float)
        errors = np.vstack([mean - line["low"].to_numpy(dtype=float), line["high"].to_numpy(dtype=float) - mean])
        axis.errorbar(
            x,
            mean,
            yerr=np.nan_to_num(errors),
            color=style.SERIES[index % len(style.SERIES)],
            linestyle=_dash(index),
            marker=style.MARKERS[index % len(style.MARKERS)],
            markersize=3.6,
            capsize=1.5,
            linewidth=0.9,
            elinewidth=0.7,
        )
    axis.set_xticks(places, [f"{fraction:g} %" for fraction in grid])
    axis.set_xlabel("labelled training units" + ("\n(logarithmic)" if crowded else ""))


CURVE_COLUMNS = 4


def curves(frame: pd.DataFrame, stamp: str, note: str = "") -> Figure:
    """Draw learning curves of pretraining: a panel for each loss of each base, a colour for each rung of the ladder.

    Args:
        frame: ``panel`` (its title), ``rung`` (terms of the last phase), ``side`` (``train`` or ``validation``),
            ``line`` (which points are joined), ``step`` (counted on through the phases), ``count`` (what that counts),
            ``value``, ``phase_start`` (step at which the point's phase began).
        stamp: Printed across the figure; empty for real images.
        note: Printed below it.
    """
    with style.context():
        panels, rungs = _panels(frame, "panel"), list(dict.fromkeys(frame["rung"]))
        colours = {rung: style.SERIES[index % len(style.SERIES)] for index, rung in enumerate(rungs)}
        width = style.TWO_COLUMNS
        beside = style.key_columns([*rungs, "validation", "train"], width)
        lines, keys = -(-len(panels) // CURVE_COLUMNS), -(-(len(rungs) + 2) // beside)
        titles = int((width / CURVE_COLUMNS - 0.3) / 0.07)
        crown = TITLE_LINE * (style.deepest(panels, titles) - 1)
        top, gap, low = 0.32 + crown + KEY_LINE * keys, 0.62 + crown, 0.4 + style.foot(note)
        high = style.share_of_page(0.95, lines, top + low + (lines - 1) * gap, least=0.6)
        height = top + lines * high + (lines - 1) * gap + low
        figure = Figure(figsize=(width, height))
        axes = _grid(figure, len(panels), CURVE_COLUMNS)
        for place, (axis, (name, panel)) in enumerate(zip(axes, panels.items(), strict=True)):
            _curve_panel(axis, panel, colours)
            axis.set_title(style.wrapped(str(name), titles), fontsize=7)
            counts = " and ".join(dict.fromkeys(panel["count"]))
            axis.set(ylabel="", xlabel=counts if place >= len(panels) - CURVE_COLUMNS or counts != frames.STEPS else "")
            axis.xaxis.label.set_fontsize(6.5)
            axis.tick_params(labelsize=6.5)
        handles = [Line2D([], [], color=colours[rung], linewidth=1.6, label=rung) for rung in rungs]
        handles += [
            Line2D([], [], color=style.MUTED, linewidth=1.2, linestyle=dash, label=side)  # type: ignore[arg-type]
            for side, dash in (("validation", "-"), ("train", "--"))
        ]
        figure.subplots_adjust(
            left=0.42 / width,
            right=1 - 0.1 / width,
            top=1 - top / height,
            bottom=low / height,
            wspace=0.45 / ((width - 0.52 - 0.45 * (CURVE_COLUMNS - 1)) / CURVE_COLUMNS),
            hspace=gap / high,
        )
        figure.legend(handles=handles, loc="upper left", ncols=beside, bbox_to_anchor=(0.0, 1.0))
        style.finish(figure, stamp, note)
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
        linewidth=1.0,
        legend=False,
        ax=axis,
    )
    began = panel[(panel["side"] == "validation") & (panel["phase_start"] > 0)]
    first = began.sort_values("step").groupby(["line", "rung"], sort=True).first().reset_index()
    axis.scatter(
        first["step"], first["value"], s=11, facecolors="white", edgecolors=[colours[rung] for rung in first["rung"]],
        linewidths=0.9, zorder=3,
    )  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(4))


EFFECT_NAME, EFFECT_LEFT = 36, 2.35  # characters of a row's name in a line, and inches
EFFECT_PANELS = 4  # side by side


def effects(frame: pd.DataFrame, stamp: str, note: str = "") -> Figure:
    """Draw the contrasts of one family with their 95 % intervals, ours above the paper's, the margin shaded.

    A panel a task, because effects of two tasks differ in size; a row a pair of methods at a label fraction.

    Args:
        frame: ``panel`` (the task), ``row``, ``place`` (its order), ``finding``, ``effect``, ``low``, ``high``,
            ``published``, ``published_low``, ``published_high``, ``margin`` (NaN where unknown), ``unit``.
        stamp: Printed across the figure; empty for real images.
        note: Printed below it.
    """
    with style.context():
        names = list(dict.fromkeys(frame["panel"]))
        lines = -(-len(names) // EFFECT_PANELS)
        columns = -(-len(names) // lines)
        parts = [names[start : start + columns] for start in range(0, len(names), columns)]
        ordered = frame.sort_values("place", kind="stable")
        rows = [list(dict.fromkeys(ordered[ordered["panel"].isin(part)]["row"])) for part in parts]
        beside = bool(frame["published"].notna().any())
        width, apart = style.TWO_COLUMNS, 0.14
        wide = (width - EFFECT_LEFT - 0.1 - apart * (columns - 1)) / columns
        titles = int(wide / 0.08)
        crown = TITLE_LINE * (style.deepest(names, titles) - 1)
        handles = _effect_key(frame, beside=beside)
        keys = style.key_columns([handle.get_label() for handle in handles], width, most=6)
        top, gap, low = 0.3 + crown + KEY_LINE * -(-len(handles) // keys), 0.7 + crown, 0.4 + style.foot(note)
        least = max(0.24 if beside else 0.17, 0.115 * style.deepest(frame["row"], EFFECT_NAME))
        others, count = top + low + gap * (lines - 1), sum(map(len, rows))
        each = style.share_of_page(least + 0.08, count, others, least)
        height = others + each * count
        figure = Figure(figsize=(width, height))
        up = height - top
        for part, own in zip(parts, rows, strict=True):
            up -= each * len(own)
            for place, name in enumerate(part):
                left = (EFFECT_LEFT + place * (wide + apart)) / width
                axis = figure.add_axes((left, up / height, wide / width, each * len(own) / height))
                _effect_panel(axis, frame[frame["panel"] == name], own, 0.14 if beside else 0.0)
                axis.set_title(style.wrapped(name, titles))
                labels = [style.wrapped(text, EFFECT_NAME) for text in own] if not place else [""] * len(own)
                axis.set_yticks(range(len(own) - 1, -1, -1), labels, fontsize=6.5)
                axis.tick_params(axis="y", length=0)
            said, beneath = "method − reference\nwith 95 % interval", (up - 0.09) / height
            figure.text(
                (EFFECT_LEFT - 0.06) / width, beneath, said, ha="right", va="top", fontsize=6.5, color=style.MUTED
            )
            up -= gap
        figure.legend(handles=handles, loc="upper left", ncols=keys, bbox_to_anchor=(0.0, 1.0))
        style.finish(figure, stamp, note)
    return figure


def _effect_key(frame: pd.DataFrame, *, beside: bool) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=style.FINDING_COLOURS[f], marker="o", markersize=4, linewidth=1.4, label=f)
        for f in wording.FINDINGS
        if f in set(frame["finding"])
    ]
    handles.append(Patch(facecolor=MARGIN_FILL, label="margin"))
    if beside:
        paper = Line2D([], [], color=style.MUTED, marker="D", markersize=3.4, linewidth=0.9, label="paper")
        paper.set_markerfacecolor("white")
        handles.append(paper)
    return handles


def _effect_panel(axis: Axes, panel: pd.DataFrame, rows: Sequence[str], ours: float) -> None:
    """Draw the contrasts of one task, top to bottom.

    Args:
        axis: Its panel.
        panel: Its part of the frame.
        rows: Every row of the figure's line, top to bottom.
        ours: How far above its line an effect of ours stands, so that the paper's fits below.
    """
    y = panel["row"].map({row: len(rows) - 1.0 - place for place, row in enumerate(rows)}).to_numpy(dtype=float)
    margins = panel["margin"].to_numpy(dtype=float)
    axis.barh(y, 2 * margins, left=-margins, height=1.0, color=MARGIN_FILL, linewidth=0)
    axis.axvline(0, color=style.INK, linewidth=0.8)
    colours = np.array([style.FINDING_COLOURS[finding] for finding in panel["finding"]])
    tested = panel["low"].notna().to_numpy()
    axis.hlines(
        y[tested] + ours, panel["low"][tested], panel["high"][tested], colors=list(colours[tested]), linewidth=1.4
    )
    axis.scatter(panel["effect"], y + ours, s=15, c=list(colours), linewidths=0, zorder=3)
    if panel["published"].notna().any():
        known = panel["published_low"].notna().to_numpy()
        ends = panel["published_low"][known], panel["published_high"][known]
        axis.hlines(y[known] - 0.2, *ends, colors=style.MUTED, linewidth=0.9)
        axis.scatter(
            panel["published"], y - 0.2, s=11, marker="D", facecolors="white", edgecolors=style.MUTED, zorder=3
        )
    reached = panel[["effect", "low", "high", "published", "published_low", "published_high"]]
    margin = float(panel["margin"].max())
    low = min(float(np.nanmin(reached.to_numpy(dtype=float))), -margin)
    high = max(float(np.nanmax(reached.to_numpy(dtype=float))), margin)
    axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(" or ".join(dict.fromkeys(panel["unit"])))
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
