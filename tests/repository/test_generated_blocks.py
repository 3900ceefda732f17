"""README and docs/ hold no table of results by hand: each is what the built report says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from reports.render.readme import (
    ABSENT,
    BLOCKS,
    MARKED,
    PAGES,
    real_answers,
    real_answers_in_full,
    real_table,
    renewed,
    synthetic_table,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", PAGES)
def test_every_generated_block_is_what_the_report_says(page):
    text = (ROOT / page).read_text()
    assert renewed(text, ROOT / "reports", page) == text, "run python -m reports.render.readme"


def test_each_block_stands_once_on_some_page_and_numbers_of_phantoms_are_stamped_there():
    found = [match for page in PAGES for match in MARKED.finditer((ROOT / page).read_text())]
    assert sorted(match["name"] for match in found) == sorted(BLOCKS)
    assert "**SYNTHETIC: analytic phantoms**" in next(m["text"] for m in found if m["name"] == "synthetic-table")


def test_the_readme_leads_with_the_real_table_and_names_no_number_of_phantoms():
    text = (ROOT / "README.md").read_text()
    assert "generated: synthetic-table" not in text
    assert text.index("generated: real-table") < text.index("## Working with it")


def test_the_readme_s_table_is_the_first_of_the_report_with_scale_sample_and_notes(tmp_path):
    folder = tmp_path / "radiographs" / "tables"
    assert real_table(tmp_path) == real_answers(tmp_path) == ABSENT
    folder.mkdir(parents=True)
    (folder / "tasks.md").write_text(
        "# Title\n\nCaption.\n\n**64 px. A: sample.**\n\n| Method | A |\n|:--|:--|\n| Random | 50 |\n| Big | unavailable |\n\n"
        "A note.\n\nBig on A: 10 unavailable: no weights.\n\n---\n\nMarks"
    )
    (folder / "answers.md").write_text(
        "# What was found\n\nRule.\n\n## Does it help?\n\n**Unresolved.**\n\n**64 px.**\n\n- Of 3.\n- Better on A: x.\n- 4 rest.\n\n| c |\n"
    )
    table = "**64 px. A: sample.**\n\n| Method | A |\n|:--|:--|\n| Random | 50 |\n\nA note."
    assert real_table(tmp_path) == table
    assert real_answers(tmp_path) == "- Does it help? **Unresolved.** Of 3. Better on A: x."
    assert real_answers_in_full(tmp_path) == "- Does it help? **Unresolved.** Of 3. Better on A: x. 4 rest."
    page = "Lead\n<!-- generated: real-table -->\nstale\n<!-- end of real-table -->\nTail\n"
    new = renewed(page, tmp_path, "README.md")
    assert new == f"Lead\n<!-- generated: real-table -->\n\n{table}\n\n<!-- end of real-table -->\nTail\n"
    assert renewed(new, tmp_path, "README.md") == new


def test_a_block_that_nothing_makes_is_one_sentence(tmp_path):
    page = "<!-- generated: nothing -->\n<!-- end of nothing -->\n"
    with pytest.raises(ConfigurationError, match='README.md: found a generated block "nothing"; expected one of'):
        renewed(page, tmp_path, "README.md")


def test_the_miniature_s_table_is_its_report_s():
    text = synthetic_table(ROOT / "reports")
    lines = (ROOT / "reports" / "miniature" / "tables" / "tab4.md").read_text().splitlines()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) >= 10 and set(rows) <= set(lines)
