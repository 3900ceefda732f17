"""Every block of every page is shown, run by a test, or says why it is not run."""

import re

import pytest

from methods.key_layouts import AUTO, LAYOUTS
from tests.repository.blocks import COMMANDS, ROOT, blocks, commands_to_run, complaint, pages, read_blocks
from tests.repository.pages import read_tables


@pytest.mark.parametrize("page", pages())
def test_every_block_of_a_page_is_run_or_says_why_not(page):
    assert [complaint(block) for block in read_blocks(page) if complaint(block)] == []


def test_blocks_that_say_nothing_are_found_and_a_test_runs_them():
    assert {"README.md", "docs/quick-start.md", "docs/sharing-results.md"} <= {b.page for b in commands_to_run()}
    assert "commands_to_run()" in (ROOT / COMMANDS).read_text()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```yaml\na: 1\n```\n", "page.md:1: nothing runs it"),
        ("```\nls\n```\n", "page.md:1: found a fence that says ''"),
        ("words\n\n<!-- not run: no time -->\n```bash\nls\n```\n", "page.md:4: found 'not run: no time'"),
        ("<!-- run by tests/nobody.py -->\n```python\n1\n```\n", "page.md:2: found no tests/nobody.py"),
        ("<!-- run by tests/test_it.py -->\n```toml\na = 1\n```\n", "page.md:2: tests/test_it.py does not name"),
        ("<!-- later -->\n```bash\nls\n```\n", 'page.md:2: found the comment "later" above'),
    ],
)
def test_a_block_that_nobody_runs_is_named(page, said, tmp_path):
    (tmp_path / "page.md").write_text(page)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text("PAGE = 'another.md'\n")
    (block,) = read_blocks("page.md", tmp_path)
    assert complaint(block, tmp_path).startswith(said)


def test_a_block_inside_a_list_is_read_without_its_indentation():
    assert blocks("docs/datasets.md", "yaml")[0].startswith("data_roots:\n  chestxray14: ")


def test_the_readme_says_for_whom_shows_one_figure_and_two_commands_and_then_the_table():
    text = (ROOT / "README.md").read_text()
    (figure,) = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", text)
    assert (ROOT / figure).is_file()
    order = ["**For whom.**", figure, "nox -s repro", "nox -s tests", "generated: real-table"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_the_page_of_checkpoints_has_a_row_for_every_layout_and_no_other():
    rows = [row.cells[0].strip("`") for row in read_tables("checkpoints.md") if row.header[0] == "`key_map`"]
    assert rows[:-2] == list(LAYOUTS) and rows[-2] == AUTO and rows[-1].startswith("{")
