"""A comment edit changes nothing; a changed constant fails `verify` in one sentence until the version says so."""

from __future__ import annotations

import re
import subprocess

import pytest

from harness import versions
from harness.cli import upkeep
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


def commit(root, subject):
    """Commit everything in a repository of the test's own."""
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", subject),
    ):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


def numbers(folder):
    """What two steps would give here: a constant of the code; an entry that breaks gives nothing."""
    found = re.search(r"TEMPERATURE = (\S+)", (folder / "code/views.py").read_text()).group(1)
    return {"method moco_v2": found, **({} if found == "None" else {"task odd": "1"})}


def accept(root, name, *, bumped=False):
    """Ask for the digest of a component to be accepted."""
    upkeep._accept(root, versions.find(root, name), bumped, numbers)


@pytest.fixture
def history(root):
    """A repository whose components are pinned."""
    commit(root, "Pinned")
    return root


def test_an_edit_that_was_committed_is_compared_with_the_code_last_pinned(history):
    (history / "code/views.py").write_text("TEMPERATURE = 0.07\n")
    commit(history, "Edit a constant")
    (history / "other.txt").write_text("x")
    commit(history, "Something else")
    pinned = versions.last_pinned(history, versions.find(history, "views"))
    assert pinned.revision != "HEAD" and pinned.version == 1
    with pytest.raises(VersionError, match=r"numbers of method moco_v2 differ .*set version: 2"):
        accept(history, "views")
    with pytest.raises(VersionError, match=r"still has version 1"):
        accept(history, "views", bumped=True)


def test_an_edit_that_moves_nothing_is_accepted_committed_or_not(history):
    (history / "code/views.py").write_text("TEMPERATURE = 0.2\nOTHER = 1\n")
    accept(history, "views")
    commit(history, "Add a constant that nobody uses")
    accept(history, "views")


def test_numbers_that_disappear_count_as_moved(history):
    (history / "code/views.py").write_text("TEMPERATURE = None\n")
    with pytest.raises(VersionError, match=r"method moco_v2, task odd differ .*\(task odd has none any more\)"):
        accept(history, "views")


def test_a_version_raised_in_the_same_commit_as_the_edit_is_accepted(history):
    path = history / "methods/versions.yaml"
    path.write_text(path.read_text().replace("views: {version: 1", "views: {version: 2"))
    (history / "code/views.py").write_text("TEMPERATURE = 0.07\n")
    commit(history, "Edit a constant, raise the version")
    accept(history, "views", bumped=True)
    with pytest.raises(VersionError, match="--bumped"):
        accept(history, "views")


def test_a_new_component_is_accepted_and_one_without_any_pinned_commit_is_not(history):
    path = history / "methods/versions.yaml"
    path.write_text(path.read_text() + '  fresh: {version: 1, modules: [code/more.py], code: ""}\n')
    accept(history, "fresh")
    path.write_text(path.read_text().replace('code/more.py], code: ""', 'code/more.py], code: "0123456789abcdef"'))
    with pytest.raises(VersionError, match="no commit holds the code of version 1 of methods.fresh"):
        accept(history, "fresh")


def test_a_module_that_is_no_python_is_one_sentence(root):
    (root / "code/views.py").write_text("def broken(:\n")
    with pytest.raises(VersionError, match=r"methods/versions.yaml lists a module that is no Python"):
        versions.components(root)
