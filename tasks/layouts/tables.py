"""Reading label tables as text: with or without a byte order mark, whatever ends lines, blanks around cells removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.late import pd
from tasks.layouts.index import Finding

ROUNDING = 1e-3  # how far from a whole number a label may lie


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV as text.

    Args:
        path: The file.
        columns: Those it must have.

    Returns:
        Its columns, names and cells stripped, and ``line``, the first row being line 2.

    Raises:
        DataError: If it is absent, no table, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"no file {path}; expected a table with the columns {','.join(columns)}; put it there")
    try:
        table = pd.read_csv(path, dtype=str, index_col=False, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path} cannot be read as a table ({error}); expected a CSV file; fetch it again") from None
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}; expected {','.join(columns[:3])},…; fetch it again"
        )
    stripped: pd.DataFrame = table.apply(lambda values: values.str.strip())
    return stripped.assign(line=np.arange(2, len(stripped) + 2))


def whole_number(text: str) -> int | None:
    """Return the whole number that a cell means, up to rounding (``0.9999`` is 1), or None if it means none.

    Example:
        >>> whole_number("1.0"), whole_number("one")
        (1, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    if not np.isfinite(number) or abs(number - round(number)) > ROUNDING:
        return None
    return round(number)


def repeated_rows(table: pd.DataFrame, key: str, columns: Iterable[str], where: str) -> list[Finding]:
    """Return a failure for each image that has two rows, saying whether both say the same.

    Args:
        table: One row an image.
        key: The column that names the image.
        columns: Those that the rows are compared by.
        where: The file.
    """
    again = table[table[key].duplicated(keep=False)]
    findings = []
    for name, rows in again.groupby(key):
        alike = "alike" if len(rows[list(columns)].drop_duplicates()) == 1 else "that differ"
        findings.append(
            Finding("fail", f"{where} lists {name} twice, in {len(rows)} rows {alike}; expected one; remove the others")
        )
    return findings
