"""The report as a reader has it: opened from disk, sorted, searched, followed to a trial, printed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.statistics.summary import read_comparisons
from tests.reports.shown import shown

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.browser
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def contrasts():
    return read_comparisons(REPOSITORY / "results" / "miniature" / "comparisons.csv")


def column(page, place: int) -> list[str]:
    return page.locator(f"[data-contrasts] tbody tr > *:nth-child({place})").all_inner_texts()


def sizes(page) -> list[float]:
    return [float(text.replace("−", "-")) for text in column(page, 5)]


def listed(page) -> str:
    return page.locator("[data-contrasts] .dt-info").inner_text()


def test_it_loads_from_disk_without_a_complaint_or_a_request(visit, report):
    one = visit()
    one.page.wait_for_timeout(1000)
    assert one.complaints == []
    assert [url for url in one.asked if url != report.as_uri()] == []


def test_it_is_light_enough_to_open_at_once(visit, report):
    page = visit().page
    assert report.stat().st_size <= 2_000_000
    assert page.evaluate("document.querySelectorAll('*').length") <= 5000
    page.wait_for_function("performance.getEntriesByType('paint').length > 0")


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_every_width_and_in_both_colours_nothing_hangs_over_the_edge(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_reader_may_choose_the_other_colours(visit):
    page = visit(color_scheme="light").page
    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def test_effects_come_by_size_and_one_click_brings_the_worst(visit, contrasts):
    page = visit().page
    by_size = [abs(size) for size in sizes(page)]
    assert by_size == sorted(by_size, reverse=True)
    page.get_by_role("button", name="Worst first").click()
    assert sizes(page) == sorted(sizes(page))
    worst = min((c for c in contrasts if c.effect is not None), key=lambda c: c.effect / c.margin)
    assert column(page, 1)[0] == f"{worst.method_label} − {worst.reference_label}"


def test_a_heading_sorts_and_what_is_missing_stays_last_both_ways(visit):
    page = visit().page
    heading = page.locator("[data-contrasts] th", has_text="Paper’s effect")
    for _ in range(2):
        heading.click()
        assert column(page, 7)[0] != "–"


def test_a_filter_leaves_the_rows_it_names(visit, contrasts):
    page = visit().page
    page.locator("[data-contrasts]").get_by_label("Finding", exact=True).select_option("equivalent")
    wanted = [c for c in contrasts if c.finding == "equivalent" and c.effect is not None]
    assert len(page.locator("[data-contrasts] tbody tr").all()) == len(wanted)
    assert all("equivalent" in text for text in column(page, 3))


def test_a_search_finds_by_any_word_and_clear_brings_all_back(visit, contrasts):
    page = visit().page
    page.get_by_label("Search contrasts").fill("TransVW LUNA16")
    wanted = [c for c in contrasts if "LUNA16" in c.task_label and "TransVW" in c.method_label + c.reference_label]
    assert wanted and f"of {len(wanted)} " in listed(page)
    page.locator("[data-contrasts]").get_by_role("button", name="Clear").click()
    assert f"of {len(contrasts)}" in listed(page)


def test_a_number_leads_to_its_trials_and_a_trial_to_its_command(visit, report):
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    page.locator("[data-tables] button.number").first.click()
    assert page.locator("dialog").get_by_role("heading", name="Trials").is_visible()
    page.locator("dialog button.open", has_text="Repeat 0").click()
    page.locator("dialog button.copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    known = {trial.id for cell in shown(report.read_text()).cells for trial in cell.trials}
    command, _, trial = copied.rpartition(" ")
    assert command == "dira-bench run --profile miniature --trial" and trial in known
    assert page.locator("dialog svg polyline").count() > 0  # the curve of its pretraining
    page.get_by_role("button", name="Back").click()
    assert page.locator("dialog button.open", has_text="Repeat 0").is_visible()


def test_a_link_to_a_cell_a_contrast_or_a_trial_opens_it(visit, report):
    data = shown(report.read_text())
    cell, contrast = data.cells[0], data.contrasts[0]
    page = visit().page
    for anchor in (cell.anchor, contrast.anchor, f"trial-{cell.trials[0].id}"):
        page.goto(f"{report.as_uri()}#{anchor}")
        page.reload()
        assert page.locator("dialog[open]").is_visible(), anchor


def test_the_switch_shows_the_papers_numbers_and_the_difference(visit, report):
    page = visit().page
    table = shown(report.read_text()).tables[0]
    for mode, field in (("Paper", "paper_text"), ("Ours − paper", "difference_text")):
        page.locator(".modes").get_by_role("button", name=mode, exact=True).click()
        first = table.rows[0].entries[0]
        assert page.locator("[data-tables] button.number").first.inner_text() == getattr(first, field)


def test_csv_holds_the_rows_in_sight(visit, tmp_path):
    page = visit().page
    page.locator("[data-contrasts]").get_by_label("Finding", exact=True).select_option("equivalent")
    with page.expect_download() as waiting:
        page.locator("[data-contrasts]").get_by_role("button", name="Download CSV").click()
    path = tmp_path / "effects.csv"
    waiting.value.save_as(path)
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert rows and len(rows) == len(page.locator("[data-contrasts] tbody tr").all())
    assert all(row["Finding"].startswith("equivalent") for row in rows)


def test_it_is_used_with_the_keyboard_alone(visit):
    page = visit().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-contrasts] button.open')"):
            break
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").is_visible()
    assert page.evaluate("document.activeElement.id") == "detail-title"
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.matches('[data-contrasts] button.open')")


def test_a_heading_sorts_by_keyboard(visit):
    page = visit().page
    page.locator("[data-contrasts] th", has_text="Finding").locator("[tabindex='0']").focus()
    page.keyboard.press("Enter")
    found = [text.split()[1] for text in column(page, 3)]
    assert found == sorted(found) and page.locator("[data-contrasts] th[aria-sort]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_page_or_in_the_detail(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(color_scheme=scheme, bypass_csp=True).page
    for step in ("page", "cell", "trial"):
        if step == "cell":
            page.locator("[data-tables] button.number").first.click()
        if step == "trial":
            page.locator("dialog button.open").first.click()
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == [], step


def test_on_paper_every_column_of_every_table_is_whole(visit, report, tmp_path):
    from pypdf import PdfReader

    page = visit().page
    page.wait_for_timeout(1500)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1047, "height": 718})  # A4 landscape less its edges, in px of CSS
    wide = page.evaluate(
        "[...document.querySelectorAll('main table')].filter((t) => t.offsetParent && "
        "t.getBoundingClientRect().right > innerWidth + 1).map((t) => t.getAttribute('aria-label'))"
    )
    assert wide == []
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), prefer_css_page_size=True)
    sheets = PdfReader(path).pages
    box = sheets[0].mediabox
    assert (round(float(box.width)), round(float(box.height))) == (842, 595)
    text = "".join("".join(sheet.extract_text().split()) for sheet in sheets)
    data = shown(report.read_text())
    for table in data.tables:
        for one in table.columns:
            assert "".join(one.heading.split()) in text, (table.name, one.heading)
        for row in table.rows:
            for entry in row.entries:
                assert entry is None or "".join(entry.text.split()) in text, (table.name, entry.text)
    for contrast in data.contrasts:
        assert "".join(contrast.effect_text.split()) in text, contrast.anchor


def test_after_printing_the_page_is_as_it_was(visit):
    page = visit().page
    before = page.evaluate("document.querySelectorAll('[data-contrasts] tbody tr').length")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('[data-contrasts] tbody tr').length") > before
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('[data-contrasts] tbody tr').length") == before
    assert page.locator(".on-paper").count() == 0


def test_without_scripts_a_sentence_says_so_and_leads_to_the_tables(visit, report):
    page = visit(java_script_enabled=False).page
    notice = page.locator("noscript")
    assert "scripts are switched off" in notice.inner_text()
    links = notice.locator("a").all()
    assert len(links) >= 3
    for link in links:
        assert (report.parent / link.get_attribute("href")).is_file()


def test_five_questions_take_at_most_three_actions(visit, report, contrasts):
    """Actions: a click, a choice, a text typed. The answer is what is in sight afterwards."""
    data = shown(report.read_text())
    label = {method.name: method.label for method in data.methods}
    page = visit().page

    page.get_by_role("button", name="Worst first").click()  # which contrast is worst? (1)
    worst = min((c for c in data.contrasts if c.size is not None), key=lambda c: c.size)
    assert column(page, 1)[0] == f"{label[worst.method]} − {label[worst.reference]}"

    failed = sorted(method.label for method in data.methods if method.gate == "not learnt")
    said = page.locator("#summary").inner_text()  # which rows failed their gate? (0)
    assert failed and all(name in said for name in failed)
    page.locator("[data-cells]").get_by_label("Gate", exact=True).select_option("not learnt")  # and which numbers? (1)
    shown_rows = page.locator("[data-cells] tbody th button").all_inner_texts()
    assert shown_rows and set(shown_rows) <= set(failed)

    page.locator("[data-tables] button.number").first.click()  # what reruns this number? (2)
    command = page.locator("dialog button[data-copy]").first
    assert command.get_attribute("data-copy").startswith("dira-bench run --profile miniature --trial ")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Farthest from the paper first").click()  # where do we differ most? (1)
    apart = max((c for c in data.contrasts if c.difference is not None), key=lambda c: abs(c.difference))
    assert column(page, 1)[0] == f"{label[apart.method]} − {label[apart.reference]}"

    heads = page.locator("[data-tables] table.grid thead th").all_inner_texts()[
        1:
    ]  # how many labels are behind this column? (0)
    assert heads and all("labels" in head for head in heads)
