"""The page of messages quotes what the program says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TERM = re.compile(r"^(`[^\n]+)\n: ", re.MULTILINE)


def said():
    """Every text in the code, with {} where something is filled in."""
    for folder in ("harness", "methods", "tasks", "reports"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_message_of_the_page_is_one_that_the_program_says():
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    quoted = {words for term in TERM.findall(page) for words in re.findall(r"`([^`]+)`", term)}
    assert len(quoted) >= 15
    texts = list(said())
    assert {words for words in quoted if not any(words in text for text in texts)} == set()
