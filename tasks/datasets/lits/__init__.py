"""LiTS: CT scans with masks of the liver. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.lits import phantom
from tasks.datasets.lits.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom

DATASET = DataSet(
    name="lits",
    terms=DataTerms(
        title="LiTS",
        licence="CC BY-NC-ND 4.0",
        citations=(
            Citation(
                key="bilic2023lits",
                text="Bilic et al. The Liver Tumor Segmentation Benchmark (LiTS). 2023. arXiv:1901.04056.",
            ),
        ),
    ),
    dimensions=3,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    needs="nibabel",
)
