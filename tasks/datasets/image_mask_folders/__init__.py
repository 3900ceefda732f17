"""Pictures of one's own in two folders, images and masks: a ready layout."""

from __future__ import annotations

from harness.spec import NO_TRANSFER, DataTerms
from tasks.datasets.image_mask_folders.adapter import ADAPTER, Options
from tasks.layouts.data_set import DataSet

DATASET = DataSet(
    name="image_mask_folders",
    terms=DataTerms(
        title="your own pictures",
        licence="that of your pictures",
    ),
    dimensions=2,
    adapter=ADAPTER,
    options=Options,
    serves=("segmentation", NO_TRANSFER),
)
