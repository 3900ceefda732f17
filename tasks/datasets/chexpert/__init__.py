"""CheXpert: radiographs with 14 labels in four states. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.chexpert import anatomy, phantom
from tasks.datasets.chexpert.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom
from tasks.phantoms.anatomy_files import STAMP

DATASET = DataSet(
    name="chexpert",
    terms=DataTerms(
        title="CheXpert",
        licence="Stanford University research agreement: non-commercial, no redistribution",
        citations=(
            Citation(
                key="irvin2019chexpert",
                text=(
                    "Irvin et al. CheXpert: A large chest radiograph dataset with uncertainty labels and expert "
                    "comparison. 2019. arXiv:1901.07031."
                ),
            ),
        ),
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    anatomy=Phantom(anatomy.write, anatomy.Options, ("chexpert", "scan", "organs"), STAMP),
    uncertain_labels=True,
)
