"""Pictures of one's own with a table of labels: a ready layout."""

from __future__ import annotations

from harness.spec import NO_TRANSFER, DataTerms
from tasks.datasets.table.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet

DATASET = DataSet(
    name="table",
    terms=DataTerms(
        title="your own pictures",
        licence="that of your pictures",
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    serves=("classification", NO_TRANSFER),
    labels_of_entry=True,
)
