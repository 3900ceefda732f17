"""Builds the pages: one table, the audit, and the whole report, each a single file that opens from disk.

Jinja2 escapes everything; only our own SVG and style sheet enter unescaped. A content security policy with the digests
of its inline scripts forbids a page to load anything, so "self-contained" is enforced by the reader's browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.spec import DataTerms, Parameters, percent
from harness.statistics.any_paper.audit import TableClaim
from harness.statistics.audit import OUTCOMES, AuditedClaim, subject
from harness.statistics.schema import Block, CellSummary, Comparison
from reports.render import learnt, style, wording
from reports.render.anchors import cell_anchor, contrast_anchor
from reports.render.answers import Answer, introduction
from reports.render.drawers import drawers
from reports.render.formats import effect, markdown_table, markdown_text, ranks_of
from reports.render.inputs import Overlap, Results
from reports.render.leakage import shared_pairs, without_twins
from reports.render.page_data import Facts, TextTable, as_json, gates_table, packed, page_data
from reports.render.setting import setting
from reports.render.tables import Table

# Opens the drawer a link points into; without it every drawer still opens by hand.
SCRIPT = (
    "function reveal(){var e=location.hash&&document.getElementById(decodeURIComponent(location.hash.slice(1)));"
    "for(var d=e;d;d=d.parentElement){if(d.tagName==='DETAILS'){d.open=true}}if(e){e.scrollIntoView()}}"
    "addEventListener('hashchange',reveal);reveal();"
)
LIBRARY = "datatables-3.1.5.min.js"
OWN_SCRIPTS = ("page.js", "grid.js", "contrasts.js", "tables.js", "cells.js", "curves.js", "start.js")


@dataclass(frozen=True)
class Picture:
    """A figure of the report: file name, words, its files (``style.figure_bytes``), scale and sample of its images."""

    name: str
    title: str
    caption: str
    files: Mapping[str, bytes]
    setting: str = ""

    @property
    def column(self) -> bool:
        """Whether it was drawn once more, as wide as one column of a paper."""
        return "column" in self.files

    @property
    def inline(self) -> Markup:
        """The picture as markup that may stand in a page beside others."""
        return Markup(style.inline_svg(self.files["page"], self.name, str(escape(f"{self.title}: {self.caption}"))))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        w=wording,
        colours=style.PAGE_COLOURS,
        scripts=(Markup(SCRIPT),),
        digest=digest,
        cell_anchor=cell_anchor,
        contrast_anchor=contrast_anchor,
        effect=effect,
        percent=percent,
    )
    environment.filters["plain"] = plain
    return environment


def digest(script: str) -> str:
    """Return the digest by which a policy admits a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _file(*names: str) -> str:
    return files("reports.render").joinpath(*names).read_text(encoding="utf-8")


def report_scripts() -> tuple[Markup, ...]:
    """Return the scripts of the report: the library of tables below its licence, and our own."""
    licence = _file("vendor", "datatables-LICENSE.txt")
    library = f"/*\n{licence}*/\n{_file('vendor', LIBRARY)}"
    own = "".join(_file("script", name) for name in OWN_SCRIPTS)
    return Markup(library), Markup(own)


