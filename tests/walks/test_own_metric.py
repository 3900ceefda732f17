"""A metric in millimetres of trials that are done, computed without training, by docs/adding-a-metric.md alone."""

import pandas as pd
import pytest

from tests.pipeline.clone import attempts
from tests.walks.walk import Walk, section

pytestmark = pytest.mark.walks
PAGE, TITLE = "docs/adding-a-metric.md", "A column without training"


def test_a_metric_in_millimetres_becomes_a_column_and_nothing_is_trained_for_it(tmp_path):
    walk = Walk(tmp_path / "clone")
    train = section(PAGE, TITLE)[0]
    assert train.body.startswith("dira-bench run ")
    walk.follow(PAGE, TITLE)
    print(walk.summary())
    before = attempts(walk)
    column = pd.read_csv(walk.root / "radius.csv")
    assert len(column) == sum(title.startswith("random × montgomery") for title in before.values())
    assert column["value"].between(0, 40).all() and column["value"].nunique() > 1
    assert "radius error, mm; lower is better" in walk.printed
    table = (walk.root / "reports" / "smoke" / "tables" / "sizes.md").read_text()
    assert "Montgomery (radius error, mm)" in table and "± " in table
    assert walk.lines <= 32
