"""Draws every figure of a report, with the words that stand around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from harness.published import Families
from reports.render import figures, frames, panel_figures, style, wording
from reports.render.inputs import Layouts, Results
from reports.render.pages import Picture
from reports.render.panel_figures import panel_blocks
from reports.render.setting import boxes_of, setting


@dataclass(frozen=True)
class _Wanted:
    """A figure to be drawn.

    Attributes:
        name: File name without suffix. title, caption: As printed on the page.
        draw: Takes ``note``, what stands below the figure, and ``width`` if ``column``.
        shown: Tasks whose numbers or images it shows. stamp: Of made-up images. credit: Whose images it shows.
        column: Drawn once more, as wide as one column of a paper.
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., Figure]
    shown: frozenset[str]
    stamp: str
    credit: str = ""
    column: bool = False


def pictures(
    results: Results, layouts: Layouts, families: Families, methods: Mapping[str, str], tasks: Mapping[str, str]
) -> list[Picture]:
    """Draw every figure that has something to show.

    Args:
        results: What was measured.
        layouts: Which figures of bars and of evidence maps there are.
        families: Which pairs belong together.
        methods: Registry name → label.
        tasks: The same for tasks.
    """
    wanted = (
        *_of_bars(results, layouts),
        *_of_panels(results, layouts, families, methods, tasks),
        *_of_effects(results),
        *_of_lines(results, methods),
    )
    return [_drawn(one, results, tasks) for one in wanted]


def _drawn(wanted: _Wanted, results: Results, tasks: Mapping[str, str]) -> Picture:
    names = [task for task in tasks if task in wanted.shown]
    said = setting(results.cohorts, tasks, names)
    inside = setting(results.cohorts, tasks, names, brief=True)
    note = "\n".join(part for part in (inside, wanted.credit) if part)
    words = " ".join(part for part in (f"{wanted.title}: {wanted.caption}", wanted.stamp, said) if part)
    files = style.figure_bytes(wanted.draw(note=note), words)
    if wanted.column:
        narrow = style.pdf_bytes(wanted.draw(note=note, width=style.ONE_COLUMN), words)
        files = {**files, "column": narrow}
    return Picture(wanted.name, wanted.title, wanted.caption, files, said)


def _of_bars(results: Results, layouts: Layouts) -> Iterator[_Wanted]:
    for name, layout in layouts.figures.items():
        frame = frames.bars_frame(results, layout.family)
        if frame.empty:
            continue
        own = [c for c in results.contrasts if c.family == layout.family]
        stamp, shown = wording.stamp_of(own), frozenset(c.task for c in own)
        draw = partial(figures.bars, frame, stamp)
        yield _Wanted(name, layout.title, layout.caption, draw, shown, stamp, column=layout.column)


def _of_panels(
    results: Results, layouts: Layouts, families: Families, methods: Mapping[str, str], tasks: Mapping[str, str]
) -> Iterator[_Wanted]:
    for name, layout in layouts.panels.items():
        blocks, stamp, shown = panel_blocks(results, layout, families, methods)
        if not blocks:
            continue
        caption = _panel_caption(layout.caption, blocks, stamp, shown, results, tasks)
        credit = next((block.method.credit for block in blocks if block.method.credit), "")
        # Real pictures are counted: a second figure would show each of them twice.
        column = layout.column and not any(block.method.shown for block in blocks)
        draw = partial(panel_figures.panels, blocks, stamp)
        yield _Wanted(name, layout.title, caption, draw, frozenset(shown), stamp, credit, column)


def _panel_caption(
    caption: str,
    blocks: Sequence[panel_figures.Block],
    stamp: str,
    shown: Sequence[str],
    results: Results,
    tasks: Mapping[str, str],
) -> str:
    """Add to a caption how many boxes there are, and whose images are shown or why none is."""
    parts = [caption, *(boxes_of(results.cohort(task), tasks[task]) for task in shown if task in tasks)]
    parts += dict.fromkeys(f"{block.method.credit}." for block in blocks if block.method.credit)
    if not stamp and not any(block.method.has_images for block in blocks):
        parts.append(f"The images of {', '.join(shown)} stay in their data root: the maps are drawn on plain ground.")
    return " ".join(part for part in parts if part)


def family_name(family: str) -> str:
    """Return the name of a family's figure; a dot in it would be the end of a name to LaTeX."""
    return f"family_{family.replace('.', '-')}"


def _of_effects(results: Results) -> Iterator[_Wanted]:
    """Draw the effects of each family apart, so that each fits a page and stands in a paper beside its table."""
    frame = frames.effects_frame(results)
    if frame.empty:
        return
    for family, inside in frame.groupby("family", sort=False):
        own = [c for c in results.contrasts if c.family == family]
        stamp = wording.stamp_of(own)
        beside = " The paper's effect stands below ours." if inside["published"].notna().any() else ""
        caption = (
            "Method − reference, a panel a task and a row a pair, with 95 % intervals, coloured by the Finding. "
            f"Shaded: the margin within which two methods count as equivalent.{beside}"
        )
        draw = partial(figures.effects, inside, stamp)
        title = f"Effects: {own[0].family_label}"
        yield _Wanted(family_name(str(family)), title, caption, draw, frozenset(c.task for c in own), stamp)


def _of_lines(results: Results, methods: Mapping[str, str]) -> Iterator[_Wanted]:
    stamp = wording.stamp_of([*results.cells, *results.contrasts])
    frame = frames.fractions_frame(results)
    if not frame.empty:
        caption = "Means with 95 % intervals at each label fraction, both blocks."
        several = frozenset(c.task for c in results.cells if c.label_fraction < 1.0)
        draw = partial(figures.fractions, frame, stamp)
        yield _Wanted("label_fractions", "Label fractions", caption, draw, several, stamp)
    frame = frames.curves_frame(results, methods)
    if not frame.empty:
        caption = (
            "Losses of pretraining by base, validation solid and training dashed. A ring marks the start of a phase, "
            "where optimiser and schedule are fresh. A method that only transfers differently shares another's curves."
        )
        pretrained = frozenset(task for run in results.pretraining.values() for task in run.cohorts)
        draw = partial(figures.curves, frame, stamp)
        yield _Wanted("learning_curves", "Learning curves", caption, draw, pretrained, stamp)
