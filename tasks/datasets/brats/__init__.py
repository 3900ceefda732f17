"""BraTS 2018: MR scans with masks of gliomas. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.brats import phantom
from tasks.datasets.brats.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom

DATASET = DataSet(
    name="brats",
    terms=DataTerms(
        title="BraTS 2018",
        licence="registration with the challenge",
        citations=(
            Citation(
                key="menze2015",
                text="Menze et al. 2015.",
            ),
            Citation(
                key="bakas2017",
                text="Bakas et al. 2017.",
            ),
            Citation(
                key="bakas2018identifying",
                text=(
                    "Bakas et al. Identifying the best machine learning algorithms for brain tumor segmentation, "
                    "progression assessment, and overall survival prediction in the BRATS challenge. 2018. "
                    "arXiv:1811.02629."
                ),
            ),
        ),
        url="https://med.upenn.edu/sbia/brats2018/tasks",
    ),
    dimensions=3,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    needs="nibabel",
)
