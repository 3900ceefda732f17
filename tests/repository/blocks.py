"""The fenced blocks of every page: what a reader would type, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ("text", "json", "csv")  # read by a person, typed by nobody
TYPED = ("bash", "yaml", "python", "toml")
REASONS = (
    "a session of its own",  # installs an environment and takes minutes; CI runs it
    "needs real data",
    "needs the network",
    "needs a cluster",
    "installs on the machine",
    "opens a window",
)
COMMANDS = "tests/pipeline/test_commands_of_pages.py"  # runs every block of commands that says nothing
FENCE = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^ *```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The file, from the project's root.
        line: Where its fence opens, from 1.
        language: What the fence says.
        note: The comment on the line above, without its marks; empty where there is none.
        body: The lines between the fences, without the fence's own indentation.
    """

    page: str
    line: int
    language: str
    note: str
    body: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages(root: Path = ROOT) -> list[str]:
    """Return every page that a reader follows, from the project's root."""
    patterns = ("*.md", "docs/**/*.md", "bench/*.md", "tasks/datasets/*/README.md")
    found = {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)}
    return sorted(name for name in found if not name.startswith("docs/_build/"))


def read_blocks(page: str, root: Path = ROOT) -> list[Block]:
    """Return the blocks of a page in their order, without Sphinx's own such as its tables of contents."""
    text = (root / page).read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        if match["language"].startswith("{"):
            continue
        lines = match["body"].splitlines(keepends=True)
        body = "".join(line.removeprefix(match["indent"]) for line in lines)
        line = text.count("\n", 0, match.end("indent")) + 1
        found.append(Block(page, line, match["language"], match["note"] or "", body))
    return found


def blocks(page: str, language: str) -> list[str]:
    """Return the bodies of a page's blocks in one language."""
    return [block.body for block in read_blocks(page) if block.language == language]


def commands_to_run() -> list[Block]:
    """Return every block of commands that says neither why it is not run nor which test runs it."""
    every = [block for page in pages() for block in read_blocks(page)]
    return [block for block in every if block.language == "bash" and not block.note]


def complaint(block: Block, root: Path = ROOT) -> str:
    """Say what is wrong with a block; empty if it is shown, run, or says why it is not run."""
    if block.language in SHOWN:
        return ""
    if block.language not in TYPED:
        return f"{block}: found a fence that says {block.language!r}; expected one of {', '.join(TYPED + SHOWN)}"
    if block.note.startswith("not run: "):
        known = block.note.removeprefix("not run: ") in REASONS
        return "" if known else f"{block}: found {block.note!r}; expected one of the reasons {', '.join(REASONS)}"
    if block.note.startswith("run by "):
        return _not_run_by(block, root / block.note.removeprefix("run by "))
    if block.note:
        return f'{block}: found the comment "{block.note}" above; expected "run by TEST" or "not run: REASON"'
    if block.language == "bash":
        return ""  # the test of COMMANDS runs it
    return f'{block}: nothing runs it; write "<!-- run by TEST -->" or "<!-- not run: REASON -->" on the line above'


def _not_run_by(block: Block, test: Path) -> str:
    """Say why a test cannot be what runs a block."""
    if not test.is_file():
        return f"{block}: found no {block.note.removeprefix('run by ')}, which is said to run it"
    if Path(block.page).name not in test.read_text(encoding="utf-8"):
        return f"{block}: {block.note.removeprefix('run by ')} does not name the page"
    return ""
