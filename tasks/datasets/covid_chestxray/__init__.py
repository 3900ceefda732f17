"""covid-chestxray: radiographs out of publications, with lung masks, read by ``image_mask_folders``.

What of it is fetched, and under which terms, is in ``tasks/fetching/radiographs.yaml``.
"""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.fetching.facts import load_facts
from tasks.layouts.data_set import DataSet

_IMAGES, _MASKS = load_facts().repositories["covid_chestxray"], load_facts().package

DATASET = DataSet(
    name="covid_chestxray",
    terms=DataTerms(
        title="covid-chestxray-dataset",
        licence=f"{_IMAGES.terms}; {_MASKS.title}: {_MASKS.terms}",
        credit=f"{_IMAGES.credit}. {_MASKS.credit}",
        citations=(Citation(key="cohen2020covid", text="Cohen et al., 2020."),),
        url=_IMAGES.address,
    ),
    dimensions=2,
)
