"""covid-chestxray: radiographs out of publications, with lung masks, read by ``image_mask_folders``.

What of it is fetched, and under which terms, is in ``tasks/fetching/radiographs.yaml``.
"""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.fetching.facts import load_facts
from tasks.layouts.data_set import DataSet

_SOURCE = load_facts().repositories["covid_chestxray"]

DATASET = DataSet(
    name="covid_chestxray",
    terms=DataTerms(
        title="covid-chestxray-dataset",
        licence=_SOURCE.terms,
        credit=_SOURCE.credit,
        citations=(Citation(key="cohen2020covid", text="Cohen et al., 2020."),),
        url=_SOURCE.address,
    ),
    dimensions=2,
)
