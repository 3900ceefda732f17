"""An archive of results comes back byte for byte, or is refused with a sentence and nothing is written."""

import hashlib
import json
import random
import shutil
import stat
import sys
import zipfile

import pytest

from harness.errors import ConfigurationError, DataError, StoreError
from harness.sharing import bundles
from harness.sharing.bundles import MANIFEST, bundle, unbundle
from tests.sharing.small_results import draws, write


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "project" / "results" / "smoke", {"m": draws(1)})
    return tmp_path / "project"


@pytest.fixture
def archive(root, tmp_path):
    bundle(root, "smoke", tmp_path / "results.zip", "dira-bench 0")
    return tmp_path / "results.zip"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rebuilt(archive, change, *, entry=lambda info: info, manifest=None):
    """Write the archive anew with other members; ``change`` edits name → bytes, the list follows it."""
    with zipfile.ZipFile(archive) as old:
        files = {name: old.read(name) for name in old.namelist()}
    document = json.loads(files.pop(MANIFEST))
    change(files)
    document["members"] = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    document |= manifest or {}
    other = archive.with_name("other.zip")
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        new.comment = b"0" * bundles.SEAL_DIGITS
        new.writestr(MANIFEST, json.dumps(document))
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry(info), content)
    other.write_bytes(bundles.sealed(other.read_bytes()))
    return other


def refused(archive, target, match):
    with pytest.raises(DataError, match=match):
        unbundle(archive, target)
    assert not target.exists()
    assert not [path for path in target.parent.iterdir() if path.name.startswith(f".{target.name}.")]


