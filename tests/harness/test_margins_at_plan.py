"""A metric without an equivalence margin is found by the plan, not by the statistics of a finished run."""

from functools import partial

import pytest

from harness.cli.session import Session
from harness.errors import ConfigurationError
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry
from harness.statistics.margins import margin_of
from tests.harness import project


def test_a_plan_names_each_metric_that_has_no_margin_with_its_task(tmp_path):
    root = project.copy(tmp_path)
    registry = load_registry(root, points=lambda group: [])
    families = load_families(root / "reports" / "families.yaml")
    with pytest.raises(ConfigurationError) as caught:
        make_plan(registry, load_parameters(root, {}), families, partial(margin_of, margins={"auc": 0.5}))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "task chestxray14" in lines[0] and 'no margin for the metric "localization_10"' in lines[0]
    assert "task montgomery" in lines[1] and 'no margin for the metric "dice"' in lines[1]
    assert all("reports/margins.yaml" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [("auc: 0.5\n", 'no margin for the metric "dice"'), ("auc: -1\n", "found -1; expected points above 0")],
)
def test_the_commands_plan_reads_the_margins_file_before_anything_runs(tmp_path, text, said):
    root = project.copy(tmp_path)
    (root / "reports" / "margins.yaml").write_text(text)
    session = Session(root, load_parameters(root, {}))
    with pytest.raises(ConfigurationError, match=said):
        _ = session.plan
