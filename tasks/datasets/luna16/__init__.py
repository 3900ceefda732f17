"""LUNA16: CT scans with candidates for lung nodules. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.luna16 import phantom
from tasks.datasets.luna16.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom

DATASET = DataSet(
    name="luna16",
    terms=DataTerms(
        title="LUNA16",
        licence="CC BY 4.0",
        citations=(
            Citation(
                key="setio2017luna16",
                text=(
                    "Setio et al. Validation, comparison, and combination of algorithms for automatic detection of "
                    "pulmonary nodules in computed tomography images: the LUNA16 challenge. Medical Image Analysis "
                    "42:1–13, 2017."
                ),
            ),
            Citation(
                key="armato2011lidc",
                text=(
                    "Armato III et al. The Lung Image Database Consortium (LIDC) and Image Database Resource "
                    "Initiative (IDRI): a completed reference database of lung nodules on CT scans. Medical "
                    "Physics 38(2):915–931, 2011."
                ),
            ),
        ),
        url="https://luna16.grand-challenge.org/Data",
    ),
    dimensions=3,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    needs="SimpleITK",
    unused_patches=("foreground_share", "seed"),
)
