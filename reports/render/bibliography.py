"""Writes BibTeX for every method and data set of the registries.

A method's entry names its sources as author and year (``He 2020; Chen 2020``), a data set's terms name its citations.
What is known in full of a work stands in ``references.bib`` beside this file; the citation of any other data set is
printed as its owners' text. Nothing is guessed: a method's source without a full entry is named in a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.spec import DataTerms
from reports.render.latex_text import latex_text

FILE = "references.bib"
PAPER = ("DiRA", "haghighi2022dira")  # how the registry names the paper that is examined, and its key
_WORK = re.compile(r"\b([A-Z][a-z]+)(?: and [A-Z][a-z]+)* ((?:19|20)\d\d)\b")


def known_entries() -> dict[str, str]:
    """Read the works that are known in full: key → entry, in the order of the file."""
    entries = re.split(r"(?m)^(?=@)", Path(__file__).with_name(FILE).read_text(encoding="utf-8"))
    return {found.group(1): entry.strip() for entry in entries if (found := re.match(r"@\w+\{([^,\s]+),", entry))}


def works(source: str) -> list[str]:
    """Return the keys of the works that a method's source names: ``He 2020; Chen 2020`` → ``he2020``, ``chen2020``."""
    paper = [PAPER[1]] if re.search(rf"\b{PAPER[0]}\b", source) else []
    return [*paper, *(f"{author.lower()}{year}" for author, year in _WORK.findall(source))]


def bibliography(
    methods: Mapping[str, str], sources: Mapping[str, str], tasks: Mapping[str, str], terms: Mapping[str, DataTerms]
) -> str:
    """Write a BibTeX file; empty where no source and no citation is known.

    Args:
        methods: Registry name → label.
        sources: Registry name → where the method is from, as its entry says.
        tasks: As ``methods``.
        terms: Task → terms of its data set, where they are known.
    """
    known = known_entries()
    cited: dict[str, str] = {}
    uses = []
    for name, label in methods.items():
        keys = works(sources.get(name, ""))
        cited.update({key: known[key] for key in keys if key in known})
        lacking = [key for key in keys if key not in known]
        if keys:
            uses.append(_use(label, [key for key in keys if key in known], lacking))
    for name, label in tasks.items():
        citations = terms[name].citations if name in terms else ()
        for one in citations:
            cited.setdefault(one.key, known.get(one.key) or _of_text(one.key, one.text))
        if citations:
            uses.append(_use(label, [one.key for one in citations], ()))
    return "\n".join([*uses, "", *(f"{entry}\n" for entry in cited.values())]) if cited else ""


def _use(label: str, keys: Iterable[str], lacking: Iterable[str]) -> str:
    """Say what to cite for a method or a data set; BibTeX reads what stands outside entries as a comment."""
    unknown = "".join(f" (no entry for {key})" for key in lacking)
    return f"% {latex_text(label).replace('@', '(at)')}: {', '.join(keys)}{unknown}".rstrip()


def _of_text(key: str, text: str) -> str:
    """Write a citation given as text: whole in its note, sorted by its first word."""
    fields = [f"  key  = {{{latex_text(text.split()[0].strip('.,'))}}}", f"  note = {{{latex_text(text.rstrip('.'))}}}"]
    return f"@misc{{{key},\n" + ",\n".join(fields) + "\n}"
