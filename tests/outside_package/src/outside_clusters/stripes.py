"""A data set of somebody else's: pictures of stripes, their reader, their phantom and their terms in one value.

A task's entry names it by its dotted path: ``adapter: "outside_clusters.stripes:DATASET"``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from harness.errors import DataError
from harness.spec import Citation, DataTerms
from tasks.layouts.data_set import DataSet, Phantom
from tasks.layouts.images import read_grey
from tasks.layouts.index import Finding, Index, fingerprint_of, leaks
from tasks.layouts.splits import draw_splits
from tasks.options import Split


@dataclass(frozen=True)
class Stripes:
    """Pictures ``<patient>_<upright>.png``, a patient each."""

    name: str = "stripes"
    labels: tuple[str, ...] = ("upright",)

    def read(self, root: Path, split: Split) -> Index:
        """Index every picture."""
        images = sorted(path.name for path in root.glob("*.png"))
        if not images:
            raise DataError(f"no PNG in {root}; expected pictures of stripes; put them there")
        patients = [image.partition("_")[0] for image in images]
        cases = pd.DataFrame({"case": images, "patient": patients, "image": images})
        cases["split"], rule = draw_splits(patients, split, "stripes")
        cases["upright"] = [int(image.endswith("_1.png")) for image in images]
        return Index(cases, self.labels, split_rule=rule)

    def verify(self, root: Path, split: Split, *, published: bool, decode: bool) -> list[Finding]:
        """Check for leaks, and open every picture if asked."""
        index = self.read(root, split)
        for image in index.cases["image"] if decode else ():
            read_grey(root / image)
        return leaks(index.cases)

    def fingerprint(self, root: Path) -> str:
        """Digest names and sizes."""
        return fingerprint_of(root, [], root.glob("*.png"))


class Options(BaseModel):
    """How many pictures, and the seed of the draw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(default=40, ge=8)
    seed: int = 1


def write(root: Path, options: Mapping[str, Any]) -> None:
    """Write noisy stripes that stand or lie."""
    chosen = Options.model_validate(dict(options))
    generator = np.random.default_rng(chosen.seed)
    for number in range(chosen.images):
        upright = number % 2
        wave = np.tile(127 + 90 * np.sin(np.arange(48) * generator.uniform(0.4, 0.8)), (48, 1))
        noisy = (wave if upright else wave.T) + generator.normal(0, 10, wave.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(root / f"{number:04d}_{upright}.png")


DATASET = DataSet(
    name="stripes",
    terms=DataTerms(title="Stripes", licence="CC0", citations=(Citation(key="me2026", text="Me, 2026."),)),
    dimensions=2,
    adapter=Stripes(),
    phantom=Phantom(write, Options),
)
