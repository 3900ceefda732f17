"""From a cohort's configuration to its adapter and its index: options of the adapter, lists of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.dotted import import_dotted
from harness.errors import DataError
from tasks.configuration import ADAPTERS
from tasks.layouts.index import Index
from tasks.layouts.lists import apply_lists
from tasks.options import Split


def open_adapter(cohort: Mapping[str, Any]) -> Any:
    """Return the adapter that ``TaskPlan.cohort`` names, with its options.

    Raises:
        ConfigurationError: If it cannot be imported or does not take the options.
    """
    adapter = import_dotted(ADAPTERS.get(cohort["adapter"], cohort["adapter"]))
    options = cohort.get("adapter_options")
    return adapter.with_options(options) if options else adapter


def read_index(adapter: Any, root: Path, cohort: Mapping[str, Any]) -> Index:
    """Index a data set with the configured split, or with the lists that the entry gives.

    Raises:
        DataError: For anything that the layout forbids, or lists that do not fit it.
    """
    index: Index = adapter.read(root, Split.model_validate(cohort["split"]))
    lists = cohort.get("lists")
    if lists:
        index = apply_lists(index, root, lists, patches="patches" in cohort)
    empty = [part for part in index.parts if not (index.cases["split"] == part).any()]
    if empty:
        raise DataError(
            f"no case for {' and '.join(empty)} below {root} ({index.split_rule}); expected some of each split; fetch "
            "the data set's lists, or write options: {cohort: {lists: {train: FILE, validation: FILE, test: FILE}}}"
        )
    return index
