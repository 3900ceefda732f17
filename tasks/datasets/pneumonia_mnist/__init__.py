"""PneumoniaMNIST: radiographs of children at 28 px, read by ``arrays``.

What of it is fetched, and under which terms, is in ``tasks/fetching/radiographs.yaml``.
"""

from __future__ import annotations

from harness.spec import Citation, DataTerms
from tasks.fetching.facts import load_facts
from tasks.layouts.data_set import DataSet

_SOURCE = load_facts().repositories["pneumonia"]

DATASET = DataSet(
    name="pneumonia_mnist",
    terms=DataTerms(
        title="PneumoniaMNIST (MedMNIST v2)",
        licence=_SOURCE.terms,
        credit=_SOURCE.credit,
        citations=(
            Citation(key="yang2023medmnist", text="Yang et al., MedMNIST v2, 2023."),
            Citation(key="kermany2018", text="Kermany et al., 2018."),
        ),
        url=_SOURCE.address,
    ),
    dimensions=2,
)
