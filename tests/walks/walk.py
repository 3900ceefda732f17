"""A new user with a fresh clone, a page and a stopwatch: every block of a section is done as it stands."""

from __future__ import annotations

import ast
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.pipeline.clone import ROOT, Clone
from tests.repository.blocks import SHOWN, Block, read_blocks

PLACE = re.compile(r"# (?P<file>[\w./]+)(?:, (?P<how>appended|in place of (?P<name>\w+)))?\n")


class Walk(Clone):
    """A fresh clone, and what was done in it.

    Attributes:
        lines: How many lines of code and YAML the page asked the user to write.
        steps: What was done, with its seconds.
        printed: What the commands said, together.
        exported: What the commands exported, for the ones after them.
    """

    def __init__(self, folder: Path) -> None:
        """Clone what is committed here, and what is new in the working tree, with the committed results."""
        self.root = folder
        self.lines, self.steps, self.printed = 0, list[tuple[float, str]](), ""
        self.exported: dict[str, str] = {}
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
        words = ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"]
        edited = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in edited.split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes((ROOT / name).read_bytes())

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command, with what earlier blocks exported."""
        return {**super().environment, **self.exported}

    def follow(self, page: str, title: str, instead: Mapping[str, str] | None = None) -> None:
        """Do every block of a section: run commands, write or append what names a file.

        Args:
            page: From the project's root.
            title: The section's heading.
            instead: What the page says → what this user has.
        """
        for block in section(page, title):
            body = block.body
            for said, mine in (instead or {}).items():
                body = body.replace(said, mine)
            if block.language in SHOWN:
                continue
            begun = time.monotonic()
            if block.language == "bash":
                self._command(block, body)
            else:
                self._write(block, body)
            self.steps.append((time.monotonic() - begun, f"{block} {body.strip().splitlines()[0]}"))

    def _command(self, block: Block, body: str) -> None:
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", body],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        self.printed += done.stdout
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        for line in re.findall(r"^export (.+)$", body, re.MULTILINE):
            self.exported |= dict(word.split("=", 1) for word in line.split())

    def _write(self, block: Block, body: str) -> None:
        match = PLACE.match(body)
        assert match, f"{block} says no file: {body[:60]}"
        path, text = self.root / match["file"], body[match.end() :]
        self.lines += len([line for line in text.splitlines() if line.strip()])
        path.parent.mkdir(parents=True, exist_ok=True)
        if match["name"]:
            text = _replaced(path.read_text(), match["name"], text)
        elif match["how"]:
            text = path.read_text().rstrip("\n") + "\n" + text
        path.write_text(text)

    def summary(self) -> str:
        """Say what it took."""
        whole = sum(seconds for seconds, _ in self.steps)
        each = "".join(f"\n  {seconds:6.1f} s  {what}" for seconds, what in self.steps)
        return f"\n{self.lines} lines, {whole:.0f} s{each}"


def section(page: str, title: str) -> list[Block]:
    """Return the blocks below a heading of the second level."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    first = lines.index(f"## {title}") + 1
    later = [number for number, line in enumerate(lines, start=1) if line.startswith("## ") and number > first]
    last = min(later, default=len(lines) + 1)
    found = [block for block in read_blocks(page) if first < block.line < last]
    assert found, f"{page} has no block below {title!r}"
    return found


def _replaced(source: str, name: str, text: str) -> str:
    """Put other lines in the place of one function of a module."""
    (node,) = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == name]
    lines = source.splitlines(keepends=True)
    lines[node.lineno - 1 : node.end_lineno] = [text]
    return "".join(lines)