def plain(value: object) -> str:
    """Write any JSON value for a reader: ``train: 3000, test: 800``; deeply nested values as compact JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return wording.NONE
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return ", ".join(str(v) for v in value)
    if isinstance(value, dict) and not any(isinstance(v, list | dict) for v in value.values()):
        return ", ".join(f"{str(k).replace('_', ' ')}: {plain(v)}" for k, v in value.items())
    if isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()):
        return "; ".join(f"{k} ({plain(v)})" for k, v in value.items())
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def table_page(table: Table, alpha: float, report: str) -> str:
    """Write one table as a page of its own, its numbers linked into the report.

    Args:
        table: What stands in it.
        alpha: Level of the tests.
        report: Relative address of ``report.html``.
    """
    template = _environment().get_template("table.html.j2")
    return template.render(
        table=table, ranks=ranks_of(table, table.added), legend=wording.legend(alpha), report=report, stamp=table.stamp
    )


def by_family(contrasts: Iterable[Comparison]) -> list[list[Comparison]]:
    """Group contrasts by family, both in the order in which statistics left them."""
    families: dict[str, list[Comparison]] = {}
    for contrast in contrasts:
        families.setdefault(contrast.family, []).append(contrast)
    return list(families.values())


@dataclass(frozen=True)
class Tally:
    """What the contrasts of one family come to.

    Attributes:
        label, block: The family's.
        size: m of its correction. tested: Contrasts that have runs on both sides.
        findings, agreements: Counts of the tested; about different questions, so never added up.
    """

    label: str
    block: Block
    size: int
    tested: int
    findings: Counter[str]
    agreements: Counter[str]


def tally(contrasts: Iterable[Comparison]) -> list[Tally]:
    """Count Findings and Agreements by family; a contrast with a cell that was never run is absent, not undecided."""
    found = []
    for rows in by_family(contrasts):
        answered = [row for row in rows if wording.answered(row)]
        found.append(
            Tally(
                label=rows[0].family_label,
                block=rows[0].block,
                size=rows[0].family_size,
                tested=len(answered),
                findings=Counter(row.finding for row in answered),
                agreements=Counter(row.agreement for row in answered),
            )
        )
    return found


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total += count
    return total


@dataclass(frozen=True)
class AuditWords:
    """What an audit says about itself, apart from its claims.

    Attributes:
        title, lead, intro: Heading, the question, and where the numbers come from.
        level: α as the field writes it.
        runs: Whether a number of runs is not stated somewhere.
        headings, numbers: The printed numbers themselves, where they stand nowhere else.
    """

    title: str
    lead: str
    intro: str
    level: str = ".05"
    runs: bool = False
    headings: tuple[str, ...] = ()
    numbers: tuple[tuple[str, ...], ...] = ()


THE_PAPER = AuditWords(
    title="Audit of the paper’s printed numbers",
    lead="Does what DiRA (CVPR 2022) prints support what it says? Each claim is tested with the paper’s own means "
    "and standard deviations and the test it names: an independent two-sample t-test, p < .05, ten runs.",
    intro="Only numbers that the paper prints enter here, and they come from real images. No image was read and "
    "nothing was trained for this page, so it carries no stamp and is the same in every profile.",
)
COUNT_HEADINGS = ("Where", "Kind", "Claims", *OUTCOMES, "depends on the reading")


@dataclass(frozen=True)
class AuditTally:
    """What the claims of one kind in one place come to; ``fragile``: how many depend on the reading."""

    source: str
    type: str
    count: int
    outcomes: Counter[str]
    fragile: int


def audit_tally(claims: Sequence[AuditedClaim]) -> list[AuditTally]:
    """Count the outcomes of the audited claims by place and kind of claim."""
    groups: dict[tuple[str, str], list[AuditedClaim]] = {}
    for claim in claims:
        groups.setdefault((claim.source, claim.type), []).append(claim)
    return [
        AuditTally(
            source=wording.source_label(source),
            type=kind,
            count=len(rows),
            outcomes=Counter(row.outcome for row in rows),
            fragile=sum(not row.robust for row in rows),
        )
        for (source, kind), rows in groups.items()
    ]


def count_rows(claims: Sequence[AuditedClaim]) -> list[list[str]]:
    """Write the tally as texts, under ``COUNT_HEADINGS``."""
    return [
        [row.source, row.type, str(row.count), *(str(row.outcomes[o]) for o in OUTCOMES), str(row.fragile)]
        for row in audit_tally(claims)
    ]


def difference(claim: AuditedClaim) -> str:
    """Write a claim's difference with its sign; that of a table from elsewhere with all its decimals, two at least."""
    if claim.effect is None or not isinstance(claim, TableClaim):
        return wording.signed(claim.effect)
    decimals = f"{claim.effect:.6f}".rstrip("0").partition(".")[2]
    return wording.signed(claim.effect, max(2, len(decimals)))


def audit_page(claims: Sequence[AuditedClaim], labels: Mapping[str, str], words: AuditWords = THE_PAPER) -> str:
    """Write an audit as a page.

    Args:
        claims: Every audited claim.
        labels: Registry name → what the paper calls it.
        words: What the page says about itself.
    """
    return (
        _environment()
        .get_template("audit.html.j2")
        .render(
            words=words,
            claims=claims,
            about={claim.id: subject(claim, labels) for claim in claims},
            difference=difference,
            tally=audit_tally(claims),
            outcomes=OUTCOMES,
            total=Counter(c.outcome for c in claims),
            source_label=wording.source_label,
            stamp="",
        )
    )


