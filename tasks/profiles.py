"""What a profile makes of a task, and the versions of the components: the YAML beside this file, merged."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import ConfigurationError, unknown
from harness.spec import Frozen
from harness.typed import read
from harness.yaml_files import key_lines, load_yaml

HERE = Path(__file__).parent


class Profile(Frozen):
    """What a profile says about tasks.

    Attributes:
        extends: The profile it starts from; mappings are merged key by key.
        closed: It has only the tasks whose entries name it in ``profiles``.
        pixels: ``phantom``: made by a program in the data set's true layout; ``data_root``: the real files.
        stamp: What every page prints beside a number from these pixels.
        scale: In one sentence, how small the experiment is: what pages print beside numbers from real images.
        cohorts: Adapter → how its images are made, split and cached.
        transfers: Transfer → how an encoder is fine-tuned and judged; ``…_3d`` on volumes.
        transfers_of: Adapter → what its data set has of its own in that.
    """

    extends: str | None = None
    closed: bool = Field(default=False, strict=True)
    pixels: Literal["phantom", "data_root"]
    stamp: str = ""
    scale: str = Field(default="", max_length=200)
    cohorts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    transfers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    transfers_of: dict[str, dict[str, Any]] = Field(default_factory=dict)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``change`` laid over it: mappings key by key, everything else replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


@cache
def _file(name: str) -> dict[str, Any]:
    return load_yaml(HERE / name)


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, in the order of the file."""
    return tuple(_file("profiles.yaml")["profiles"])


@cache
def load_profile(name: str) -> Profile:
    """Return a profile with everything it extends merged in.

    Raises:
        UnknownName: If there is none of that name, with near names.
        ConfigurationError: If the file is malformed or a profile extends itself.
    """
    profiles = _file("profiles.yaml")["profiles"]
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        if not isinstance(current, str):
            raise ConfigurationError(f"{where(chain[-1])}: extends: found {current!r}; expected the name of a profile.")
        if current not in profiles:
            raise unknown("profile", current, profiles, "tasks/profiles.yaml")
        if current in chain:
            raise ConfigurationError(
                f'profile "{name}" in tasks/profiles.yaml extends itself ({" → ".join([*chain, current])}); '
                "expected a chain that ends; remove one extends"
            )
        chain.append(current)
        current = profiles[current].get("extends") if isinstance(profiles[current], Mapping) else None
    merged: dict[str, Any] = {}
    for link in reversed(chain):
        if not isinstance(profiles[link], Mapping):
            raise ConfigurationError(f"{where(link)}: found {profiles[link]!r}; expected a mapping of keys.")
        merged = merge(merged, profiles[link])
    return read(Profile, merged, f"{where(name)}: ")


@cache
def _lines() -> dict[str, int]:
    return key_lines(HERE / "profiles.yaml", "profiles")


def where(name: str) -> str:
    """Return the place of a profile: file, line and name."""
    return f'tasks/profiles.yaml:{_lines().get(name, 0)} (profile "{name}")'


def component_versions() -> dict[str, int]:
    """Return the version of every component of ``tasks/``."""
    return {name: int(component["version"]) for name, component in _file("versions.yaml")["components"].items()}
