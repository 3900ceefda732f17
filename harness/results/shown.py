"""Of which data sets a few real pictures may be committed, by their owners' terms; of all others, never one."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.errors import ConfigurationError
from harness.spec import Frozen
from harness.typed import read
from harness.yaml_files import load_yaml

PANELS = 20  # real pictures in results/ and real panels in figures, all together


class Terms(Frozen):
    """What the owners of a data set allow.

    Attributes:
        data_set, terms: Whose images, and what may be done with them.
        credit: Printed with every figure that shows one.
        pictures: How many are kept, in one file for all methods; at least as many panels are left to figures.
    """

    data_set: str = Field(min_length=1)
    terms: str = Field(min_length=1)
    credit: str = Field(min_length=1)
    pictures: int = Field(ge=1, le=PANELS // 2, strict=True)


class _Shown(Frozen):
    tasks: dict[str, Terms]


def read_shown(root: Path) -> dict[str, Terms]:
    """Read ``tasks/shown.yaml``: task → terms; an absent file allows none.

    Raises:
        ConfigurationError: It is malformed, or allows more pictures than half of all panels.
    """
    path = root / "tasks" / "shown.yaml"
    if not path.is_file():
        return {}
    tasks = read(_Shown, load_yaml(path), f"{path}, ").tasks
    total = sum(terms.pictures for terms in tasks.values())
    if total > PANELS // 2:
        raise ConfigurationError(
            f"{path}: found {total} pictures; expected at most {PANELS // 2} in all, so that figures have as many "
            "panels left; allow fewer."
        )
    return tasks
