"""Pictures of one's own to pretrain on: a ready layout."""

from __future__ import annotations

from harness.spec import NO_TRANSFER, DataTerms
from tasks.datasets.image_folder.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet

DATASET = DataSet(
    name="image_folder",
    terms=DataTerms(
        title="your own pictures",
        licence="that of your pictures",
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    serves=(NO_TRANSFER,),
)
