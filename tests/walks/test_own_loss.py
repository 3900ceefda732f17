"""A loss of one's own is checked, trained and becomes a row, by docs/adding-a-method.md alone."""

import pandas as pd
import pytest

from tests.walks.walk import Walk

pytestmark = pytest.mark.walks
PAGE = "docs/adding-a-method.md"


def test_a_loss_of_ones_own_becomes_a_row_of_the_report(tmp_path):
    walk = Walk(tmp_path / "clone")
    walk.follow(PAGE, "A loss of your own in five minutes")
    print(walk.summary())
    assert "failed" not in walk.printed.partition("\n")[0] and "passed  two steps on phantoms" in walk.printed
    cells = pd.read_csv(walk.root / "results" / "smoke" / "cells.csv")
    mine = cells[(cells["method"] == "my_loss") & (cells["task"] == "montgomery") & (cells["metric"] == "dice")]
    assert set(mine["n"]) == {2}
    curves = list((walk.root / "results" / "smoke" / "curves").rglob("*"))
    assert curves, "nothing was pretrained"
    assert walk.lines <= 10
