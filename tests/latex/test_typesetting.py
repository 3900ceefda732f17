r"""Sets the tables of the committed miniature with pdflatex, in an article of two columns with CVPR's measures."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.session import open_session
from reports.render.bibliography import bibliography
from reports.render.build import tables_of
from reports.render.inputs import read_layouts, read_results
from reports.render.latex import latex, latex_details
from reports.render.tables import Table

REPOSITORY = Path(__file__).parents[2]
PAPER = ("tab1", "tab2", "tab3", "tab4", "tab5")
ALPHA = 0.05
HOSTILE = (
    r"a\b{c}$d&e#f%g_h^i~j<k>l|m`n"
    + '"o--p[q]*r éłąŘßΩλ中文🙂 Ẹ̀kọ́ ṣe 한국어 DIRA_BENCH_DATA_MONTGOMERY Donaudampfschifffahrtsgesellschaft '
)
ARTICLE = r"""\documentclass[10pt,twocolumn]{article}
\usepackage{array,booktabs,longtable}
\textwidth 6.875in \textheight 8.875in \columnsep 0.3125in \oddsidemargin 0in \topmargin -0.5in
\begin{document}
%s
\clearpage\onecolumn
%s
\end{document}
"""
pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here: run `nox -s latex`"),
]


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    """Return every table of the committed miniature."""
    session = open_session("miniature")
    methods = {entry.name: entry.label for entry in session.registry.methods}
    tasks = {entry.name: entry.label for entry in session.registry.tasks}
    results = read_results(REPOSITORY / "results", "miniature", methods, tasks)
    layouts = read_layouts(REPOSITORY / "reports" / "tables.yaml")
    return tables_of(layouts, session.families, results, methods, tasks)[0]


def hostile(table: Table) -> Table:
    """Give every other row and column a label with every special character."""

    def named(items, field):
        return tuple(
            replace(item, **{field: HOSTILE + getattr(item, field)}) if place % 2 else item
            for place, item in enumerate(items)
        )

    rows = {block: named(getattr(table, block), "label") for block in ("published", "added")}
    return replace(table, columns=named(table.columns, "heading"), **rows)


def typeset(folder: Path, floats: list[str], longs: list[str]) -> str:
    """Run pdflatex and return its log, with lines joined as it breaks them at 79 characters."""
    (folder / "article.tex").write_text(ARTICLE % ("\n".join(floats), "\n".join(longs)))
    told = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=folder, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    log = (folder / "article.log").read_text(encoding="latin-1")
    assert told.returncode == 0, "\n".join(re.findall(r"(?m)^!.*(?:\n.*){3}", log))
    return log


def assert_fits(log: str) -> None:
    """Fail on a box more than 10 pt over its margin and on a float higher than a page."""
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) <= 10.0
    assert "Float too large" not in log


def test_the_papers_five_tables_are_floats_that_fit_its_page(tables, tmp_path):
    written = [latex(table, ALPHA) for table in tables if table.name in PAPER]
    assert len(written) == len(PAPER)
    assert all(r"\begin{table*}" in text for text in written)
    assert_fits(typeset(tmp_path, written, []))


@pytest.mark.parametrize("altered", [False, True], ids=["own labels", "every special character"])
def test_every_table_and_what_stands_behind_it_fits(tables, tmp_path, altered):
    shown = [hostile(table) if altered else table for table in tables]
    written = [latex(table, ALPHA) for table in shown]
    longs = [text for text in written if r"\begin{longtable}" in text]
    behind = [text for table in shown if (text := latex_details(table))]
    assert behind
    log = typeset(tmp_path, [text for text in written if text not in longs], [*longs, *behind])
    assert_fits(log)


def test_the_bibliography_is_set_without_an_error(tmp_path):
    session = open_session("miniature")
    terms = {name: task.terms for name, task in session.plan.tasks.items() if task.terms is not None}
    methods, tasks = session.registry.methods, session.registry.tasks
    text = bibliography(
        {entry.name: entry.label for entry in methods}, {entry.name: entry.source for entry in methods},
        {entry.name: entry.label for entry in tasks}, terms,
    )  # fmt: skip
    (tmp_path / "references.bib").write_text(text)
    cited = r"\nocite{*}\bibliographystyle{plain}\bibliography{references}"
    typeset(tmp_path, ["Text.", cited], [])
    told = subprocess.run(["bibtex", "article"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0 and "Warning" not in told.stdout, told.stdout
    typeset(tmp_path, ["Text.", cited], [])