def audit_markdown(claims: Sequence[AuditedClaim], labels: Mapping[str, str], words: AuditWords | None = None) -> str:
    """Write an audit as Markdown.

    Args:
        claims: Every audited claim.
        labels: Registry name → what the paper calls it.
        words: What the file says about itself; this project's own if not given.
    """
    total = Counter[str](claim.outcome for claim in claims)
    rows = [
        [
            f"{markdown_text(wording.source_label(c.source))}, {c.type}",
            markdown_text(subject(c, labels)),
            markdown_text(f"{c.claim} ({c.where})" if c.where else c.claim),
            markdown_text(c.printed) or difference(c),
            wording.probability(c.p_value),
            c.outcome,
            "yes" if c.robust else "no",
            markdown_text(c.note),
        ]
        for c in claims
    ]
    title = markdown_text(words.title) if words else "Audit of the paper's printed numbers"
    intro = "Only numbers that the paper prints enter here. No image was read and nothing was trained for this page."
    lines = [
        f"# {title}",
        "",
        markdown_text(words.intro) if words else intro,
        "",
        f"{wording.counted(len(claims), 'claim')}: " + ", ".join(f"{total[o]} {o}" for o in OUTCOMES if total[o]) + ".",
        "",
        markdown_table(COUNT_HEADINGS, [[markdown_text(text) for text in row] for row in count_rows(claims)]),
        "",
        markdown_table(("Where", "About", "Claim", "Printed", "p", "Outcome", "Robust", "Note"), rows),
    ]
    if words and words.numbers:
        numbers = [[markdown_text(text) for text in row] for row in words.numbers]
        lines += ["", "## The printed numbers", "", markdown_table(words.headings, numbers)]
    return "\n".join(lines) + "\n"


def by_terms(terms: Mapping[str, DataTerms], tasks: Mapping[str, str]) -> list[tuple[DataTerms, str]]:
    """Return each data set once, with the labels of the tasks that use it, in the order of the tasks."""
    labels: dict[DataTerms, list[str]] = {}
    for task, label in tasks.items():
        if task in terms:
            labels.setdefault(terms[task], []).append(label)
    return [(one, ", ".join(of)) for one, of in labels.items()]


def report_page(
    results: Results,
    parameters: Parameters,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
    tables: Sequence[Table],
    unshown: Sequence[str],
    answers: Sequence[Answer],
    pictures: Sequence[Picture],
    overlaps: Mapping[str, Mapping[str, Overlap]],
    provenance: str,
    terms: Mapping[str, DataTerms] = MappingProxyType({}),
) -> str:
    """Write the whole report.

    Args:
        results: What was measured.
        parameters: The run's parameters, shown at the end.
        methods: Registry name → label.
        tasks: The same for tasks.
        tables: As built.
        unshown: Titles of the paper's tables of which no cell was planned here.
        answers: What the runs say to the questions of ``tables.yaml``.
        pictures: As drawn.
        overlaps: Pretraining cohort → task → what they share.
        provenance: Relative address of ``results/<profile>/provenance``.
        terms: Task → licence and citation of its data set.
    """
    rows = tally(results.contrasts)
    # A profile of other tasks alone has nothing of the paper's to count.
    main = "published" if any(row.tested for row in rows if row.block == "published") else "added"
    texts = _texts(results, methods, tasks)
    names = {table.name for table in texts}
    data = page_data(
        results,
        methods,
        tasks,
        tables,
        drawers(results, methods, tasks, provenance),
        texts,
        {**cohort_facts(results), **pretraining_facts(results)},
        {picture.name: packed(picture.inline) for picture in pictures},
        alpha=parameters.alpha,
        provenance=provenance,
    )
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=Markup(as_json(data)),
            scripts=report_scripts(),
            texts=names,
            views=names - {"gates"},
            results=results,
            parameters=parameters,
            methods=methods,
            tasks=tasks,
            tables=tables,
            unshown=unshown,
            answers=answers,
            answers_introduction=introduction(answers),
            main=main,
            printed=any(row.block == "published" for row in rows),
            brief=setting(results.cohorts, tasks, (cell.task for cell in results.cells), brief=True),
            pictures=pictures,
            data_sets=by_terms(terms, tasks),
            overlaps=shared_images(results, overlaps),
            leaks=shared_pairs(results.leaks),
            without_twins=without_twins(results.leaks, results.contrasts, results.pretraining),
            legend=wording.legend(parameters.alpha),
            contrast_unit=wording.units(c.metric for c in results.contrasts),
            stamp=wording.stamp_of([*results.cells, *results.contrasts]),
            tally=rows,
            findings=_total(row.findings for row in rows if row.block == main),
            agreements=_total(row.agreements for row in rows if row.block == main),
            reasons=Counter(
                c.agreement_reason
                for c in results.contrasts
                if c.block == main and c.agreement == "not comparable" and wording.answered(c)
            ),
            learnt=learnt.methods_shown(results, methods),
            unlearnt=sum(bool(c.gate) and wording.answered(c) for c in results.contrasts),
            audit=audit_tally(results.claims),
            audit_total=Counter(c.outcome for c in results.claims),
            outcomes=OUTCOMES,
            **_trials_counted(results),
        )
    )


