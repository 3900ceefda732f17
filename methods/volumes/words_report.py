"""A page that shows the words: for each, the same place in the patients that look alike."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment
from PIL import Image

from methods.volumes.words import Word, unit

SHOWN = 8  # cubes of a word
LEAST_PX = 64  # side of a drawn cube

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Visual words</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.3rem .6rem;text-align:left;vertical-align:middle}
tr+tr{border-top:1px solid #ddd}img{display:block;max-width:100%;image-rendering:pixelated}</style></head><body>
<h1>{{ words | length }} visual words</h1>
<p>Each row is one word: the middle slice of its cube, at the same coordinates, in the scan it was drawn in and then in
the training scans most like it, nearest first. No annotator made these classes.</p>
<table><tr><th>word</th><th>scan</th><th>corner x, y, z</th><th>cubes</th><th>what it looks like</th></tr>
{% for word in words %}<tr><td>{{ word.number }}</td><td>{{ word.case }}</td><td>{{ word.corner }}</td>
<td>{{ word.cubes }}</td><td><img alt="word {{ word.number }}" src="data:image/png;base64,{{ word.strip }}"></td></tr>
{% endfor %}</table></body></html>
"""


def write_page(folder: Path, words: list[Word], table: pd.DataFrame, cubes: np.ndarray) -> None:
    """Write ``words.png``, a row a word, and ``words.html``, the same with names; the same words give the same bytes.

    Args:
        folder: Where to.
        words: The words.
        table: The table of cubes.
        cubes: ``(N, X, Y, Z)``.
    """
    strips, rows = [], []
    for number, word in enumerate(words):
        own = table[(table["word"] == number) & (table["split"] == "train")]
        shown = own[own["resolution"] == 0]["row"].to_numpy()[:SHOWN]
        strip = _strip(cubes, shown)
        strips.append(strip)
        rows.append(
            {
                "number": number,
                "case": own["case"].iloc[0],
                "corner": ", ".join(map(str, word.corner)),
                "cubes": int((table["word"] == number).sum()),
                "strip": base64.b64encode(_png(strip)).decode(),
            }
        )
    width = max(strip.shape[1] for strip in strips)
    whole = np.concatenate(
        [np.pad(strip, ((0, 2), (0, width - strip.shape[1])), constant_values=255) for strip in strips]
    )
    (folder / "words.png").write_bytes(_png(whole))
    page = Environment(autoescape=True).from_string(PAGE).render(words=rows)
    (folder / "words.html").write_text(page, encoding="utf-8")


def _strip(cubes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Put the middle slices of cubes side by side, x to the right and y down; uint8."""
    times = max(1, LEAST_PX // cubes.shape[1])
    drawn = []
    for row in rows:
        middle = unit(np.asarray(cubes[row][:, :, cubes.shape[3] // 2])).T
        large = np.repeat(np.repeat(np.rint(middle * 255).astype(np.uint8), times, axis=0), times, axis=1)
        drawn.append(np.pad(large, ((0, 0), (0, 2)), constant_values=255))
    return np.concatenate(drawn, axis=1)


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()
