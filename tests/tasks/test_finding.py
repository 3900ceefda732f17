from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from tasks.layouts.finding import Files, is_litter, plain

FOLDER = st.sampled_from(["images", "images_001", "subset0", "Training Batch 1", "a.png", "b.nii.gz", "x"])
PLACE = st.lists(FOLDER, max_size=5).map("/".join)
NAME = st.sampled_from(["a.png", "b.png", "1.2.840.55", "b.nii.gz", "table.csv"])
FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(root: Path, path: str, content: str = "") -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    return target


@FUZZ
@given(st.dictionaries(NAME, PLACE, min_size=1), st.lists(PLACE, max_size=3))
def test_every_file_is_found_by_its_name_at_any_depth_and_litter_is_not(
    places: dict[str, str], littered: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, place in places.items():
            if (root / place / name).is_dir():
                return  # a folder already bears that name there
            try:
                put(root, f"{place}/{name}" if place else name)
            except (FileExistsError, NotADirectoryError):
                return  # a file bears the folder's name
            for place_of_litter in (place, *littered):
                for junk in (f"._{name}", ".DS_Store", "Thumbs.db", f"__MACOSX/{name}", f".ipynb_checkpoints/{name}"):
                    try:
                        put(root, f"{place_of_litter}/{junk}" if place_of_litter else junk, "litter")
                    except (FileExistsError, NotADirectoryError):
                        return
        files = Files.under(root, "it")
        found = {Path(path).name: path for path in files.paths}
        assert found == {name: f"{place}/{name}" if place else name for name, place in places.items()}
        for name in places:
            assert files.one(name, what="it") == found[name] == files.named(name)[0]
        assert files.by_name().required() == found and not files.by_name().findings()


@FUZZ
@given(st.lists(PLACE, min_size=2, max_size=4, unique=True), st.data())
def test_doubles_are_read_if_they_are_the_same_and_refused_with_both_places_if_not(
    places: list[str], data: st.DataObject
) -> None:
    contents = [data.draw(st.sampled_from(["one", "two"])) for _ in places]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [f"{place}/t.csv" if place else "t.csv" for place in places]
        for path, content in zip(paths, contents, strict=True):
            put(root, path, content)
        choice = Files.under(root, "it").by_name()
        first = min(paths, key=lambda path: (path.count("/"), path))
        message = " ".join(finding.message for finding in choice.findings())
        assert first in message and "expected one" in message
        told = {(double.read, double.other) for double in choice.doubles}
        assert told == {(first, path) for path in paths if path != first}
        if len(set(contents)) == 1:
            assert choice.required() == {"t.csv": first}
            assert [finding.level for finding in choice.findings()] == ["warn"] and "the same content" in message
            assert Files.under(root, "it").one("t.csv", what="it") == first
        else:
            assert "another content" in message
            for ask in (choice.required, lambda: Files.under(root, "it").one("t.csv", what="it")):
                with pytest.raises(DataError, match="another content"):
                    ask()


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("a.png", "a.PNG"),
        ("scan.nii.gz", "scan.NII.GZ"),
        ("v.nii", "v.Nii"),
        ("1.2.3.mhd", "1.2.3.MHD"),
        ("a.JPG", "a.jpg"),
    ],
)
def test_the_case_of_an_extension_does_not_count(asked: str, there: str, tmp_path: Path) -> None:
    put(tmp_path, f"deep/{there}")
    files = Files.under(tmp_path, "it")
    assert files.one(asked, what="it") == f"deep/{there}" and files.every(Path(asked).suffix) == (f"deep/{there}",)
    assert plain(asked) == plain(there)


def test_the_case_of_the_rest_of_a_name_does_count(tmp_path: Path) -> None:
    put(tmp_path, "A.png")
    assert Files.under(tmp_path, "it").named("a.png") == ()


def test_a_folder_named_as_the_file_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path, "volume-0.nii/volume-0.nii", "voxels")
    files = Files.under(tmp_path, "LiTS")
    assert files.one("volume-0.nii", what="it") == "volume-0.nii/volume-0.nii"
    assert files.by_name(".nii").required() == {"volume-0.nii": "volume-0.nii/volume-0.nii"}


def test_a_folder_named_as_the_file_that_holds_another_is_named(tmp_path: Path) -> None:
    put(tmp_path, "x/volume-0.nii/other.nii")
    with pytest.raises(DataError, match=r"x/volume-0\.nii is a folder without that file"):
        Files.under(tmp_path, "LiTS").one("volume-0.nii", what="the first volume")


def test_the_preferred_of_several_names_is_read_however_deep_it_lies(tmp_path: Path) -> None:
    put(tmp_path, "old.csv")
    put(tmp_path, "a/b/new.csv")
    files = Files.under(tmp_path, "it")
    assert files.one("new.csv", "old.csv", what="a table") == "a/b/new.csv" and files.maybe("none.csv") is None
    with pytest.raises(DataError, match=r"no none\.csv or never\.csv below .*expected a table; put it there"):
        files.one("none.csv", "never.csv", what="a table")


def test_links_to_files_and_hard_links_are_one_file_and_no_double(tmp_path: Path) -> None:
    real = put(tmp_path, "store/a.png", "pixels")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(real)
    (tmp_path / "hard").mkdir()
    os.link(real, tmp_path / "hard" / "a.png")
    choice = Files.under(tmp_path, "it").by_name()
    assert list(choice.paths) == ["a.png"] and not choice.findings()


def test_linked_folders_are_followed_once_and_never_round_in_circles(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    put(root, "images/a.png")
    put(elsewhere, "deep/b.png")
    (root / "more").symlink_to(elsewhere)
    (root / "again").symlink_to(elsewhere / "deep")
    (root / "images" / "up").symlink_to(root)
    (root / "above").symlink_to(tmp_path)
    (elsewhere / "back").symlink_to(root / "images")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    assert sorted(Path(path).name for path in Files.under(root, "it").paths) == ["a.png", "b.png"]


def test_a_root_that_is_a_link_is_read(tmp_path: Path) -> None:
    put(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Files.under(tmp_path / "link", "it").paths == ("a.png",)


def test_the_order_is_the_same_whatever_the_file_system_says(tmp_path: Path) -> None:
    for name in ("z", "a/b", "b", "a/a", "m/n/o"):
        put(tmp_path, name)
    assert Files.under(tmp_path, "it").paths == ("b", "z", "a/a", "a/b", "m/n/o")


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*; expected the root of LiTS"):
        Files.under(tmp_path / "absent", "LiTS")


def test_what_machines_leave_is_litter_and_what_data_sets_hold_is_not() -> None:
    assert all(map(is_litter, ("._a.png", ".DS_Store", "__MACOSX", "Thumbs.db", "desktop.ini", ".git", "lost+found")))
    assert not any(map(is_litter, ("a.png", "_a.png", "CXR_png", "Training Batch 1")))
