"""Keeps the tables of README.md and docs/ those of the built reports: no number there is written by hand.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``. ``python -m reports.render.readme``
writes every block anew from ``reports/<profile>/tables``; a test holds the pages against the same function.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import ConfigurationError, DiraBenchError
from reports.render.build import write

PAGES = ("README.md", "docs/miniature.md", "docs/radiographs.md")
REAL, SYNTHETIC = "radiographs", "miniature"
ABSENT = "*This profile was not run yet in this checkout: `nox -s radiographs -- --data-root FOLDER` makes the table.*"
MARKED = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(<!-- end of (?P=name) -->\n)", re.DOTALL)


def real_table(reports: Path) -> str:
    """Return the table of all methods on real radiographs, with its scale, its sample and its notes.

    Rows and notes of methods that this profile cannot run stay in the report.
    """
    path = reports / REAL / "tables" / "tasks.md"
    if not path.is_file():
        return ABSENT
    body = path.read_text(encoding="utf-8").split("\n---\n")[0]
    parts = body.strip().split("\n\n")[2:]  # without title and caption
    return "\n\n".join(_without_unavailable(part) for part in parts if " unavailable: " not in part)


def _without_unavailable(part: str) -> str:
    return "\n".join(line for line in part.splitlines() if "| unavailable" not in line)


def real_answers(reports: Path) -> str:
    """Return each question about real radiographs with its answer, and what was better or worse."""
    return _answers(reports, ("Of ", "Better on ", "Worse on "))


def real_answers_in_full(reports: Path) -> str:
    """Return each question about real radiographs with its answer and everything that the answer rests on."""
    return _answers(reports, ("",))


def _answers(reports: Path, begins: tuple[str, ...]) -> str:
    path = reports / REAL / "tables" / "answers.md"
    if not path.is_file():
        return ABSENT
    lines = []
    for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        question, *rest = section.splitlines()
        short = next(line for line in rest if line.startswith("**"))
        # How often one run improves stands in the report, one sentence a pair.
        said = [line.removeprefix("- ") for line in rest if line.startswith("- ") and "- Probability" not in line]
        lines.append(f"- {question} {short} {' '.join(each for each in said if each.startswith(begins))}")
    return "\n".join(lines)


def synthetic_table(reports: Path) -> str:
    """Return Tab. 4 of the miniature, with its stamp."""
    body = (reports / SYNTHETIC / "tables" / "tab4.md").read_text(encoding="utf-8")
    parts = body.split("\n\n")
    return "\n\n".join((parts[2], next(part for part in parts if part.startswith("| Method"))))


BLOCKS: Mapping[str, Callable[[Path], str]] = {
    "real-table": real_table,
    "real-answers": real_answers,
    "real-answers-in-full": real_answers_in_full,
    "synthetic-table": synthetic_table,
}


def renewed(text: str, reports: Path, page: str) -> str:
    """Return a page with every generated block written anew.

    Args:
        text: The page as it is.
        reports: The folder ``reports/``.
        page: Its name, for messages.

    Raises:
        ConfigurationError: A block has a name that nothing generates.
    """

    def block(found: re.Match[str]) -> str:
        make = BLOCKS.get(found["name"])
        if make is None:
            known = ", ".join(BLOCKS)
            raise ConfigurationError(
                f'{page}: found a generated block "{found["name"]}"; expected one of {known}; fix the name.'
            )
        return f"{found[1]}\n{make(reports)}\n\n{found[4]}"

    return MARKED.sub(block, text)


def renew(root: Path) -> list[str]:
    """Write every page whose blocks changed; return their names.

    Args:
        root: The repository.

    Raises:
        ConfigurationError: A block has a name that nothing generates.
    """
    changed = []
    for name in PAGES:
        path = root / name
        text = path.read_text(encoding="utf-8")
        if (new := renewed(text, root / "reports", name)) != text:
            write(path, new)
            changed.append(name)
    return changed


if __name__ == "__main__":
    try:
        sys.stdout.write("".join(f"{name} written anew\n" for name in renew(Path(__file__).resolve().parents[2])))
    except DiraBenchError as error:
        sys.exit(str(error))
