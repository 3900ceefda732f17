"""The report: what must stand in every output, driven through every Finding and every Agreement."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import DiraBenchError
from harness.published import load_families
from harness.results.table import read_trial_rows
from harness.spec import Status
from harness.statistics.margins import read_margins
from harness.statistics.paper import read_paper
from harness.statistics.schema import Prospect, View
from harness.statistics.summary import MethodFacts, TaskFacts, read_cells, read_comparisons, summarise
from harness.statistics.summary import write as write_statistics
from harness.typed_csv import write_rows
from reports.render import audit_pages, build, wording
from reports.render.inputs import read_layouts
from reports.render.latex_text import latex_text
from tests.reports.fixture_results import METHODS, METRICS, PARAMETERS, REPOSITORY, TASKS, write_results
from tests.reports.shown import own_text, shown, table_of

SVG_AND_PAGES = (".svg", ".html", ".md", ".tex", ".json")


def prepare(root: Path, **options) -> tuple[Path, Path, dict[str, str]]:
    """Write results and layouts; return (results, reports, methods)."""
    results, methods = write_results(root, **options)
    reports = root / "reports"
    reports.mkdir(exist_ok=True)
    for name in ("tables.yaml", "families.yaml", "overlaps.yaml"):
        shutil.copy(REPOSITORY / "reports" / name, reports / name)
    return results, reports, methods


def make(root: Path, **options) -> tuple[Path, Path, dict[str, str]]:
    """Write results, build the report; return (results, the profile's folder, methods)."""
    results, reports, methods = prepare(root, **options)
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)
    return results, reports / "miniature", methods


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return make(tmp_path_factory.mktemp("real"), synthetic=False)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return make(tmp_path_factory.mktemp("phantom"), synthetic=True)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    return make(tmp_path_factory.mktemp("extended"), synthetic=True, added={"mine": "Mine"})


