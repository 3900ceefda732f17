"""What a profile makes of a task, and the versions of the components: the YAML beside this file, merged."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from harness.profiles import ProfileFile
from harness.spec import Frozen
from harness.typed import read
from harness.yaml_files import load_with_lines, load_yaml

HERE = Path(__file__).parent


class Profile(Frozen):
    """What a profile says about tasks.

    Attributes:
        closed: It has only the tasks whose entries name it in ``profiles``.
        pixels: ``phantom``: made by a program in the data set's true layout; ``data_root``: the real files.
        stamp: What every page prints beside a number from these pixels.
        scale: In one sentence, how small the experiment is: what pages print beside numbers from real images.
        cohorts: Adapter → how its images are made, split and cached.
        transfers: Transfer → how an encoder is fine-tuned and evaluated; ``…_3d`` on volumes.
        transfers_of: Adapter → what its data set has of its own in that.
    """

    closed: bool = Field(default=False, strict=True)
    pixels: Literal["phantom", "data_root"]
    stamp: str = ""
    scale: str = Field(default="", max_length=200)
    cohorts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    transfers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    transfers_of: dict[str, dict[str, Any]] = Field(default_factory=dict)


@cache
def _profiles() -> ProfileFile:
    loaded, lines = load_with_lines(HERE / "profiles.yaml", "profiles")
    return ProfileFile("tasks/profiles.yaml", loaded["profiles"], lines)


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, in the order of the file."""
    return tuple(_profiles().profiles)


@cache
def load_profile(name: str) -> Profile:
    """Return a profile with everything it extends merged in.

    Raises:
        UnknownName: If there is none of that name, with near names.
        ConfigurationError: If the file is malformed or a profile extends itself.
    """
    return read(Profile, _profiles().whole(name), f"{where(name)}: ", also=("extends",))


def where(name: str) -> str:
    """Return the place of a profile: file, line and name."""
    return _profiles().where(name)


@cache
def component_versions() -> Mapping[str, int]:
    """Return the version of every component of ``tasks/``."""
    components = load_yaml(HERE / "versions.yaml")["components"]
    return MappingProxyType({name: int(component["version"]) for name, component in components.items()})
