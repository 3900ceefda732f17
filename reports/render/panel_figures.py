"""Fig. 5 and 6: evidence of two models over the same images, the base above, the method below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.published import Families
from harness.results.shown import PANELS
from reports.render import style, wording
from reports.render.inputs import PanelLayout, Results
from reports.render.panels import Maps, Panel, choose, comparable, picture, random_panel, spread_of_classes

PANEL, GAP, LEFT, HEAD, BLOCK_HEAD = 1.12, 0.08, 1.12, 0.36, 0.34  # inches
LEFT_NAME = 15  # characters of a method's name in a line beside its panels
REAL, FOUND = "#ffffff", "#56b4e9"
COLOURS = "inferno"


@dataclass(frozen=True)
class Block:
    """One part of a figure: a base and a method on the same panels.

    Attributes:
        method_label, base_label: As printed. method, base: Their maps. panels: Columns, left to right.
    """

    method_label: str
    base_label: str
    method: Maps
    base: Maps
    panels: Sequence[Panel]


def panel_blocks(
    results: Results, layout: PanelLayout, families: Families, methods: Mapping[str, str]
) -> tuple[list[Block], str, list[str]]:
    """Gather the pairs of a family whose two methods kept maps of the same images.

    Args:
        results: What was measured.
        layout: Which family, and how many classes.
        families: Its pairs and task.
        methods: Registry name → label.

    Returns:
        The blocks, the stamp of the tasks' images, and the tasks' names; no block if no pair can be shown.
    """
    pairs, tasks = _shape(results, layout.family, families, methods)
    blocks = []
    for task in tasks:
        for name, reference in pairs:
            method, base = (results.maps.get(m, {}).get(task) for m in (name, reference))
            if method is None or base is None or not len(method) or not comparable(method, base):
                continue
            chosen = choose(method, base)
            if layout.classes is not None:
                chosen = spread_of_classes(chosen, method, base, layout.classes)
            drawn = [*chosen, random_panel(method)]
            blocks.append(Block(methods[name], methods[reference], method, base, drawn))
    blocks = allowed_blocks(blocks)
    stamp = wording.stamp_of([cell for cell in results.cells if cell.task in tasks])
    return blocks, stamp, tasks


def real_panels(block: Block) -> int:
    """Count the panels of a block that show a real image: two of each column."""
    return 2 * sum(panel.pair is not None for panel in block.panels) if block.method.shown else 0


def allowed_blocks(blocks: Sequence[Block]) -> list[Block]:
    """Leave blocks out from where pictures kept and panels drawn would come to more than may be shown."""
    kept: list[Block] = []
    left = PANELS - max((len(block.method.shown) for block in blocks), default=0)
    for block in blocks:
        left -= real_panels(block)
        if left < 0:
            break
        kept.append(block)
    return kept


def _shape(
    results: Results, family: str, families: Families, methods: Mapping[str, str]
) -> tuple[Sequence[tuple[str, str]], list[str]]:
    """Return the pairs and the tasks of a published family, or of one on added tasks."""
    if family in families.families:
        shape = families.families[family]
        return shape.pairs, list(shape.tasks)
    localized = dict.fromkeys(task for maps in results.maps.values() for task in maps)
    known = families.tasks()
    return families.added_pairs(family, methods), [task for task in localized if task not in known]


def panels(blocks: Sequence[Block], stamp: str, foot: float = 0.0) -> Figure:
    """Draw blocks of two rows: images with evidence, real boxes (solid) and the predicted box that comes nearest.

    Args:
        blocks: One a pair of methods.
        stamp: Printed across the figure; empty for real images.
        foot: Room below for whose images they are, inches; a figure with one is wide enough for the words.
    """
    with style.context():
        columns = max(len(block.panels) for block in blocks)
        each = BLOCK_HEAD + HEAD + 2 * (PANEL + 0.22)
        width = max(LEFT + columns * (PANEL + GAP) + 0.3, 5.6 if foot else 0.0)
        height = len(blocks) * each + 0.3 + foot
        figure = Figure(figsize=(width, height))
        colours = np.asarray(mpl.colormaps[COLOURS](np.arange(256)))[:, :3]
        for position, block in enumerate(blocks):
            top = height - position * each
            letter = f"({'abcdefgh'[position]}) " if len(blocks) > 1 else ""
            figure.text(
                0.08 / width,
                (top - 0.2) / height,
                f"{letter}{block.base_label} and {block.method_label}",
                weight="bold",
                fontsize=10,
            )
            for row, (maps, label) in enumerate(((block.base, block.base_label), (block.method, block.method_label))):
                bottom = top - BLOCK_HEAD - HEAD - row * (PANEL + 0.22) - PANEL
                figure.text(
                    (LEFT - 0.12) / width,
                    (bottom + PANEL / 2) / height,
                    style.wrapped(label, LEFT_NAME),
                    ha="right",
                    va="center",
                    fontsize=8,
                )
                for column, panel in enumerate(block.panels):
                    start = LEFT + column * (PANEL + GAP) + (0.2 if panel.chosen == "random" else 0.0)
                    axis = figure.add_axes((start / width, bottom / height, PANEL / width, PANEL / height))
                    _panel(axis, maps, panel, colours, first=row == 0)
        style.stamp_figure(figure, stamp)
    return figure


def _panel(axis: Axes, maps: Maps, panel: Panel, colours: np.ndarray, *, first: bool) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    if first:
        kind = f"median of {panel.eligible} in {panel.kept}" if panel.eligible else f"none of {panel.kept}"
        kind = "at random" if panel.chosen == "random" else kind
        name = panel.label.replace("_", " ")
        axis.text(0.5, 1.16, name, ha="center", va="bottom", fontsize=8, weight="bold", transform=axis.transAxes)
        axis.text(0.5, 1.03, kind, ha="center", va="bottom", fontsize=7, color=style.MUTED, transform=axis.transAxes)
    if panel.pair is None:
        axis.set_facecolor("#eef1f5")
        axis.text(
            0.5, 0.5, "no pair that\nboth predict", ha="center", va="center", fontsize=7, transform=axis.transAxes
        )
        return
    axis.imshow(picture(maps, panel.pair, colours), extent=(0, 1, 1, 0), interpolation="none")
    found = np.asarray(maps.arrays["found"][panel.pair], dtype=float)
    if np.isfinite(found).all():
        _box(axis, found, FOUND, (0, (3, 2)))
    for box in maps.boxes(panel.pair):
        _box(axis, box, REAL, "-")
    axis.set_xlim(0, 1)
    axis.set_ylim(1, 0)
    empty = np.asarray(maps.arrays["cams"][panel.pair]).max() <= 0.0
    overlap = "empty map" if empty else f"IoU {wording.number(float(maps.arrays['overlap'][panel.pair]))}"
    mark = "" if maps.predicted[panel.pair] else ", not predicted"
    axis.text(0.5, -0.04, overlap + mark, ha="center", va="top", fontsize=7, transform=axis.transAxes)


def _box(axis: Axes, corners: np.ndarray, colour: str, line: object) -> None:
    """Draw a box with a dark rim, so that it is seen on bright and dark ground alike."""
    x0, y0, x1, y1 = (float(np.clip(value, 0.0, 1.0)) for value in corners)
    for edge, width in (("#000000", 2.6), (colour, 1.2)):
        axis.add_patch(
            Rectangle(
                (x0, y0),
                x1 - x0,
                y1 - y0,
                fill=False,
                edgecolor=edge,
                linewidth=width,
                linestyle=line if edge == colour else "-",
                alpha=1.0 if edge == colour or line == "-" else 0.35,
            )
        )