@pytest.fixture(scope="module")
def altered(tmp_path_factory) -> tuple[Path, str]:
    """One build of results that differ in what three tests ask about; return the pages' folder and the report.

    There is no audit, a method has left the registry, and there are views and an outlook beside the contrasts.
    """
    results, reports, methods = prepare(tmp_path_factory.mktemp("altered"), added={"mine": "Mine"})
    (results / "published" / "audit.csv").unlink()
    assert audit_pages(results, reports) == []
    del methods["mine"]
    view = {"family": "fig4", "family_label": "DiRA against its base", "low": 0.31, "high": 0.88}
    rows = [
        View(kind="probability of improvement", method="dira_moco_v2", reference="moco_v2", task="", estimate=0.625,
             units=4, **view),
        View(kind="mean gain over bases", method="", reference="", task="chestxray14|1|auc", estimate=1.25, units=3,
             **view),
    ]  # fmt: skip
    write_rows(results / "miniature" / "views.csv", View, rows)
    prospect = Prospect(
        family="fig4", method="dira_moco_v2", reference="moco_v2", task="montgomery", label_fraction=1.0, delta=None,
        effect=0.21, margin=1.0, spread="printed", reproduced=0.0, different=0.04, too_small=0.96, inconclusive=0.0,
        ceiling=0.0,
    )  # fmt: skip
    write_rows(results / "miniature" / "outlook.csv", Prospect, [prospect])
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)
    return reports / "miniature", (reports / "miniature" / "report.html").read_text()


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Page(HTMLParser):
    """Ids, links, table cells and everything a browser would fetch; fails on tags that do not nest."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[tuple[str, dict]] = []
        self.cells: list[tuple[str, bool]] = []  # (text, inside a number's link) in tables of values
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        for name in ("src", "srcset", "poster", "data", "action"):
            if name in found:
                self.fetched.append(found[name])
        if tag != "a" and not found.get("href", "#").startswith("#"):
            self.fetched.append(found["href"])
        self.fetched += re.findall(r"url\((?!#)[^)]*\)", " ".join(str(v) for v in found.values()))
        if tag not in self.VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        self.text += data if "style" not in tags and "script" not in tags else ""
        values = any("values" in (a.get("class") or "").split() for _, a in self.open)
        if values and "td" in tags and "±" in data and not data.strip().startswith("paper"):
            link = next((a for t, a in self.open if t == "a"), None)
            self.cells.append((data, link["href"] if link else ""))


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    return make(tmp_path_factory.mktemp("again"), synthetic=True)


def test_the_same_results_give_the_same_bytes(again, phantom):
    first, second = files(phantom[1]), files(again[1])
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_building_twice_rewrites_nothing(again):
    results, folder, methods = again
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    (folder / "tables" / "gone.md").write_text("of an older build")
    build(results, folder.parent, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before


def test_no_output_holds_a_date_or_the_name_of_a_program_version(phantom):
    for name, data in files(phantom[1]).items():
        text = own_text(data.decode("latin-1"))
        assert not re.search(r"[Mm]atplotlib\s+v?\d|\bSoftware\b|dc:date|20\d\d-\d\d-\d\dT", text), name


def test_a_reader_sees_how_many_labels_there_were_what_an_empty_mask_scores_and_what_pretraining_saw(phantom):
    folder = phantom[1]
    for suffix in ("md", "tex", "html"):
        table = (folder / "tables" / f"tab1.{suffix}").read_text()
        assert "750 + 400 labels" in table  # a quarter of 3,000 to train on, all of validation
        assert "30 + 400 labels" in table
    assert "9 of 12 test masks are empty" in (folder / "tables" / "tab4.md").read_text()
    assert "scores 75.00 in Dice" in (folder / "tables" / "tab4.md").read_text()
    page = (folder / "report.html").read_text()
    assert "pretrained on the training list alone" in page
    assert "none known" in page


@pytest.mark.parametrize("word", wording.FINDINGS)
def test_every_finding_reaches_the_report_and_latex(real, word):
    _, folder, _ = real
    contrasts = shown((folder / "report.html").read_text()).contrasts
    assert any(c.finding == word and c.mark.startswith(wording.MARKS[word]) for c in contrasts)
    latex = "".join(p.read_text() for p in (folder / "tables").glob("*_details.tex"))
    assert re.search(rf"& {word}", latex)


@pytest.mark.parametrize("word", wording.AGREEMENTS)
def test_every_agreement_reaches_the_report_and_latex_with_its_reason(real, word):
    results, folder, _ = real
    rows = [c for c in read_comparisons(results / "miniature" / "comparisons.csv") if c.agreement == word]
    assert rows
    contrasts = shown((folder / "report.html").read_text()).contrasts
    assert any((c.agreement, c.reason) == (word, rows[0].agreement_reason) for c in contrasts)
    tables = {"fig4": (), "tab1": ("tab1",), "res": ("tab4",), "adv": ("tab4",), "tab2_imagenet": ("tab2",)}
    for row in rows:
        for table in tables.get(row.family, ()):
            latex = (folder / "tables" / f"{table}_details.tex").read_text().replace(r"\allowbreak{}", "")
            assert re.search(rf"& {re.escape(word)} & {re.escape(row.agreement_reason)}", latex)


def test_a_tested_contrast_that_patients_take_back_carries_the_dagger(real):
    contrasts = shown((real[1] / "report.html").read_text()).contrasts
    assert any((c.mark, c.finding) == ("↑†", "better") for c in contrasts)


def test_numbers_in_the_table_are_those_of_the_cells(real):
    results, folder, _ = real
    page = Page((folder / "tables" / "tab4.html").read_text())
    shown = {text.strip() for text, _ in page.cells}
    cells = [c for c in read_cells(results / "miniature" / "cells.csv") if "tab4" in c.tables.split(";")]
    assert len(cells) == 6
    for cell in cells:
        assert f"{cell.mean:.2f} ± {cell.sd:.2f}" in shown
        assert f"paper: {cell.published_mean:.2f} ± {cell.published_sd:.2f}" in page.text


def test_best_is_bold_and_second_underlined_in_every_format(real):
    results, folder, _ = real
    cells = [
        c for c in read_cells(results / "miniature" / "cells.csv") if "tab4" in c.tables and c.task == "chestxray14"
    ]
    best, second, *_ = sorted(cells, key=lambda c: -c.mean)
    assert rf"\textbf{{{best.mean:.2f}}}" in (folder / "tables" / "tab4.tex").read_text()
    assert rf"\underline{{{second.mean:.2f}}}" in (folder / "tables" / "tab4.tex").read_text()
    assert f"**{best.mean:.2f}**" in (folder / "tables" / "tab4.md").read_text()
    assert f"<u>{second.mean:.2f}</u>" in (folder / "tables" / "tab4.md").read_text()
    html = (folder / "tables" / "tab4.html").read_text()
    assert re.search(rf'class="number best"[^>]*>{best.mean:.2f} ±', html)
    assert re.search(rf'class="number second"[^>]*>{second.mean:.2f} ±', html)


def test_a_missing_trial_shows_as_nine_of_ten_with_its_reason(real):
    for suffix in ("md", "tex", "html"):
        text = (real[1] / "tables" / f"tab4.{suffix}").read_text()
        assert "9/10" in text
        assert "1 failed" in text


def test_what_cannot_run_here_is_unavailable_and_not_failed(real):
    for suffix in ("md", "tex", "html"):
        text = (real[1] / "tables" / f"tab2.{suffix}").read_text()
        assert "unavailable" in text
        assert re.search(r"no ImageNet weights for resnet(_|\\_|\\_\\allowbreak\{\})w16", text)
        assert "nan" not in text.lower().replace("finance", "")
    page = Page((real[1] / "report.html").read_text())
    assert re.search(r"\d+ of \d+ planned trials .* a further 20 cannot be run in this profile", page.text)


def test_rows_and_columns_that_are_not_registered_are_named_below_the_table(real):
    page = Page((real[1] / "tables" / "tab4.html").read_text())
    assert (
        "method is not registered in this suite: Barlow Twins, Barlow Twins + res, DiRA (Barlow Twins), SimSiam"
        in page.text
    )
    assert "task is not registered in this suite: CheXpert, SIIM-ACR" in page.text
    assert "Tab. 3, Tab. 5: none of their methods and tasks" in Page((real[1] / "report.html").read_text()).text


def test_an_untested_contrast_has_no_mark(real):
    row = next(line for line in (real[1] / "tables" / "tab2.md").read_text().splitlines() if "DiRA" in line)
    assert not re.search(r"\\\*|↑|↓|≡", row.split("|")[3])


def block(text: str, suffix: str) -> str:
    """Cut the published block of a table out of its file."""
    if suffix == "md":
        return text.split("\n## Not in the paper")[0]
    if suffix == "tex":
        return text.split(r"\midrule")[1]
    return re.search(r'<tbody class="published">.*?</tbody>', text, re.S).group(0)


@pytest.mark.parametrize("suffix", ["md", "tex", "html"])
@pytest.mark.parametrize("table", ["tab1", "tab2", "tab4"])
def test_adding_a_method_leaves_every_byte_of_the_published_block(phantom, extended, table, suffix):
    before = (phantom[1] / "tables" / f"{table}.{suffix}").read_text()
    after = (extended[1] / "tables" / f"{table}.{suffix}").read_text()
    assert "Mine" in after and "Mine" not in before
    assert len(block(before, suffix)) > 200
    assert block(before, suffix) == block(after, suffix)


def test_every_number_of_every_table_leads_to_its_trials(extended):
    _, folder, _ = extended
    report = Page((folder / "report.html").read_text())
    data = shown((folder / "report.html").read_text())
    assert len(report.ids) == len(set(report.ids))
    opened = {c.anchor for c in (*data.cells, *data.contrasts)}
    entries = [entry for table in data.tables for row in table.rows for entry in row.entries if entry]
    assert len(entries) > 30
    for entry in entries:
        assert {entry.cell, *entry.contrasts} <= opened, entry
    for path in (folder / "tables").glob("*.html"):
        page = Page(path.read_text())
        assert page.cells
        for text, link in page.cells:
            name, _, anchor = link.partition("#")
            assert (path.parent / name).resolve() == (folder / "report.html").resolve()
            assert anchor in opened, text
    assert all(link.removeprefix("#") in {*report.ids, *opened} for link in report.links if link.startswith("#"))


def test_the_page_says_each_number_of_a_table_as_the_tables_own_page_does(extended):
    _, folder, _ = extended
    for table in shown((folder / "report.html").read_text()).tables:
        page = Page((folder / "tables" / f"{table.name}.html").read_text())
        said = [entry.text for row in table.rows for entry in row.entries if entry and entry.mean is not None]
        assert said == [text.strip() for text, _ in page.cells], table.name


def test_ours_minus_paper_is_the_difference_of_the_two_numbers_that_stand_beside_it(real):
    _, folder, _ = real
    data = shown((folder / "report.html").read_text())
    entries = [entry for table in data.tables for row in table.rows for entry in row.entries if entry]
    both = [entry for entry in entries if entry.mean is not None and entry.paper is not None]
    assert len(both) > 10
    for entry in both:
        ours, paper = (float(text.partition(" ")[0].replace("−", "-")) for text in (entry.text, entry.paper_text))
        said = float(entry.difference_text.replace("−", "-"))
        assert said == pytest.approx(ours - paper, abs=0.0101)  # each of the two is printed with two decimals
    assert all(entry.difference is None for entry in entries if entry.paper is None)


def test_the_size_of_an_effect_counts_margins_and_is_above_0_where_the_method_is_better(real):
    results, folder, _ = real
    rows = read_comparisons(results / "miniature" / "comparisons.csv")
    for c, row in zip(shown((folder / "report.html").read_text()).contrasts, rows, strict=True):
        if row.effect is None:
            assert c.size is None
            continue
        assert abs(c.size) * row.margin == pytest.approx(abs(row.effect), rel=1e-3)
        assert row.finding not in ("better", "worse") or (c.size > 0) == (row.finding == "better")


def test_every_trial_shows_its_value_and_its_id(extended):
    results, folder, methods = extended
    data = shown((folder / "report.html").read_text())
    trials = {trial.id: (cell, trial) for cell in data.cells for trial in cell.trials}
    assert data.provenance == "../../results/miniature/provenance"
    count = 0
    for method in methods:
        for row in read_trial_rows(results / "miniature" / "trials" / f"{method}.csv"):
            if row.status is not Status.OK or row.metric != METRICS[row.task][0]:
                continue
            count += 1
            cell, trial = trials[row.trial_id]
            assert trial.values[cell.metrics.index(wording.metric(row.metric))] == f"{100 * row.value:.2f}"
            assert (cell.method, cell.task, trial.repeat) == (method, row.task, row.repeat)
    assert count > 400


def test_a_number_stands_in_the_page_once(extended):
    """The page is small because no table repeats the trials: an id of 64 digits is in it once."""
    page = (extended[1] / "report.html").read_text()
    trials = [trial.id for cell in shown(page).cells for trial in cell.trials if trial.id]
    assert len(trials) > 400 and len(set(trials)) == len(trials)
    counts = Counter(re.findall(r"\b[0-9a-f]{64}\b", page))
    assert {counts[trial] for trial in trials} == {1}


def test_relative_links_of_the_report_lead_to_files_that_were_built(phantom):
    _, folder, _ = phantom
    for link in Page((folder / "report.html").read_text()).links:
        path = link.partition("#")[0]
        if path and "provenance" not in path:
            assert (folder / path).is_file(), link


def test_no_page_fetches_anything_from_outside(extended):
    for path in pages(extended[1]):
        text = own_text(path.read_text())
        page = Page(path.read_text())
        assert page.fetched == [], path.name
        assert "://" not in text, path.name
        assert "@import" not in text
        assert not [link for link in page.links if link.startswith(("http", "//"))]


def test_the_policy_of_each_page_admits_its_own_scripts_and_nothing_else(extended):
    import base64

    for path in pages(extended[1]):
        text = path.read_text()
        scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
        assert len(scripts) == (2 if path.name == "report.html" else 1)
        digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
        sources = " ".join(f"'sha256-{digest}'" for digest in digests)
        assert f"script-src {sources};" in text.replace("&#39;", "'")
        assert "default-src 'none'" in text


def test_hostile_labels_stay_text_in_every_format(tmp_path):
    evil = "<script>alert('x')</script> | $x_1$ \\input{/etc/passwd} & 100% #{~^}--><img src=x onerror=y>"
    _, folder, _ = make(tmp_path, added={"mine": evil}, labels={"moco_v2": "A <b>& $\\frac$ | label_"})
    for path in pages(folder):
        page = Page(path.read_text())  # fails on tags that do not nest
        assert page.fetched == []
        text = own_text(path.read_text())
        assert text.count("<script") == (2 if path.name == "report.html" else 1)
        assert "<img" not in text
        assert "<b>&" not in text
    assert evil in {method.label for method in shown((folder / "report.html").read_text()).methods}
    for path in (folder / "tables").glob("*.md"):
        assert "<script" not in path.read_text()
        for line in path.read_text().splitlines():
            if line.startswith("|"):
                bars = len(re.findall(r"(?<!\\)\|", line))
                assert bars in {
                    len(re.findall(r"(?<!\\)\|", other))
                    for other in path.read_text().splitlines()
                    if other.startswith("|:")
                }
    for path in (folder / "tables").glob("*.tex"):
        assert_compiles_in_structure(path.read_text())
    for path in (folder / "figures").glob("*.svg"):
        import xml.etree.ElementTree as ElementTree

        root = ElementTree.fromstring(path.read_bytes())
        assert not [e for e in root.iter() if e.tag.endswith(("script", "image"))]


COMMANDS = {
    "begin", "end", "centering", "small", "scriptsize", "footnotesize", "caption", "label", "textbf", "underline", "emph",
    "multicolumn", "toprule", "midrule", "bottomrule", "par", "smallskip", "parbox", "textwidth", "pm", "uparrow",
    "downarrow", "equiv", "bot", "top", "dagger", "times", "surd", "delta", "alpha", "sigma", "cdot", "leq", "geq", "textbackslash",
    "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "raggedright", "arraybackslash",
    "allowbreak", "setlength", "tabcolsep", "LTcapwidth", "begingroup", "endgroup", "endfirsthead", "endhead",
    "endfoot", "noindent",
}  # fmt: skip


def assert_compiles_in_structure(text: str) -> None:
    """Check what LaTeX would stumble over: braces, environments, math, columns, unknown commands and signs."""
    body = re.sub(r"(?m)^%.*$", "", text)
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= COMMANDS
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)  # escaped signs
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#_^%]", re.sub(r"\\(label|begin|end)\{[^}]*\}", "", bare))
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", body):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    grids = r"\\begin\{(tabular|longtable)\}\{((?:[^{}]|\{[^{}]*\})*)\}\n(.*?)\\end\{\1\}"
    for _, spec, inside in re.findall(grids, body, re.S):
        columns = len(re.findall(r"[lcrp]", re.sub(r"\{[^{}]*\}", "", spec)))
        inside = re.sub(r"(?m)^\\(caption.*|end(firsthead|head|foot))$", "", inside)
        for row in re.split(r"\\\\(?:\[\d+pt\])?\s", inside):
            row = re.sub(r"\\(top|mid|bottom)rule", "", row).strip()
            if not row:
                continue
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + spans == columns, row
    assert body.isascii()


def test_latex_tables_are_sound_in_structure(real, extended):
    found = [*(real[1] / "tables").glob("*.tex"), *(extended[1] / "tables").glob("*.tex")]
    assert len(found) == 16
    for path in found:
        text = path.read_text()
        assert r"\toprule" in text and r"\bottomrule" in text
        assert_compiles_in_structure(text)


def test_every_output_made_from_phantoms_says_so(extended):
    _, folder, _ = extended
    for name, data in files(folder).items():
        if name.startswith("audit."):
            continue
        assert b"SYNTHETIC" in data, name
    for path in (folder / "tables").glob("*.html"):
        text = path.read_text()
        assert '<div class="banner" role="note">SYNTHETIC: analytic phantoms</div>' in text
        caption = re.search(r"<caption>.*?</caption>", text, re.S).group(0)
        assert "SYNTHETIC" in caption
        heads = re.search(r"<thead>.*?</thead>", text, re.S).group(0)
        columns = len(re.findall(r"<small>[^<]*, points</small>", heads))
        assert columns > 0 and heads.count("SYNTHETIC") == columns
    for path in (folder / "tables").glob("*.tex"):
        assert all("SYNTHETIC" in caption for caption in re.findall(r"\\caption\{.*", path.read_text()))


def test_no_output_made_from_real_images_says_synthetic(real):
    for name, data in files(real[1]).items():
        assert b"synthetic" not in data.lower(), name


def test_the_audit_carries_no_stamp_and_says_why(phantom, real):
    for suffix in ("md", "html"):
        text = (phantom[1] / f"audit.{suffix}").read_text()
        assert "SYNTHETIC" not in text
        assert "No image was read and nothing was trained for this page" in " ".join(text.split())
        assert text == (real[1] / f"audit.{suffix}").read_text()


def test_the_audit_shows_every_claim_with_its_outcome(phantom, tmp_path):
    results, folder, _ = phantom
    rows = (results / "published" / "audit.csv").read_text().splitlines()[1:]
    text = (folder / "audit.html").read_text()
    page = Page(text)
    assert [f"claim-{row.split(',')[0]}" in page.ids for row in rows].count(False) == 0
    fig4 = [row for row in rows if row.startswith("fig4.") and ",significance," in row]
    assert sum(",supported," in row for row in fig4) == 9
    assert re.search(
        r'<th scope="row">Fig. 4</th><td>significance</td><td class="n">12</td><td class="n">9</td><td class="n">3</td>',
        text,
    )
    written = audit_pages(results, folder.parent, tmp_path)
    assert [p.name for p in written] == ["audit.md", "audit.html"]
    assert written[1].read_text() == text


def test_without_an_audit_the_report_says_how_to_make_one(altered):
    assert "dira-bench audit" in altered[1]


def test_figures_are_written_as_svg_and_png_and_stand_in_the_report(extended):
    _, folder, _ = extended
    names = {p.stem for p in (folder / "figures").glob("*.svg")}
    assert names == {p.stem for p in (folder / "figures").glob("*.png")}
    assert {name for name in names if not name.startswith("family_")} == {"fig4", "label_fractions", "learning_curves"}
    assert {"family_fig4", "family_added-mine"} <= names  # a figure a family; a dot would end its name in LaTeX
    assert {p.stem for p in (folder / "figures").glob("*.pdf")} == {*names, "fig4_column"}
    page = Page((folder / "report.html").read_text())
    assert {f"figure-{name}" for name in names} <= set(page.ids)
    figures = shown((folder / "report.html").read_text()).figures
    assert set(figures) == names
    assert all(text.startswith("<svg role=") and "<script" not in text for text in figures.values())


def test_the_bar_figure_draws_every_trial_as_a_dot_at_its_value(real):
    from reports.render import figures, frames
    from reports.render.inputs import read_results

    results, _, methods = real
    frame = frames.bars_frame(read_results(results, "miniature", methods, TASKS), "fig4")
    figure = figures.bars(frame, "")
    axes = [axis for axis in figure.axes if axis.get_title(loc="left").startswith("ChestX-ray14")]
    drawn = sorted(y for line in axes[0].lines if line.get_marker() == "o" for y in line.get_ydata())
    wanted = []
    for method in ("moco_v2", "dira_moco_v2"):
        for row in (results / "miniature" / "trials" / f"{method}.csv").read_text().splitlines():
            if f"{method},chestxray14,1.0," in row and ",auc," in row:
                wanted.append(100 * float(row.split(",")[6]))
    assert len(wanted) == 20
    assert drawn == pytest.approx(sorted(wanted))
    assert any("↑†" in text.get_text() for text in axes[0].texts)
    heights = sorted(patch.get_y() + patch.get_height() for patch in axes[0].patches)
    assert heights == pytest.approx(sorted([sum(wanted[:10]) / 10, sum(wanted[10:]) / 10]))


def test_metrics_hold_the_mean_of_each_cell(real):
    results, folder, _ = real
    content = json.loads((folder / "metrics.json").read_text())
    for cell in read_cells(results / "miniature" / "cells.csv"):
        if cell.mean is None:
            assert cell.method not in content["cells"][cell.task]
            continue
        name = cell.metric if cell.label_fraction == 1 else f"{cell.metric} at {cell.label_fraction * 100:g} %"
        assert content["cells"][cell.task][cell.method][name] == round(cell.mean, 4)


def test_without_gates_of_statistics_nothing_is_marked(phantom):
    for path in (phantom[1] / "tables").iterdir():
        assert "not learnt" not in path.read_text(), path
    assert not (phantom[1] / "tables" / "gates.md").exists()
    assert "No gate is recorded in this profile" in (phantom[1] / "report.html").read_text()


def test_methods_that_left_the_registry_are_dropped(altered, extended):
    assert b"Mine" in files(extended[1])["report.html"]
    for name, data in files(altered[0]).items():
        if name.endswith(SVG_AND_PAGES):
            assert b"Mine" not in data and b"cell-mine" not in data, name


def test_without_counts_of_overlap_and_terms_of_data_sets_there_are_no_such_sections(phantom):
    page = (phantom[1] / "report.html").read_text()
    assert 'id="twins"' not in page and "data-sets" not in page


def test_a_missing_table_of_statistics_is_one_clear_sentence(tmp_path):
    results, reports, methods = prepare(tmp_path)
    (results / "miniature" / "cells.csv").unlink()
    with pytest.raises(DiraBenchError, match=r"cells\.csv.*run"):
        build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)


def test_a_malformed_trials_file_is_named_with_its_line(tmp_path):
    results, reports, methods = prepare(tmp_path)
    path = results / "miniature" / "trials" / "moco_v2.csv"
    path.write_text(path.read_text().replace(",0,3,auc,", ",0,three,auc,", 1))
    with pytest.raises(DiraBenchError, match=r"moco_v2\.csv, line \d+.*three"):
        build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)


def test_a_malformed_layout_lists_every_error(tmp_path):
    path = tmp_path / "tables.yaml"
    path.write_text("labels: {}\ntables: {tab4: {title: T, captoin: C}}\n")
    with pytest.raises(DiraBenchError, match=r'(?s)caption: missing.*captoin: unknown key; did you mean "caption"'):
        read_layouts(path)


def test_the_layouts_name_tables_and_families_that_exist():
    layouts = read_layouts(REPOSITORY / "reports" / "tables.yaml")
    families = load_families(REPOSITORY / "reports" / "families.yaml")
    assert list(layouts.tables) == ["tab1", "tab2", "tab3", "tab4", "tab5"]
    for name, table in layouts.tables.items():
        assert name in families.tables
        assert set(table.marks) <= set(families.families)
        assert set(table.facts.rows) <= set(families.tables[name].methods)
        names = {*families.tables[name].methods, *families.tables[name].tasks}
        assert names <= set(layouts.labels)
    assert {f.family for f in layouts.figures.values()} <= {*families.families, *families.added}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0024, ".0024"), (3.9348e-7, "3.9e−07"), (1.0, "1.0"), (0.5, ".50"), (None, "–"), (0.0, "< 1e-300")],
)
def test_probabilities_are_written_with_two_significant_digits(value, text):
    assert wording.probability(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.756, "+0.76"), (-0.21, "−0.21"), (-0.001, "0.00"), (None, "–")])
def test_differences_are_written_with_their_sign(value, text):
    assert wording.signed(value) == text


@pytest.mark.thorough
def test_what_statistics_write_is_rendered_without_further_help(tmp_path):
    """The two modules meet: trials are summarised by harness.statistics and rendered."""
    results, reports, methods = prepare(tmp_path, added={"mine": "Mine"})
    families = load_families(REPOSITORY / "reports" / "families.yaml")
    cells, comparisons, _ = summarise(
        results / "miniature",
        {
            name: MethodFacts(
                label=label,
                compare_with=("moco_v2",) if name in ("mine", "restoration_only") else (),
                reinitialised=name == "random",
                unavailable="no ImageNet weights for resnet_w16" if name == "imagenet" else "",
            )
            for name, label in methods.items()
        },
        {
            name: TaskFacts(
                label=label, metric=METRICS[name][0], metrics=METRICS[name], label_fractions=(0.01, 0.25, 0.5, 1.0)
            )
            for name, label in TASKS.items()
        },
        PARAMETERS,
        families,
        read_margins(REPOSITORY / "reports" / "margins.yaml"),
        read_paper(REPOSITORY / "results" / "published" / "paper.csv"),
    )
    write_statistics(results / "miniature", cells, comparisons)
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS, families=families)
    data = shown((reports / "miniature" / "report.html").read_text())
    entries = [entry for table in data.tables for row in table.rows for entry in row.entries if entry]
    assert {entry.text for entry in entries} >= {
        f"{c.mean:.2f} ± {c.sd:.2f}" for c in cells if "tab4" in c.tables.split(";") and c.mean is not None
    }
    assert METHODS["restoration_only"] in {method.label for method in data.methods}


def test_with_every_entry_registered_all_five_tables_print_every_number_of_the_paper(tmp_path):
    """Nothing was run yet, so the tables show what the paper prints and no number of ours."""
    layouts = read_layouts(REPOSITORY / "reports" / "tables.yaml")
    families = load_families(REPOSITORY / "reports" / "families.yaml")
    paper = REPOSITORY / "results" / "published" / "paper.csv"
    names = {m for table in families.tables.values() for m in table.methods}
    methods = {name: label for name, label in layouts.labels.items() if name in names}
    tasks = {name: label for name, label in layouts.labels.items() if name not in names}
    dice, iou = {"siim_acr", "montgomery"}, {"lidc_idri", "lits", "brats"}
    metric = {t: "dice" if t in dice else "iou" if t in iou else "auc" for t in tasks}
    facts = {
        name: TaskFacts(
            label=label,
            metric=metric[name],
            metrics=(metric[name], *(layouts.tables["tab5"].metrics if name == "chestxray14" else ())),
            label_fractions=(0.01, 0.25, 0.5, 1.0),
        )
        for name, label in tasks.items()
    }
    results = tmp_path / "results"
    (results / "paper" / "trials").mkdir(parents=True)
    cells = [(m, t, f) for table in families.tables.values() for m, t, f in table.cells()]
    for method in methods:
        lines = ["method,task,label_fraction,pretrain_seed,repeat,metric,value,status,cohort,trial_id"]
        for m, task, fraction in dict.fromkeys(cells):
            if m == method:
                lines += [
                    f"{m},{task},{fraction!r},0,{r},{x},,missing,," for r in range(10) for x in facts[task].metrics
                ]
        (results / "paper" / "trials" / f"{method}.csv").write_text("\n".join(lines) + "\n")
    parameters = PARAMETERS.model_copy(update={"profile": "paper"})
    rows = summarise(
        results / "paper",
        {name: MethodFacts(label=label) for name, label in methods.items()},
        facts,
        parameters,
        families,
        read_margins(REPOSITORY / "reports" / "margins.yaml"),
        read_paper(paper),
    )
    write_statistics(results / "paper", *rows[:2])
    reports = tmp_path / "reports"
    reports.mkdir()
    for name in ("tables.yaml", "families.yaml", "overlaps.yaml"):
        shutil.copy(REPOSITORY / "reports" / name, reports / name)
    build(results, reports, "paper", parameters=parameters, methods=methods, tasks=tasks)
    with paper.open(newline="") as stream:
        printed = [row for row in csv.DictReader(stream) if row["place"].startswith("tab") and row["mean"]]
    counts = {}
    for row in printed:
        counts.setdefault(row["place"], []).append(
            f"{float(row['mean']):.2f}" + (f" ± {float(row['sd']):.2f}" if row["sd"] else "")
        )
    assert {place: len(numbers) for place, numbers in counts.items()} == {
        "tab1": 54,
        "tab2": 23,
        "tab3": 15,
        "tab4": 36,
        "tab5": 36,
    }
    for place, numbers in counts.items():
        text = (reports / "paper" / "tables" / f"{place}.html").read_text()
        shown = re.findall(r"<small[^>]*>paper: ([^<]*)</small>", block(text, "html"))
        assert sorted(shown) == sorted(numbers), place
        assert "not registered" not in text
        assert_compiles_in_structure((reports / "paper" / "tables" / f"{place}.tex").read_text())
    assert not (reports / "paper" / "tables" / "added.md").exists()


@pytest.mark.parametrize("label", ["[DiRA]", "*DiRA", "  [x", "[", "*"])
def test_a_label_is_no_argument_of_the_row_end_or_rule_before_it(label):
    """LaTeX reads ``\\\\ [DiRA]`` as a length and swallows the star of ``\\\\ *DiRA``; braces between stop it."""
    written = latex_text(label)
    assert written.startswith("{}") and written.removeprefix("{}") == label
    assert latex_text("DiRA [x] *") == "DiRA [x] *"


def test_what_stands_beside_the_contrasts_is_shown(altered):
    for name, texts in (
        ("improvement", ("0.62 [0.31, 0.88]", METHODS["dira_moco_v2"])),
        ("over-bases", ("+1.25 [+0.31, +0.88]", "ChestX-ray14 · AUC")),
        ("outlook", ("+0.21 (±1)", "0.96")),
    ):
        (row,) = table_of(altered[1], name).rows
        assert set(texts) <= set(row)