def test_results_come_back_byte_for_byte(root, archive, tmp_path):
    unbundle(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(root)


def test_the_same_results_give_the_same_archive(root, archive, tmp_path):
    for path in root.rglob("*"):
        path.touch()
    bundle(root, "smoke", tmp_path / "again.zip", "dira-bench 0")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("name", ["../outside.csv", "/outside.csv", "results/smoke/../../x.csv", "results\\smoke\\x.csv",
                                  "C:/x.csv", "results/smoke//x.csv", "results/smoke/./x.csv", "results/smoke/a\nb.csv"])  # fmt: skip
def test_a_name_that_leads_out_is_refused(archive, tmp_path, name):
    refused(rebuilt(archive, lambda files: files.update({name: b"x"})), tmp_path / "out", "stays in its folder")


@pytest.mark.parametrize("name", ["results/miniature/x.csv", "reports/smoke/report.html", "dvc.yaml", "results/x.csv"])
def test_a_name_of_something_else_is_refused(archive, tmp_path, name):
    refused(rebuilt(archive, lambda files: files.update({name: b"x"})), tmp_path / "out", "below results/smoke")


def test_a_page_is_no_part_of_results(archive, tmp_path):
    changed = rebuilt(archive, lambda files: files.update({"results/smoke/page.html": b"<script>"}))
    refused(changed, tmp_path / "out", "a kind of file that no results have")


def test_a_link_is_refused(archive, tmp_path):
    def linked(info):
        if info.filename.endswith("link.csv"):
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        return info

    changed = rebuilt(archive, lambda files: files.update({"results/smoke/link.csv": b"/etc/hostname"}), entry=linked)
    refused(changed, tmp_path / "out", "found a link")


def test_a_member_larger_than_listed_is_refused(archive, tmp_path):
    def larger(document):
        members = [dict(member) for member in document]
        members[0]["size"] -= 1
        return members

    with zipfile.ZipFile(archive) as old:
        members = larger(json.loads(old.read(MANIFEST))["members"])
    refused(rebuilt(archive, lambda files: None, manifest={"members": members}), tmp_path / "out", "found more than")


def test_an_archive_too_large_is_refused_before_it_is_read(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MOST_BYTES", 100)
    refused(archive, tmp_path / "out", "would take .* bytes; expected at most 100")


def test_a_member_packed_too_tightly_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MOST_RATIO", 50)
    changed = rebuilt(archive, lambda files: files.update({"results/smoke/zeros.csv": bytes(100_000)}))
    refused(changed, tmp_path / "out", "bytes claim to hold 100000")


def test_a_damaged_member_is_refused(archive, tmp_path):
    with zipfile.ZipFile(archive) as old:
        members = json.loads(old.read(MANIFEST))["members"]
    members[0]["sha256"] = "0" * 64
    refused(rebuilt(archive, lambda files: None, manifest={"members": members}), tmp_path / "out", "are not what")


def test_a_member_that_is_not_listed_is_refused(archive, tmp_path):
    refused(rebuilt(archive, lambda files: None, manifest={"members": []}), tmp_path / "out", "not once in both")


def test_an_edited_trial_is_refused_by_its_seal(archive, tmp_path):
    def edit(files):
        name = "results/smoke/trials/m.csv"
        head, first, *rest = files[name].decode().splitlines()
        cells = first.split(",")
        cells[6] = "0.99"
        files[name] = "\n".join([head, ",".join(cells), *rest, ""]).encode()
        sums = "results/smoke/SHA256SUMS"
        lines = [line for line in files[sums].decode().splitlines() if "trials/m.csv" not in line]
        files[sums] = "\n".join([*lines, f"{hashlib.sha256(files[name]).hexdigest()}  trials/m.csv", ""]).encode()

    refused(rebuilt(archive, edit), tmp_path / "out", "holds no sound results: .* was edited")


@pytest.mark.parametrize(("manifest", "match"), [({"form": 2}, "update dira-bench"), ({"form": "x"}, "form"),
                                                 ({"profile": "../x"}, "profile"), ({"more": 1}, "more")])  # fmt: skip
def test_a_list_of_another_form_is_refused(archive, tmp_path, manifest, match):
    refused(rebuilt(archive, lambda files: None, manifest=manifest), tmp_path / "out", match)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no archive")
    refused(tmp_path / "x.zip", tmp_path / "out", "no whole ZIP archive")
    with pytest.raises(ConfigurationError, match="does not exist"):
        unbundle(tmp_path / "absent.zip", tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds something already"):
        unbundle(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"mine"}


@pytest.mark.parametrize("place", ["absent/results.zip", "."])
def test_a_place_that_takes_no_file_is_refused_in_a_sentence(root, tmp_path, place):
    with pytest.raises(StoreError, match="cannot write"):
        bundle(root, "smoke", tmp_path / place, "dira-bench 0")


def one_sentence(archive, target):
    """Whatever the archive, it is refused in one line and leaves nothing, not even the folders above."""
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(DataError) as refusal:
        unbundle(archive, target / "deeper" / "out")
    assert len(str(refusal.value).splitlines()) == 1 and bundles.ADVICE in str(refusal.value)
    assert sorted(target.parent.rglob("*")) == before


def test_a_byte_that_changed_anywhere_is_noticed(archive, tmp_path):
    whole = archive.read_bytes()
    draw = random.Random(5)
    for place in range(0, len(whole), 7):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        one_sentence(archive, tmp_path / "out")


def test_a_part_of_an_archive_is_no_archive(archive, tmp_path):
    whole = archive.read_bytes()
    for end in (*range(0, len(whole), 61), len(whole) - 1):
        archive.write_bytes(whole[:end])
        one_sentence(archive, tmp_path / "out")
    archive.write_bytes(whole + b" ")
    one_sentence(archive, tmp_path / "out")


def test_damage_that_was_sealed_again_is_one_sentence_as_well(archive, tmp_path):
    """Behind the seal every other guard has to hold: the flips reach names, sizes, flags, methods and streams."""
    whole = archive.read_bytes()
    draw = random.Random(6)
    refused_ones = 0
    for place in range(0, len(whole) - bundles.SEAL_DIGITS, 5):
        damaged = whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :]
        archive.write_bytes(bundles.sealed(damaged))
        try:
            unbundle(archive, tmp_path / "out")
        except DataError as error:
            refused_ones += 1
            assert len(str(error).splitlines()) == 1 and not (tmp_path / "out").exists()
        else:  # a date, say: what it holds is what it lists
            shutil.rmtree(tmp_path / "out")
    assert refused_ones > 200


def test_two_members_of_one_name_are_refused(archive, tmp_path):
    with zipfile.ZipFile(archive, "a") as old, pytest.warns(UserWarning, match="Duplicate name"):
        old.writestr("results/smoke/trials/m.csv", b"other")
    archive.write_bytes(bundles.sealed(archive.read_bytes()))
    refused(archive, tmp_path / "out", "holds 'results/smoke/trials/m.csv' twice")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_way_of_packing_is_refused(archive, tmp_path, method):
    def packed(info):
        info.compress_type = method
        return info

    refused(rebuilt(archive, lambda files: None, entry=packed), tmp_path / "out", "packed in a way that no bundle is")


@pytest.mark.parametrize("metric", ["os:system", "this:that", "antigravity:geohash"])
def test_a_metric_that_is_code_is_never_imported_from_an_archive(root, tmp_path, metric):
    write(root / "results" / "smoke", {"m": draws(1)}, metric=metric)
    before = set(sys.modules)
    bundle(root, "smoke", tmp_path / "code.zip", "dira-bench 0")
    refused(tmp_path / "code.zip", tmp_path / "out", "which is code")
    assert not {"this", "antigravity"} & (set(sys.modules) - before)


def test_a_link_in_the_place_of_a_file_or_a_folder_is_refused(archive, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigurationError, match="is no file"):
        unbundle(tmp_path / "loop", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="holds something already"):
        unbundle(archive, tmp_path / "loop")
    with pytest.raises(StoreError, match="cannot write"):
        unbundle(archive, tmp_path / "loop" / "out")
    with pytest.raises(ConfigurationError, match="is no file"):
        unbundle(tmp_path, tmp_path / "out")


def test_a_profile_without_results_is_told_how_to_get_them(root, tmp_path):
    with pytest.raises(ConfigurationError, match='profile other has no results .*"dira-bench run --profile other"'):
        bundle(root, "other", tmp_path / "results.zip", "dira-bench 0")
    assert not (tmp_path / "results.zip").exists()


def test_a_table_that_cannot_be_read_is_not_to_be_restored_here(archive, tmp_path):
    """Nobody's git has the file: whoever made the archive has to."""

    def change(files):
        files["results/smoke/trials/n.csv"] = files["results/smoke/trials/m.csv"] + b"0" * 200_000

    with pytest.raises(
        DataError, match="holds no sound results: .*; get the archive anew from whoever made it"
    ) as told:
        unbundle(rebuilt(archive, change), tmp_path / "there")
    assert "git" not in str(told.value) and not (tmp_path / "there").exists()
