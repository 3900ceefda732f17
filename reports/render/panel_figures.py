"""Fig. 5 and 6: evidence of two models over the same images, the base above, the method below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.gates import NOT_LEARNT
from harness.published import Families
from harness.results.shown import PANELS
from reports.render import style, wording
from reports.render.inputs import PanelLayout, Results
from reports.render.panels import Maps, Panel, choose, comparable, picture, random_panel, spread_of_classes

GAP, BELOW, HEAD = 0.07, 0.17, 0.34  # inches: beside a panel, below it, above a block's panels
TITLE_LINE = 0.125  # inches, of a block's title
ASIDE = 0.12  # inches, before the panel that is drawn at random
SMALLEST, LARGEST = 0.42, 1.12  # inches, of a panel's side
LETTER, TITLE_LETTER = 0.06, 0.08  # inches, of a letter beside a panel and of a block's title
LEFT_NAME = 15  # characters of a method's name in a line beside its panels
REAL, FOUND = "#ffffff", "#56b4e9"
COLOURS = "inferno"
UNPREDICTED = " (n. p.)"  # not predicted, where there is no room; captions say so


@dataclass(frozen=True)
class Block:
    """One part of a figure: a base and a method on the same panels.

    Attributes:
        method_label, base_label: As printed, marked if an encoder was not learnt. method, base: Their maps.
        panels: Columns, left to right.
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
            labels = [_marked(results, one, methods) for one in (name, reference)]
            blocks.append(Block(labels[0], labels[1], method, base, drawn))
    blocks = allowed_blocks(blocks)
    stamp = wording.stamp_of([cell for cell in results.cells if cell.task in tasks])
    return blocks, stamp, tasks


def _marked(results: Results, method: str, methods: Mapping[str, str]) -> str:
    failed = results.verdict(method).word == NOT_LEARNT
    return methods[method] + (f" ({NOT_LEARNT})" if failed else "")


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


@dataclass(frozen=True)
class _Look:
    """How panels are drawn: side in inches, whether there is room for whole words, and the map of colours."""

    side: float
    roomy: bool
    colours: np.ndarray


def panels(blocks: Sequence[Block], stamp: str, note: str = "", width: float = style.TWO_COLUMNS) -> Figure:
    """Draw images with evidence, real boxes (solid) and the predicted box that comes nearest, base beside method.

    A block is two rows, a column an image; where a column of a paper is too narrow for that, a row is a class and a
    column a model.

    Args:
        blocks: One a pair of methods.
        stamp: Printed across the figure; empty for real images.
        note: Printed below it.
        width: Inches.
    """
    with style.context():
        colours = np.asarray(mpl.colormaps[COLOURS](np.arange(256)))[:, :3]
        columns = max(len(block.panels) for block in blocks)
        left = 1.0 if width > style.ONE_COLUMN else 0.66
        side = (width - left - ASIDE - 0.1) / columns - GAP
        if side < SMALLEST:
            return _turned(blocks, stamp, note, width, colours)
        titles = [f"{_letter(n, blocks)}{b.base_label} and {b.method_label}" for n, b in enumerate(blocks)]
        head = HEAD + TITLE_LINE * style.deepest(titles, int(width / TITLE_LETTER))
        low = style.foot(note, width)
        tall = ((style.TALLEST - low) / len(blocks) - head) / 2 - BELOW
        side = min(side, LARGEST, max(tall, SMALLEST))
        each = head + 2 * (side + BELOW)
        height = len(blocks) * each + low
        figure = Figure(figsize=(width, height))
        look = _Look(side, roomy=side > 0.8, colours=colours)
        spare = max(width - left - columns * (side + GAP) - ASIDE - 0.1, 0.0)
        for position, (block, title) in enumerate(zip(blocks, titles, strict=True)):
            top = height - position * each
            text = style.wrapped(title, int(width / TITLE_LETTER))
            figure.text((0.04 + spare / 2) / width, (top - 0.05) / height, text, weight="bold", fontsize=8, va="top")
            _block(figure, block, look, left + spare / 2, top - head)
        style.finish(figure, stamp, note)
    return figure


def _letter(position: int, blocks: Sequence[Block]) -> str:
    return f"({'abcdefgh'[position]}) " if len(blocks) > 1 else ""


def _block(figure: Figure, block: Block, look: _Look, left: float, top: float) -> None:
    """Draw a pair of methods: two rows of panels, from ``left`` on and down from ``top``, in inches."""
    width, height = map(float, figure.get_size_inches())
    letters = int((left - 0.1) / LETTER) if left < 1.2 else LEFT_NAME
    for row, (maps, label) in enumerate(((block.base, block.base_label), (block.method, block.method_label))):
        bottom = top - row * (look.side + BELOW) - look.side
        name = style.wrapped(label, letters)
        figure.text(
            (left - 0.06) / width, (bottom + look.side / 2) / height, name, ha="right", va="center", fontsize=6.5
        )
        for column, panel in enumerate(block.panels):
            start = left + column * (look.side + GAP) + (ASIDE if panel.chosen == "random" else 0.0)
            axis = figure.add_axes((start / width, bottom / height, look.side / width, look.side / height))
            _panel(axis, maps, panel, look)
            if row == 0:
                _heading(axis, panel, look)


