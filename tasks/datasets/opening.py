"""From a cohort's configuration to its adapter and its index: options of the adapter, lists of the user's."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ConfigurationError, DataError
from tasks.datasets.catalogue import adapter_of
from tasks.layouts.adapter import Adapter, AdapterWithOptions
from tasks.layouts.index import Index
from tasks.layouts.lists import apply_lists
from tasks.specs import CohortConfiguration, described_list


def open_adapter(cohort: CohortConfiguration) -> Adapter:
    """Return the adapter that a cohort names, with its options.

    Raises:
        ConfigurationError: If it cannot be imported or does not take the options.
    """
    adapter, options = adapter_of(cohort.adapter), cohort.adapter_options
    if not options:
        return adapter
    if not isinstance(adapter, AdapterWithOptions):
        raise ConfigurationError(f"adapter {adapter.name} has no options; found {options!r}; remove them.")
    return adapter.with_options(options)


def read_index(adapter: Adapter, root: Path, cohort: CohortConfiguration) -> Index:
    """Index a data set with the configured split, or with the lists that the entry gives.

    Raises:
        DataError: For anything that the layout forbids, or lists that do not fit it.
    """
    index = adapter.read(root, cohort.split)
    if cohort.lists:
        described = {part: described_list(given) for part, given in cohort.lists.items()}
        index = apply_lists(index, root, described, patches=cohort.patches is not None)
    empty = [part for part in index.parts if not (index.cases["split"] == part).any()]
    if empty:
        raise DataError(
            f"no case for {' and '.join(empty)} below {root} ({index.split_rule}); expected some of each split; fetch "
            "the data set's lists, or write options: {cohort: {lists: {train: FILE, validation: FILE, test: FILE}}}"
        )
    return index
