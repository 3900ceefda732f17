"""ChestX-ray14: radiographs with 14 labels, and boxes for some. Its layout and traps: README.md."""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.datasets.chestxray14 import anatomy, phantom
from tasks.datasets.chestxray14.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet, Phantom
from tasks.phantoms.anatomy_files import STAMP

DATASET = DataSet(
    name="chestxray14",
    terms=DataTerms(
        title="ChestX-ray14",
        licence="free use with attribution: name the NIH Clinical Center and link to its download page",
        citations=(
            Citation(
                key="wang2017chestxray8",
                text=(
                    "Wang et al. ChestX-ray8: Hospital-scale chest X-ray database and benchmarks on "
                    "weakly-supervised classification and localization of common thorax diseases. CVPR 2017, pages "
                    "2097–2106."
                ),
            ),
        ),
        url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    phantom=Phantom(phantom.write, phantom.Options),
    anatomy=Phantom(anatomy.write, anatomy.Options, ("labels", "boxes", "relabelled", "scan", "organs"), STAMP),
)
