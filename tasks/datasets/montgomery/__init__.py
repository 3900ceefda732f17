"""Montgomery County: radiographs with lung masks. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.montgomery import anatomy, phantom
from tasks.datasets.montgomery.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom
from tasks.phantoms.anatomy_files import STAMP

DATASET = DataSet(
    name="montgomery",
    terms=DataTerms(
        title="Montgomery County chest X-ray set",
        licence="free, de-identified; acknowledge the National Library of Medicine and Montgomery County",
        citations=(
            Citation(
                key="jaeger2014two",
                text=(
                    "Jaeger et al. Two public chest X-ray datasets for computer-aided screening of pulmonary "
                    "diseases. Quantitative Imaging in Medicine and Surgery 4(6), 2014."
                ),
            ),
            Citation(
                key="candemir2014",
                text="Candemir et al. 2014.",
            ),
        ),
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    anatomy=Phantom(anatomy.write, phantom.Options, ("scan", "organs"), STAMP),
)
