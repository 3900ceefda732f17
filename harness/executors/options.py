"""What a user says to an engine: ``--engine-options FILE``, a YAML mapping that the engine reads as its own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue

from harness.errors import ConfigurationError
from harness.spec import Frozen
from harness.typed import near, read
from harness.yaml_files import load_yaml

M = TypeVar("M")
PAGE = "docs/engines.md"
SEE = f"see {PAGE}"


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
            ConfigurationError: In one sentence if options are unknown, with near names and those that are known; else
                with a sentence for each mistake.
        """
        place = f"--engine-options {self.path}" if self.path else "the options of the engine"
        if issubclass(model, BaseModel) and self.said.keys() - model.model_fields.keys():
            raise ConfigurationError(self._unknown(place, sorted(model.model_fields)))
        return read(model, self.said, f"{place}: ")

    def _unknown(self, place: str, known: list[str]) -> str:
        strange = sorted(str(key) for key in self.said if key not in known)
        found = ", ".join(f'"{key[:60]}"' for key in strange)
        if not known:
            return f"{place}: found {found}, and this engine has no options; leave --engine-options out; {SEE}."
        hints = [hint for key in strange if (hint := near(key, known)).startswith("did you mean")]
        said = " ".join([*hints, f"expected options among {', '.join(known)}; correct or remove"])
        return f"{place}: found {found}, which the engine does not know; {said} {_it(strange)}; {SEE}."


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def load_options(path: Path | None) -> EngineOptions:
    """Read an options file; without one nothing is said.

    Raises:
        ConfigurationError: If it is no YAML mapping, or an empty one.
    """
    if path is None:
        return EngineOptions()
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise ConfigurationError(
            f"--engine-options {path}: {found}; expected a YAML mapping such as partition: gpu; correct the path; "
            f"{SEE}."
        )
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not any(line.partition("#")[0].strip() for line in lines):
        raise ConfigurationError(
            f"--engine-options {path}: the file is empty; expected a YAML mapping such as partition: gpu; write one, "
            f"or leave the option out; {SEE}."
        )
    return EngineOptions(load_yaml(path, PAGE), path)
