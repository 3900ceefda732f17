"""Which data sets there are: every folder beside this file that declares a ``DATASET``. No torch.

A registry entry or a profile asks for an adapter or a generator by a short name of the catalogue, or by the dotted path
of an object of somebody else's package: an adapter, a generator, or a whole ``DataSet``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pydantic import BaseModel

from harness.dotted import declared_beside, import_dotted, import_module
from harness.errors import BrokenCode, BrokenProject, ConfigurationError, unknown
from harness.foreign import describe_error, guest
from harness.spec import DataTerms
from tasks import datasets
from tasks.layouts.adapter import Adapter
from tasks.layouts.data_set import DataSet, Phantom


@cache
def catalogue() -> Mapping[str, DataSet]:
    """Return name → data set, in the order of the names.

    Raises:
        BrokenProject: A sentence for each folder that cannot be imported, declares none, or one of another name.
    """
    found: dict[str, DataSet] = {}
    problems: list[str] = []
    for module in pkgutil.iter_modules(datasets.__path__):
        if not module.ispkg:
            continue
        try:
            found[module.name] = _declared(module.name)
        except BrokenProject as error:
            problems.append(str(error))
    if problems:
        raise BrokenProject("\n".join(problems))
    return MappingProxyType(found)


def _declared(name: str) -> DataSet:
    """Return the data set of a folder.

    Raises:
        BrokenProject: If there is none of the folder's name.
    """
    where, expected = f"tasks/datasets/{name}/__init__.py", f'expected DATASET = DataSet(name="{name}", …)'
    try:
        with guest():
            module = import_module(f"{datasets.__name__}.{name}")
    except Exception as error:  # a module may raise anything when it is imported
        raise BrokenProject(
            f"{where} cannot be imported: {describe_error(error)}; {expected}; correct the folder, or move it away."
        ) from error
    declared: object = getattr(module, "DATASET", None)
    if declared is None:
        raise BrokenProject(f"{where} declares no DATASET; {expected}; write it there, or move the folder away.")
    if not isinstance(declared, DataSet):
        kind = type(declared).__name__
        raise BrokenProject(f"{where} declares a DATASET of type {kind}; {expected}; write it there.")
    if declared.name != name:
        raise BrokenProject(
            f'{where} declares a DATASET of the name "{declared.name}"; {expected}, because the folder is named '
            f"{name}; rename one of the two."
        )
    return declared


@cache
def readers() -> Mapping[str, DataSet]:
    """Return name → data set of those that have an adapter."""
    return MappingProxyType({name: one for name, one in catalogue().items() if one.adapter is not None})


@cache
def phantoms() -> Mapping[str, Phantom]:
    """Return name → phantom: ``<name>`` and ``anatomy_<name>`` of each data set that has one."""
    of = {name: one.phantom for name, one in catalogue().items()}
    anatomy = {f"anatomy_{name}": one.anatomy for name, one in catalogue().items()}
    return MappingProxyType({name: made for name, made in {**of, **anatomy}.items() if made is not None})


@cache
def data_set_of(adapter: str) -> DataSet | None:
    """Return the data set that an entry's ``adapter`` names; None if the path is of an adapter alone.

    Args:
        adapter: Short name or dotted path.

    Raises:
        UnknownName: If the catalogue has no adapter of that short name.
        BrokenCode: If the path cannot be imported, or leads to something else.
    """
    if ":" not in adapter:
        if adapter not in readers():
            raise unknown("adapter", adapter, readers(), "tasks/datasets")
        return readers()[adapter]
    found = import_dotted(adapter)
    return found if isinstance(found, DataSet) and found.adapter is not None else None


def adapter_of(name: str) -> Adapter:
    """Return the adapter of a short name or a dotted path.

    Raises:
        UnknownName: If the catalogue has none of that short name.
        BrokenCode: If the path cannot be imported, or leads to no adapter.
    """
    known = data_set_of(name)
    found: object = import_dotted(name) if known is None else known.adapter
    if not isinstance(found, Adapter):
        parts = ("name", "labels", "read", "verify", "fingerprint")
        lacking = ", ".join(part for part in parts if not hasattr(found, part))
        raise BrokenCode(f'"{name}" has no {lacking}; expected an adapter (tasks.layouts.adapter); write it.')
    return found


def adapter_options(name: str) -> type[BaseModel] | None:
    """Return the model of an adapter's own options; of one from outside, the class ``Options`` beside it."""
    known = data_set_of(name)
    return _model_beside(name) if known is None else known.options


def phantom_of(name: str) -> Phantom:
    """Return the phantom of a short name or a dotted path; the latter's options are the class ``Options`` beside it.

    Raises:
        UnknownName: If the catalogue has none of that short name.
        BrokenCode: If the path cannot be imported.
    """
    if ":" in name:
        found = import_dotted(name)
        if isinstance(found, DataSet) and found.phantom is not None:
            return found.phantom
        return found if isinstance(found, Phantom) else Phantom(found, _model_beside(name))
    if name not in phantoms():
        raise unknown("generator", name, phantoms(), "tasks/datasets")
    return phantoms()[name]


def terms_of(adapter: str, data_set: str = "") -> DataTerms | None:
    """Return the terms of an entry's images: those of the data set it names, or else of its adapter's.

    Raises:
        UnknownName: If there is no data set of that name.
    """
    if data_set:
        if data_set not in catalogue():
            raise unknown("data set", data_set, catalogue(), "tasks/datasets")
        return catalogue()[data_set].terms
    try:
        known = data_set_of(adapter)
    except (ConfigurationError, BrokenCode):
        return None
    return None if known is None else known.terms


def _model_beside(path: str) -> type[BaseModel] | None:
    declared = declared_beside(path, "Options")
    return declared if isinstance(declared, type) and issubclass(declared, BaseModel) else None
