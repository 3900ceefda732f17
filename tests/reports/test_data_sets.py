"""The report says under which terms the images of its data sets are."""

from harness.spec import Citation, DataTerms
from reports.render import build
from tests.reports.test_render import PARAMETERS, TASKS, prepare

TERMS = DataTerms(
    title="Chests", licence="CC0 <b>", citations=(Citation(key="me2026", text="Me & you, 2026."),), url="https://a.b"
)


def test_a_data_set_has_one_row_with_its_tasks_its_licence_and_what_to_cite(tmp_path):
    results, reports, methods = prepare(tmp_path)
    first, second, *_ = TASKS
    terms = {first: TERMS, second: TERMS}
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS, terms=terms)
    page = (reports / "miniature/report.html").read_text()
    section = page.split('<section id="data-sets">')[1].split("</section>")[0]
    assert section.count("Chests") == 1 and f"{TASKS[first]}, {TASKS[second]}" in section
    assert "CC0 &lt;b&gt;" in section and "Me &amp; you, 2026." in section and "me2026" in section
