"""Reads what ``report.html`` holds for its script to draw from, as rows with names."""

from __future__ import annotations

import base64
import gzip
import json
import re
from types import SimpleNamespace

NESTED = {"tables": ("columns", "rows"), "rows": ("entries",), "cells": ("summaries", "trials")}


def shown(page: str) -> SimpleNamespace:
    """Return the document with named rows; a picture is unpacked."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    raw = json.loads(text)

    def named(kind: str, values: list | None) -> SimpleNamespace | None:
        if values is None:
            return None
        row = dict(zip(raw["fields"][kind], values, strict=True))
        for inner in NESTED.get(kind, ()):
            row[inner] = [named(inner, one) for one in row[inner]]
        return SimpleNamespace(**row)

    found = SimpleNamespace(**raw, text=text)
    for kind in ("methods", "contrasts", "cells", "tables", "texts", "curves"):
        setattr(found, kind, [named(kind, values) for values in raw[kind]])
    found.figures = {name: gzip.decompress(base64.b64decode(data)).decode() for name, data in raw["figures"].items()}
    return found


def table_of(page: str, name: str) -> SimpleNamespace:
    """Return one table of texts."""
    return next(table for table in shown(page).texts if table.name == name)


def own_text(page: str) -> str:
    """Return a page without the library that is built into it, which is not ours and names its makers' addresses."""
    return re.sub(r"<script>/\*\nThe MIT License.*?</script>", "", page, flags=re.DOTALL)
