"""Byte-stable CSV for the tables that statistics leave: fixed columns, fixed number formats, atomic writes."""

from __future__ import annotations

import csv
import io
import math
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import ConfigurationError
from harness.typed import sentences
from harness.whole_files import write_whole

Row = TypeVar("Row", bound=BaseModel)


def table_text(model: type[Row], rows: Iterable[Row]) -> str:
    """Write rows of one model as CSV text: its fields in their order, LF line ends."""
    names = list(model.model_fields)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_text(name, getattr(row, name)) for name in names])
    return stream.getvalue()


def write_rows(path: Path, model: type[Row], rows: Iterable[Row]) -> None:
    """Write what ``table_text`` returns; the file is replaced in one step."""
    text = table_text(model, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(), durable=False)


def read_rows(path: Path, model: type[Row]) -> list[Row]:
    """Read what ``write_rows`` wrote.

    A file of an older version may lack the columns that the model's ``added_later`` names; they have their defaults.

    Raises:
        ConfigurationError: If the file is absent, has other columns, or holds a malformed row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            raw = list(reader)
            found = list(reader.fieldnames or [])
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); expected what statistics write; run `dvc repro statistics`."
        ) from error
    later = getattr(model, "added_later", ())
    if found != [name for name in model.model_fields if name in found or name not in later]:
        odd = sorted(set(found) ^ set(model.model_fields)) or ["their order"]
        raise ConfigurationError(
            f"{path} has columns that this version does not write ({', '.join(odd)}); run `dvc repro statistics`."
        )
    optional = {name for name, field in model.model_fields.items() if _may_be_none(field.annotation)}
    try:
        return [
            model.model_validate(
                {name: None if text == "" and name in optional else text for name, text in row.items()}
            )
            for row in raw
        ]
    except ValidationError as error:
        raise ConfigurationError(
            f"{path}, column {sentences(error, model)[0]} Fix: run `dvc repro statistics`."
        ) from error


def _may_be_none(annotation: object) -> bool:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return union and type(None) in typing.get_args(annotation)


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; a table holds finite numbers or nothing.")
        if name == "p" or name.startswith("p_") or name.endswith(("_p", "_p_tost")):
            return f"{value:.6g}"
        trimmed = f"{value:.6f}".rstrip("0").rstrip(".")
        return "0" if trimmed == "-0" else trimmed
    return str(value)
