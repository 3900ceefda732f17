"""Arrays of one's own in one archive: a ready layout."""

from __future__ import annotations

from harness.spec import NO_TRANSFER, DataTerms
from tasks.datasets.arrays.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet

DATASET = DataSet(
    name="arrays",
    terms=DataTerms(
        title="your own arrays",
        licence="that of your arrays",
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    serves=("classification", NO_TRANSFER),
)
