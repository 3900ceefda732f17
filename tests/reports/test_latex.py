"""LaTeX without LaTeX: what is escaped, and that no table is wider than CVPR's text. `nox -s latex` sets the tables."""

import re
from dataclasses import replace

import pytest

from reports.render.latex import latex, side_by_side
from reports.render.latex_text import breakable, latex_text, lines_of, unset
from reports.render.tables import Column
from tests.reports.test_units import table

HOSTILE = r"a\b{c}$d&e#f%g_h^i~j<k>l|m`n" + '"o--p[q]*r éłąŘßΩλ中文🙂\u200b Donaudampfschifffahrtsgesellschaft'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50 % & more_#1", r"50 \% \& more\_\allowbreak{}\#1"),
        ("{x}$y$^2~\\", r"\{x\}\$y\$\textasciicircum{}2\textasciitilde{}\textbackslash{}"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("Müller, Řehoř, Łódź", r"M\"{u}ller, \v{R}eho\v{r}, \L{}\'{o}d\'{z}"),
        ("δ = 0.3, Ω, λ", r"$\delta$ = 0.3, $\Omega$, $\lambda$"),
        ("e\u0301 joined", r"\'{e} joined"),
        ("\u200bnothing\x00seen\ufeff", "nothing seen"),
        ("?`", r"?\textasciigrave{}"),
        ("Ẹ̀kọ́ ṣe", r"\d{\`{E}}k\d{\'{o}} \d{s}e"),  # Yoruba: what stands above lies within what stands below
    ],
)
def test_signs_are_written_as_latex_sets_them(text, written):
    assert latex_text(text) == written


def test_a_letter_without_a_command_becomes_its_code_point():
    assert latex_text("中").replace(r"\allowbreak{}", "") == "{[}U+4E2D]"
    assert unset(latex_text("폐 [U+0041] 中 한 中")) == [
        "U+4E2D CJK UNIFIED IDEOGRAPH-4E2D", "U+D3D0 HANGUL SYLLABLE PYE", "U+D55C HANGUL SYLLABLE HAN",
    ]  # fmt: skip


def test_a_file_names_at_its_head_the_letters_that_latex_does_not_have():
    one = table("auc")
    named = replace(one, published=tuple(replace(row, label="폐") for row in one.published))
    assert latex(named, 0.05).splitlines()[1] == "% U+D3D0 HANGUL SYLLABLE PYE"
    assert "code points" not in latex(one, 0.05)


def test_any_character_comes_out_as_ascii_with_balanced_braces():
    for start in range(0, 0x3000, 0x80):
        written = latex_text("".join(map(chr, range(start, start + 0x80))))
        assert written.isascii()
        bare = re.sub(r"\\[\\{}$&#%_]", "", written)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0


def test_a_long_word_may_break_and_its_letters_stay():
    written = breakable("Donaudampfschifffahrt x")
    assert written.replace(r"\allowbreak{}", "") == "Donaudampfschifffahrt x"
    assert max(map(len, re.split(r"\\allowbreak\{\}| ", written))) <= 12
    assert breakable("ChestX-ray14") == "ChestX-ray14"


def test_the_lines_of_a_label_are_never_fewer_than_its_letters_need():
    assert [lines_of("x" * length, 10) for length in (1, 10, 11, 20, 21)] == [1, 1, 2, 3, 3]
    assert lines_of("中文中文", 10) >= 3


def column(task: str) -> Column:
    return Column(task, 1.0, "auc", task, "")


def test_columns_of_one_task_stay_together_unless_they_are_more_than_fit():
    columns = [column(task) for task in "aaabbc"]
    assert side_by_side(columns, 4) == [[0, 1, 2], [3, 4, 5]]
    assert side_by_side(columns, 2) == [[0, 1], [2], [3, 4], [5]]
    assert side_by_side(columns, 9) == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("label", ["DiRA", HOSTILE, "x" * 300])
@pytest.mark.parametrize("metrics", [("auc",), ("auc", "dice", "hd95") * 4])
def test_no_table_is_wider_than_the_text(label, metrics):
    """Shares of the text's width, and two gaps of 3 pt a column but the outer ones, of 6.875 in = 496.9 pt."""
    one = table(*metrics)
    rows = tuple(replace(row, label=label) for row in one.published)
    columns = tuple(replace(c, heading=label) for c in one.columns)
    written = latex(replace(one, published=rows, columns=columns), 0.05)
    layouts = re.findall(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", written)
    layouts += re.findall(r"\\begin\{longtable\}\{@\{\}(.*)@\{\}\}", written)
    assert layouts
    for layout in layouts:
        shares = [float(share) for share in re.findall(r"p\{(0\.\d+)\\textwidth\}", layout)]
        assert len(shares) == layout.count("p{") >= 2
        assert sum(shares) * 496.9 + 6 * (len(shares) - 1) <= 496.9
