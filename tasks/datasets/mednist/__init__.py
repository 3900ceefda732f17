"""MedNIST: small images of six kinds without labels or patients, read by ``image_folder``.

What of it is fetched, and under which terms, is in ``tasks/fetching/radiographs.yaml``.
"""

from __future__ import annotations

from harness.spec import DataTerms
from tasks.fetching.facts import load_facts
from tasks.layouts.data_set import DataSet

_SOURCE = load_facts().repositories["mednist"]

DATASET = DataSet(
    name="mednist",
    terms=DataTerms(
        title="MedNIST",
        licence=_SOURCE.terms,
        credit=_SOURCE.credit,
        url=_SOURCE.address,
    ),
    dimensions=2,
)