def _turned(blocks: Sequence[Block], stamp: str, note: str, width: float, colours: np.ndarray) -> Figure:
    """Draw a class a row and a model a column: every class within a narrow column of a paper."""
    rows = max((block.panels for block in blocks), key=len)
    left, head, apart = 0.62, 0.62, 0.06
    side = (width - left - 0.06 - apart * len(blocks)) / (2 * len(blocks)) - 0.03
    each, low = side + 0.15, style.foot(note, width)
    height = head + each * len(rows) + 0.16 + low  # the last row, drawn at random, is set apart and may say more
    figure = Figure(figsize=(width, height))
    look = _Look(side, roomy=False, colours=colours)
    for position, block in enumerate(blocks):
        at = left + position * (2 * (side + 0.03) + apart)
        figure.text(at / width, (height - 0.03) / height, _letter(position, blocks).strip(), weight="bold", va="top")
        for place, (maps, label) in enumerate(((block.base, block.base_label), (block.method, block.method_label))):
            start = at + place * (side + 0.03)
            name = style.wrapped(label, max(int((side + 0.03) / 0.04), 9))
            middle = (start + side / 2) / width
            figure.text(middle, (height - head + 0.03) / height, name, ha="center", va="bottom", fontsize=4.8)
            for row, panel in enumerate(block.panels):
                down = head + row * each + side + (0.08 if panel.chosen == "random" else 0.0)
                axis = figure.add_axes((start / width, (height - down) / height, side / width, side / height))
                _panel(axis, maps, panel, look)
                if not position and not place:
                    name = style.wrapped(panel.label.replace("_", " "), 14)
                    name += "\nat random" if panel.chosen == "random" else ""
                    at_left = (left - 0.05) / width, (height - down + side / 2) / height
                    figure.text(*at_left, name, ha="right", va="center", fontsize=5.5)
    style.finish(figure, stamp, note)
    return figure


def _heading(axis: Axes, panel: Panel, look: _Look) -> None:
    """Write above a panel its class, and of how many images it is the median."""
    kind = "none" if not panel.eligible else "only one" if panel.eligible == 1 else f"median of {panel.eligible}"
    kind = "at random" if panel.chosen == "random" else f"{kind} in {panel.kept}" if look.roomy else kind
    name = style.wrapped(panel.label.replace("_", " "), int((look.side + GAP) / 0.0485))
    size = 6.5 if look.roomy else 5.4
    axis.text(
        0.5, 1 + 0.135 / look.side, name, ha="center", va="bottom", fontsize=size, weight="bold",
        transform=axis.transAxes,
    )  # fmt: skip
    axis.text(
        0.5, 1 + 0.03 / look.side, kind, ha="center", va="bottom", fontsize=5.8, color=style.MUTED,
        transform=axis.transAxes,
    )  # fmt: skip


def _panel(axis: Axes, maps: Maps, panel: Panel, look: _Look) -> None:
    axis.set_axis_off()
    small = 5.8 if look.side > 0.5 else 4.6
    if panel.pair is None:
        axis.set(xlim=(0, 1), ylim=(1, 0))
        axis.add_patch(Rectangle((0, 0), 1, 1, facecolor="#eef1f5", edgecolor="none"))
        text = "no pair that\nboth predict" if look.side > 0.55 else "none"
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=small)
        return
    axis.imshow(picture(maps, panel.pair, look.colours), extent=(0, 1, 1, 0), interpolation="none")
    found = np.asarray(maps.arrays["found"][panel.pair], dtype=float)
    thin = 1.0 if look.side > 0.5 else 0.6
    if np.isfinite(found).all():
        _box(axis, found, FOUND, (0, (3, 2)), thin)
    for box in maps.boxes(panel.pair):
        _box(axis, box, REAL, "-", thin)
    axis.set(xlim=(0, 1), ylim=(1, 0))
    empty = np.asarray(maps.arrays["cams"][panel.pair]).max() <= 0.0
    overlap = "empty map" if empty else f"IoU {wording.number(float(maps.arrays['overlap'][panel.pair]))}"
    missed = "" if maps.predicted[panel.pair] else ", not predicted" if look.roomy else UNPREDICTED
    missed = missed.replace(" ", "\n", 1) if look.side <= 0.5 else missed
    axis.text(
        0.5, -0.025 / look.side, overlap + missed, ha="center", va="top", fontsize=small, transform=axis.transAxes
    )


def _box(axis: Axes, corners: np.ndarray, colour: str, line: object, thin: float) -> None:
    """Draw a box with a dark rim, so that it is seen on bright and dark ground alike."""
    x0, y0, x1, y1 = (float(np.clip(value, 0.0, 1.0)) for value in corners)
    for edge, width in (("#000000", 2.0 * thin), (colour, thin)):
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
