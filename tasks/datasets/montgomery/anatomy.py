"""The anatomy cohort: projections of one real scan, with the projected lungs as masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from tasks.datasets.montgomery import phantom
from tasks.phantoms.anatomy_files import STAMP
from tasks.phantoms.projection import Projection


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the projections in Montgomery's layout; returns facts for the manifest."""
    return {**phantom.write(folder, options, Projection), "stamp": STAMP}
