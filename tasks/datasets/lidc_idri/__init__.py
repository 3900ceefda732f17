"""LIDC-IDRI: CT scans with outlines of lung nodules. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.lidc_idri import phantom
from tasks.datasets.lidc_idri.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom

DATASET = DataSet(
    name="lidc_idri",
    terms=DataTerms(
        title="LIDC-IDRI",
        licence="CC BY 3.0",
        citations=(
            Citation(key="tcia", text="The archive, TCIA."),
            Citation(
                key="armato2011lidc",
                text=(
                    "Armato III et al. The Lung Image Database Consortium (LIDC) and Image Database Resource "
                    "Initiative (IDRI): a completed reference database of lung nodules on CT scans. Medical "
                    "Physics 38(2):915–931, 2011."
                ),
            ),
        ),
    ),
    dimensions=3,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    needs="pydicom",
    unused_patches=("foreground_share", "seed", "in_plane"),
)
