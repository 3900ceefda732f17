"""A comment edit changes nothing; a changed constant fails `verify` in one sentence until the version says so."""

from __future__ import annotations

import pytest

from harness import versions
from harness.errors import UnknownName, VersionError

FLOW = 'components:\n  views: {version: 1, modules: [code/views.py], code: ""}\n  views_more: {version: 3, modules: [code/more.py], code: ""}\n'
BLOCK = 'components:\n  metrics:\n    version: 2\n    modules: [code/metrics.py]\n    code: ""\n'


@pytest.fixture
def root(tmp_path):
    for side, text in (("methods", FLOW), ("tasks", BLOCK)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "versions.yaml").write_text(text)
    (tmp_path / "code").mkdir()
    for name in ("views", "more", "metrics"):
        (tmp_path / "code" / f"{name}.py").write_text(f'"""{name}."""\nTEMPERATURE = 0.2\n')
    for component in versions.stale(tmp_path):
        versions.write_digest(tmp_path, component)
    return tmp_path


def test_writing_a_digest_touches_its_own_line_only(root):
    assert versions.stale(root) == []
    (root / "code/more.py").write_text("TEMPERATURE = 0.5\n")
    before = (root / "methods/versions.yaml").read_text().splitlines()
    versions.write_digest(root, versions.find(root, "views_more"))
    after = (root / "methods/versions.yaml").read_text().splitlines()
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, False, True]
    assert versions.stale(root) == []


def test_a_comment_edit_leaves_everything_current(root):
    (root / "code/views.py").write_text('"""Views, better explained."""\n\n# the paper gives 0.2\nTEMPERATURE = 0.2\n')
    assert versions.stale(root) == []


def test_a_changed_constant_is_one_sentence_that_says_what_to_do(root):
    (root / "code/views.py").write_text("TEMPERATURE = 0.07\n")
    (component,) = versions.stale(root)
    text = versions.sentence(component)
    assert "\n" not in text
    assert "methods.views" in text
    assert "set version: 2" in text
    assert "dira-bench pin methods.views" in text


def test_an_absent_module_and_an_unknown_component_are_refused(root):
    with pytest.raises(UnknownName, match="views"):
        versions.find(root, "veiws")
    (root / "code/metrics.py").unlink()
    with pytest.raises(VersionError, match=r"code/metrics.py, which does not exist"):
        versions.components(root)