def _texts(results: Results, methods: Mapping[str, str], tasks: Mapping[str, str]) -> list[TextTable]:
    """Write what stands beside the contrasts, and the gates, as tables of texts; an empty one is left out."""
    w = wording

    def labelled(method: str) -> str:
        return methods.get(method, method)

    def family(label: str, gate: str) -> str:
        return f"{label} ({learnt.with_labels(gate, methods)})" if gate else label

    improvement = [
        (
            family(v.family_label, v.gate), labelled(v.method), labelled(v.reference), str(v.units),
            f"{w.number(v.estimate)} {w.plain_interval(v.low, v.high)}",
        )
        for v in results.views
        if v.method
    ]  # fmt: skip
    over_bases = [
        (
            family(v.family_label, v.gate), view_place(v.task, tasks), str(v.units),
            f"{w.signed(v.estimate)} {w.interval(v.low, v.high)}",
        )
        for v in results.views
        if not v.method
    ]  # fmt: skip
    outlook = []
    for p in results.prospects:
        where = w.column(tasks.get(p.task, p.task), p.label_fraction)
        where += "" if p.delta is None else f", δ = {p.delta}"
        spread = f", spread of {p.spread}" if p.spread not in ("", "printed") else ""
        rates = (p.reproduced, p.different, p.too_small, p.inconclusive, p.ceiling)
        outlook.append(
            (
                f"{labelled(p.method)} {w.MINUS} {labelled(p.reference)}", where,
                f"{w.signed(p.effect)} (±{p.margin:g}){spread}", *map(w.number, rates),
            )
        )  # fmt: skip
    tables = (
        TextTable(
            "improvement", "Probability of improvement",
            ("Family", "Method", "Reference", "Cells", "Probability [95 %]"), tuple(improvement), (3, 4), (0, 1),
        ),
        TextTable("over-bases", "Over the bases", ("Family", "On", "Pairs", "Mean gain [95 %]"), tuple(over_bases),
                  (2, 3), (0, 1)),
        TextTable(
            "outlook", "What this number of runs could answer",
            ("Contrast", "On", "Paper’s effect (margin)", "reproduced", "different", "too small to tell",
             "inconclusive", "ceiling"),
            tuple(outlook), (2, 3, 4, 5, 6, 7), (1,),
        ),
        gates_table(results, methods),
    )  # fmt: skip
    return [table for table in tables if table.rows]


def cohort_facts(results: Results) -> dict[str, tuple[Facts, ...]]:
    """Write what each cohort's file tells, below the anchor of its line."""
    found: dict[str, tuple[Facts, ...]] = {}
    for task, told in results.cohorts.items():
        hidden = ("findings", "task", "verifier", "stamp", "synthetic")
        pairs = tuple((k.replace("_", " "), plain(v)) for k, v in told.whole.items() if k not in hidden)
        findings = told.whole.get("findings", told.whole.get("verifier", [])) or []
        rows = [_finding(one) for one in findings] if isinstance(findings, list) else []
        title = "" if rows else "The verifier found nothing to report."
        headings = ("Level", "The verifier’s finding") if rows else ()
        found[f"cohort-{task}"] = (Facts("", pairs), Facts(title, (), headings, tuple(rows)))
    return found


