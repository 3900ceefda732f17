"""PE-CAD: CT scans with candidates for pulmonary emboli; private. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.pe_cad import phantom
from tasks.datasets.pe_cad.adapter import ADAPTER
from tasks.layouts.data_set import DataSet, Phantom

DATASET = DataSet(
    name="pe_cad",
    terms=DataTerms(
        title="PE-CAD",
        licence="private: no licence, nobody can fetch it",
        citations=(
            Citation(
                key="tajbakhsh2015",
                text=(
                    "Tajbakhsh, Gotway and Liang. Computer-aided pulmonary embolism detection using a novel "
                    "vessel-aligned multi-planar image representation and convolutional neural networks. MICCAI "
                    "2015, pages 62–69."
                ),
            ),
        ),
    ),
    dimensions=3,
    adapter=ADAPTER,
    phantom=Phantom(phantom.write, phantom.Options),
    needs="nibabel",
    unused_patches=("foreground_share", "seed"),
)
