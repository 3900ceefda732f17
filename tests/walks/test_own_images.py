"""A CSV and a folder of masks become two columns of the report, by docs/your-images.md alone."""

import pandas as pd
import pytest

from tests.repository.blocks import blocks
from tests.walks.files import write_images
from tests.walks.walk import Walk

pytestmark = pytest.mark.walks
PAGE = "docs/your-images.md"


def test_a_csv_and_masks_become_two_columns_of_the_report(tmp_path):
    walk = Walk(tmp_path / "clone")
    write_images(tmp_path / "data", blocks(PAGE, "csv")[0].splitlines()[0])
    mine = {"=/data/": f"={tmp_path}/data/"}
    for title in (
        "A CSV becomes a classification task",
        "A folder of masks becomes a segmentation task",
        "Check, plan, run",
    ):
        walk.follow(PAGE, title, mine)
    print(walk.summary())
    table = pd.read_csv(walk.root / "reports" / "own" / "tables" / "tasks.csv")
    scored = table[table["done"] > 0]
    assert {("my_findings", "auc"), ("my_organ", "dice")} <= set(zip(scored["task"], scored["metric"], strict=True))
    assert set(scored["done"]) == {5} and {"random"} < set(scored["method"])
    page = (walk.root / "reports" / "own" / "tables" / "tasks.md").read_text()
    assert "My findings (AUC)" in page and "My organ (Dice)" in page
    assert walk.lines <= 26
