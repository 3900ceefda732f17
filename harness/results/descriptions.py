"""Reads what ``results/`` tells of a cohort and of a pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.advice import command
from harness.descriptions import CohortDescription, PretrainingDescription
from harness.errors import DataError
from harness.spec import Outline
from harness.store.files import parse_json
from harness.typed import sentences

Described = TypeVar("Described", bound=Outline)


def read_cohort(path: Path) -> CohortDescription:
    """Read ``cohorts/<task>.json``.

    Raises:
        DataError: It is malformed.
    """
    return _read(path, CohortDescription, "a cohort's manifest")


def read_pretraining(path: Path) -> PretrainingDescription:
    """Read ``pretraining/<method>.json``.

    Raises:
        DataError: It is malformed.
    """
    return _read(path, PretrainingDescription, "a method's pretraining")


def _read(path: Path, model: type[Described], what: str) -> Described:
    try:
        return model.model_validate(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        why = " ".join(sentences(error, model)) if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"{path}: cannot be read as {what} ({why}); write it again with {command('report')}."
        ) from error
