"""What a user says to an engine: ``--engine-options FILE``, a YAML mapping that the engine reads as its own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from harness.spec import Frozen
from harness.typed import read
from harness.yaml_files import load_yaml

M = TypeVar("M")


class NoOptions(Frozen):
    """Of an engine that has none."""


@dataclass(frozen=True)
class EngineOptions:
    """An options file, read and not yet understood.

    Attributes:
        said: Its content.
        path: Where it stands, for sentences.
    """

    said: Mapping[str, JsonValue] = field(default_factory=dict)
    path: Path | None = None

    def read(self, model: type[M]) -> M:
        """Read it as an engine's own model.

        Raises:
            ConfigurationError: With a sentence for each mistake.
        """
        return read(model, self.said, f"{self.path}: " if self.path else "")


def load_options(path: Path | None) -> EngineOptions:
    """Read an options file; without one nothing is said.

    Raises:
        ConfigurationError: If it is no YAML mapping.
    """
    return EngineOptions(load_yaml(path), path) if path is not None else EngineOptions()
