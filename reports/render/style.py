"""The look of everything people read: colours, type, and how a figure becomes bytes.

One file, so that a journal's style is changed in one place. Figures never read the machine's fonts, clock or
configuration: DejaVu Sans travels with matplotlib, text becomes outlines in SVG, and no date or program name is
written, so the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import matplotlib as mpl
from fontTools.subset import Options  # type: ignore[import-untyped]
from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#5b6470"
RULE = "#d5dae1"
PAPER = "#ffffff"
ACCENT = "#0b4f8a"
STAMP = "#b3261e"

TWO_COLUMNS, ONE_COLUMN = 6.875, 3.25  # inches, of CVPR's text and of one of its columns
TALLEST = 8.6  # inches, of a figure that a page of such a paper holds beside its caption
NOTE_SIZE, NOTE_LINE = 6.0, 0.115  # points; inches from line to line

# Okabe and Ito's colours (distinguishable with any common colour blindness), darkest first on white.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#4d4d4d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
BASE_FILL, METHOD_FILL = "#b8c4d2", "#2f6f9f"

FINDING_COLOURS: Mapping[str, str] = {
    "better": "#0b6b47",
    "worse": "#a3262f",
    "equivalent": "#1d5c9c",
    "identical": "#1d5c9c",
    "unresolved": "#5b6470",
    "at the floor": "#5b6470",
    "at the ceiling": "#5b6470",
}

_RC: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else each panel is measured for it each time that it is drawn
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "xtick.major.size": 0.0,
    "ytick.major.size": 3.0,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in somebody's label is a dollar, not a formula
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "path.simplify": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "dira-bench",
    "svg.id": None,
    "pdf.fonttype": 42,  # text stays text, in a type that journals take
}


def wrapped(text: str, width: int) -> str:
    """Break a label into lines, so that none is cut off or covers its neighbour; a word that is too long is broken.

    Args:
        text: As printed elsewhere.
        width: Of a line, characters.
    """
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)) or text


def deepest(labels: Iterable[str], width: int) -> int:
    """Return how many lines the longest of some labels takes, at least one."""
    return max((wrapped(str(label), width).count("\n") + 1 for label in labels), default=1)


def key_columns(labels: Sequence[str], width: float, most: int = 4) -> int:
    """Return how many entries of a legend fit side by side.

    Args:
        labels: Of the entries.
        width: Of the figure, inches.
        most: Never more than these.
    """
    longest = max(map(len, labels), default=1)
    return max(1, min(most, len(labels), int(width / (0.062 * longest + 0.5))))


def context() -> AbstractContextManager[None]:
    """Return the matplotlib settings as a context manager; figures are drawn and saved inside it."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, "backend": "agg", **_RC}
    return mpl.rc_context(settings)


def share_of_page(wanted: float, parts: int, others: float, least: float) -> float:
    """Return how high each of some parts of a figure is, so that a page holds all, inches.

    Args:
        wanted: Where there is room.
        parts: How many there are.
        others: What else the figure holds, inches.
        least: Lower than that, nothing is legible; the figure is then too high.
    """
    return max(min(wanted, (TALLEST - others) / parts), least)


def foot(note: str, width: float = TWO_COLUMNS) -> float:
    """Return the room below a figure for its note and its stamp, inches.

    Args:
        note: As ``finish`` takes it.
        width: Of the figure, inches.
    """
    return 0.2 + NOTE_LINE * (_noted(note, width).count("\n") + 1 if note else 0)


def _noted(note: str, width: float) -> str:
    return "\n".join(wrapped(line, int(20 * width)) for line in note.splitlines())


def finish(figure: Figure, stamp: str, note: str = "") -> None:
    """Write across and below a figure what its numbers come from.

    Args:
        figure: Drawn to its final size, with the room of ``foot`` below.
        stamp: What every page prints beside numbers of made-up images; empty for real ones.
        note: Scale and sample of real images, and whose they are; empty writes nothing.
    """
    width, height = map(float, figure.get_size_inches())
    if note:
        low = (0.03 if not stamp else 0.03 + NOTE_LINE) / height
        text = _noted(note, width)
        figure.text(0.005, low, text, ha="left", va="bottom", fontsize=NOTE_SIZE, color=MUTED)
    if not stamp:
        return
    copies = max(1, round(height / 6))  # a tall figure is read, and cut, in pieces
    for copy in range(copies):
        figure.text(
            0.5,
            (copy + 0.5) / copies + (0.02 if copies == 1 else 0),
            "SYNTHETIC",
            ha="center",
            va="center",
            rotation=20,
            fontsize=5.5 * width,
            weight="bold",
            color=STAMP,
            alpha=0.09,
        )
    figure.text(0.995, 0.03 / height, stamp, ha="right", va="bottom", fontsize=6.5, weight="bold", color=STAMP)


@contextmanager
def _placed_glyphs() -> Iterator[None]:
    """Embed a font without the tables that place its letters: a PDF places each letter; thinning them takes long."""
    before = Options._drop_tables_default
    Options._drop_tables_default = [*before, "GSUB", "GPOS", "GDEF"]
    try:
        yield
    finally:
        Options._drop_tables_default = before


def pdf_bytes(figure: Figure, description: str) -> bytes:
    """Save a figure as PDF without a date or a program's name; arguments as of ``figure_bytes``."""
    stream = io.BytesIO()
    plain = description.encode("ascii", "replace").decode()  # PDF writes other letters as numbers nobody can search
    unnamed = {"Creator": None, "Producer": None, "CreationDate": None}
    with context(), _placed_glyphs():
        figure.savefig(stream, format="pdf", metadata={**unnamed, "Subject": plain})
    return stream.getvalue()


def figure_bytes(figure: Figure, description: str) -> dict[str, bytes]:
    """Save a figure as ``{"svg": …, "png": …, "pdf": …, "page": …}`` without a date or a program's name.

    ``svg`` looks the same everywhere, its text is outlines; ``page`` is SVG whose text is text, to stand in a page that
    names the type: found by a search, read aloud, and a third of the size.

    Args:
        figure: The figure; its own size in inches is kept, PNG at 160 dots an inch.
        description: One line kept in the files' metadata: what it shows, and the stamp if any.
    """
    svg, page, png = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with context():
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(svg, format="svg", metadata={**nothing, "Description": description})
        with mpl.rc_context({"svg.fonttype": "none"}):
            figure.savefig(page, format="svg", metadata={**nothing, "Description": description})
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None, "Description": description})
    vector, inline = (stream.getvalue().replace(b"\r\n", b"\n") for stream in (svg, page))
    return {"svg": vector, "png": png.getvalue(), "pdf": pdf_bytes(figure, description), "page": inline}


def inline_svg(svg: bytes, prefix: str, label: str) -> str:
    """Make an SVG file fit to stand inside a page, beside others.

    Ids get a prefix (two figures otherwise share ``axes_1`` and clip paths), the prolog, metadata and name spaces
    go, and the picture gets a text for those who do not see it.

    Args:
        svg: A file written by ``figure_bytes``.
        prefix: Distinct for each figure of a page; letters, digits, ``_`` and ``-``.
        label: The alternative text, already escaped for an attribute.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()


PAGE_COLOURS: Mapping[str, str] = {
    "ink": INK,
    "muted": MUTED,
    "rule": RULE,
    "paper": PAPER,
    "accent": ACCENT,
    "stamp": STAMP,
    **FINDING_COLOURS,
}
