"""A table says what its numbers are in: points, millimetres, or both where its columns differ."""

import pytest

from reports.render.formats import markdown
from reports.render.latex import latex
from reports.render.pages import _environment, table_page
from reports.render.tables import Column, Entry, Row, Table


def table(*metrics):
    columns = tuple(Column("lungs", 1.0, metric, f"Lungs ({metric})", "") for metric in metrics)
    row = Row("random", "Random", (), (), tuple(Entry(None) for _ in metrics))
    return Table(
        name="own", title="Own", caption="Of our own.", fact_headings=(), columns=columns, published=(row,), added=(),
        contrasts=(), added_contrasts=(), absent=(), notes=(), added_notes=(), stamp="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (("dice", "auc"), "in points;"),
        (("hd95",), "in mm;"),
        (("dice", "hd95"), "in points, or the unit that stands beside them;"),
    ],
)
def test_the_foot_of_a_table_names_its_units(metrics, said):
    assert f"standard deviation over trials, {said} best of a column bold" in markdown(table(*metrics), 0.05)
    assert f"standard deviation over trials, {said} best" in latex(table(*metrics), 0.05).replace("\n", " ")


def test_the_heading_of_a_column_in_the_page_has_its_own_unit():
    parts = _environment().get_template("parts.html.j2").module
    head = str(parts.values(table("dice", "hd95"), "report.html"))
    assert "Dice, points" in head and "HD95, mm" in head


def test_the_page_of_a_table_says_the_unit_of_its_columns():
    assert "over trials, in mm; best" in table_page(table("hd95"), 0.05, "report.html")