def _finding(found: object) -> tuple[str, str]:
    if isinstance(found, Mapping):
        return str(found.get("level", "")), str(found.get("message", ""))
    return "", plain(found)


PHASE_COLUMNS = ("name", "status", "steps", "images_seen", "selected_step", "weights_sha256", "id")


def pretraining_facts(results: Results) -> dict[str, tuple[Facts, ...]]:
    """Write what each pretraining's file tells, below the anchor of its line: its phases, then every setting."""
    headings = ("Phase", "Status", "Steps", "Images seen", "Selected step", "Weights, SHA-256", "Id")
    found = {}
    for method, told in results.pretraining.items():
        parts = []
        if budget := told.whole.get("budget"):
            parts.append(Facts("", (("budget", plain(budget)),)))
        seeds = told.whole.get("pretraining_seeds")
        for chain in seeds if isinstance(seeds, list) else []:
            phases = chain.get("phases") or []
            if not phases:
                continue
            rows = tuple(tuple(plain(phase.get(name)) for name in PHASE_COLUMNS) for phase in phases)
            parts.append(Facts(f"Pretraining {chain['pretrain_seed']}", (), headings, rows))
            parts += [Facts(f"Settings of {phase['name']}", _settings(phase)) for phase in phases]
        found[f"pretraining-{method}"] = tuple(parts)
    return found


def _settings(phase: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    # Its measurements stand among the gates.
    elsewhere = (*PHASE_COLUMNS, "configuration", "measurements")
    shown = {name: value for name, value in phase.items() if name not in elsewhere}
    configuration = phase.get("configuration")
    settings = [*shown.items(), *(configuration.items() if isinstance(configuration, Mapping) else ())]
    return tuple((str(name).replace("_", " "), plain(value)) for name, value in settings)


def _trials_counted(results: Results) -> dict[str, int]:
    """Count the trials that can be run here, those that are done, and those that cannot be run here."""
    cells = _primary(results)
    return {
        "planned": sum(c.planned for c in cells if not wording.unavailable(c)),
        "done": sum(c.done for c in cells),
        "unavailable": sum(c.planned for c in cells if wording.unavailable(c)),
    }


def view_place(text: str, tasks: Mapping[str, str]) -> str:
    """Write where a gain over bases was averaged: ``task|label fraction|metric``, or all cells for an empty text."""
    if not text:
        return "all of them"
    task, fraction, metric = text.split("|")
    return f"{wording.column(tasks.get(task, task), float(fraction))} · {wording.metric(metric)}"


def shared_images(
    results: Results, overlaps: Mapping[str, Mapping[str, Overlap]]
) -> dict[str, dict[str, tuple[str, str]]]:
    """Return pretraining cohort → task → what they share in words, and what was counted here.

    Only cohorts that some method was pretrained on, and tasks that were evaluated.
    """
    used = {cohort for pretraining in results.pretraining.values() for cohort in pretraining.cohorts}
    used &= set(overlaps)
    matrix: dict[str, dict[str, tuple[str, str]]] = {}
    for cohort in (name for name in results.cohorts if name in used):
        row = matrix.setdefault(cohort, {})
        for task, told in results.cohorts.items():
            known = overlaps[cohort].get(task)
            if known is None:
                row[task] = ("none known", "")
                continue
            counted = [told.facts.get(name) for name in known.computed or ()]
            some = len(counted) == 2 and all(isinstance(number, int) for number in counted)
            row[task] = (known.relation, f"counted here: {counted[0]} of {counted[1]} test scans" if some else "")
    return matrix


def _primary(results: Results) -> list[CellSummary]:
    """Return one summary a cell, so that trials are counted once."""
    seen: dict[tuple[str, str, float], CellSummary] = {}
    for cell in results.cells:
        seen.setdefault((cell.method, cell.task, cell.label_fraction), cell)
    return list(seen.values())
