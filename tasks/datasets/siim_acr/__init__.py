"""SIIM-ACR: radiographs with masks of pneumothorax. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.siim_acr import anatomy, phantom
from tasks.datasets.siim_acr.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom
from tasks.phantoms.anatomy_files import STAMP

DATASET = DataSet(
    name="siim_acr",
    terms=DataTerms(
        title="SIIM-ACR Pneumothorax Segmentation",
        licence="challenge terms, non-commercial",
        citations=(
            Citation(
                key="siimacr2019",
                text="SIIM-ACR pneumothorax segmentation. Challenge, 2019.",
            ),
            Citation(
                key="filice2020",
                text="Filice et al. Journal of Digital Imaging, 2020.",
            ),
        ),
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    anatomy=Phantom(anatomy.write, anatomy.Options, ("runs", "scan", "organs"), STAMP),
    needs="pydicom",
)
