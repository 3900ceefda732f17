"""A checkpoint of another project becomes a row of the report, by docs/checkpoints.md alone."""

import hashlib

import pandas as pd
import pytest

from tests.walks.files import write_checkpoint
from tests.walks.walk import Walk

pytestmark = pytest.mark.walks
PAGE = "docs/checkpoints.md"


def test_a_checkpoint_becomes_a_row_of_the_report(tmp_path):
    walk = Walk(tmp_path / "clone")
    file = walk.root / "weights" / "simsiam.pth.tar"
    write_checkpoint(file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()
    walk.follow(PAGE, "A row for your checkpoint", {"64 digits": digits})
    print(walk.summary())
    assert walk.printed.startswith(digits)
    table = pd.read_csv(walk.root / "reports" / "mine" / "tables" / "added.csv")
    assert "My SimSiam" in table.to_csv()
    cells = pd.read_csv(walk.root / "results" / "mine" / "cells.csv")
    mine = cells[(cells["method"] == "my_simsiam") & (cells["task"] == "montgomery") & (cells["metric"] == "dice")]
    assert set(mine["n"]) == {3}
    assert walk.lines <= 12
