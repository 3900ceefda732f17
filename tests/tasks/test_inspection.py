"""A phantom given as a data root stays a phantom: every number from it is stamped."""

from __future__ import annotations

from harness.registry import load_registry
from tasks.configuration import resolve
from tasks.inspection import verify, write_phantom


def test_a_phantom_used_as_a_data_root_is_synthetic_and_not_the_published_split(tmp_path):
    entry = load_registry(points=lambda group: []).tasks["montgomery"]
    phantom = resolve(entry, "smoke", {})
    write_phantom(phantom.cohort, tmp_path / "root", phantom.stamp)
    real = resolve(entry, "paper", {"montgomery": tmp_path / "root"})
    assert real.synthetic
    assert real.stamp == phantom.stamp
    assert not real.split_published
    assert real.unavailable is None
    (tmp_path / "root" / "SYNTHETIC.txt").unlink()
    unmarked = resolve(entry, "paper", {"montgomery": tmp_path / "root"})
    assert not unmarked.synthetic
    assert unmarked.cohort != real.cohort, "its trials have other ids"


def test_a_written_phantom_passes_its_own_verifier(tmp_path):
    entry = load_registry(points=lambda group: []).tasks["montgomery"]
    phantom = resolve(entry, "smoke", {})
    write_phantom(phantom.cohort, tmp_path / "root", phantom.stamp)
    assert verify(phantom.cohort, tmp_path / "root", published=False) == []
