"""What a file that should hold weights is, told by its content, where it is something else. Imports no torch.

Each form is one that users do save or download under the name of a checkpoint; docs/checkpoints.md lists them.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

HEAD = 4096  # bytes that are looked at
FETCH = "fetch the weight file itself"
CONVERT = "convert it where that library is installed, and save the state dict with torch.save or safetensors"
UNPACK = "unpack it and name the file inside"
STARTS = {
    b"version https://git-lfs.github.com/spec/": (
        "a Git LFS pointer, which stands for the file", 'fetch the file with "git lfs pull"',
    ),
    b"\x1f\x8b": ("compressed with gzip", UNPACK),
    b"BZh": ("compressed with bzip2", UNPACK),
    b"\xfd7zXZ\x00": ("compressed with xz", UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!": ("a RAR archive", UNPACK),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file, as Keras and TensorFlow save weights", CONVERT),
    b"\x93NUMPY": ("a NumPy array", "save a state dict of named tensors with torch.save or safetensors"),
    b"GGUF": ("a GGUF file of a language model", "give a checkpoint of an image network"),
    b"%PDF": ("a PDF document", FETCH),
    b"\x89PNG": ("a picture", FETCH),
    b"\xff\xd8\xff": ("a picture", FETCH),
}  # fmt: skip
TABLE_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # ends the index of a TensorFlow checkpoint
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Form:
    """What a file is instead of weights.

    Attributes:
        what: Completes "FILE is …".
        remedy: What its user can do.
    """

    what: str
    remedy: str


def other_form(path: Path) -> Form | None:
    """Return what a file is, if it can be told that it holds no weights that are read here; else None."""
    size = path.stat().st_size
    if size == 0:
        return Form("empty", "fetch it again")
    with path.open("rb") as stream:
        head = stream.read(HEAD)
        stream.seek(max(0, size - len(TABLE_MAGIC)))
        tail = stream.read()
    for start, (what, remedy) in STARTS.items():
        if head.startswith(start):
            return Form(what, remedy)
    if head.startswith(ZIP):
        return _of_zip(path)
    if head[257:262] == b"ustar" and not _old_torch(head):
        return Form("a tar archive", UNPACK)
    if tail == TABLE_MAGIC:
        return Form("the index of a TensorFlow checkpoint", CONVERT)
    return _of_safetensors(head, size) if head[8:9] == b"{" else _of_text(path, head)


def _of_zip(path: Path) -> Form | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return Form("damaged: an archive, as torch.save writes, that lacks its end", "fetch it again")
    folders, leaves = {name.split("/")[1] for name in names if name.count("/") > 1}, {n.split("/")[-1] for n in names}
    tests: tuple[tuple[bool, Form | None], ...] = (
        ("constants.pkl" in leaves and "code" in folders, Form(
            "a TorchScript archive (torch.jit.save), a program with weights in it",
            "load it where you trust it and save its state_dict() with torch.save",
        )),
        (any(n.endswith("/data.pkl") for n in names), None),
        ("model.weights.h5" in leaves, Form("a Keras archive", CONVERT)),
        (all(n.endswith(".npy") for n in names), Form(
            "an archive of NumPy arrays (.npz)", "save a state dict of named tensors with torch.save or safetensors"
        )),
        ("serialized_exported_program.json" in leaves or "archive_format" in leaves, Form(
            "a program of torch.export, with weights in it", "save the model's state_dict() with torch.save",
        )),
    )  # fmt: skip
    for holds, form in tests:
        if holds:
            return form
    return Form(f"a zip archive of {len(names)} files ({', '.join(sorted(leaves - {''})[:3])}, …)", UNPACK)


def _of_safetensors(head: bytes, size: int) -> Form | None:
    told = int.from_bytes(head[:8], "little") + 8
    if told > size:
        return Form("damaged: safetensors whose header ends beyond the file", "fetch it again")
    return None


def _of_text(path: Path, head: bytes) -> Form | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:512].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")):
        return Form("an HTML page, as a server sends in place of a file", FETCH)
    if lower.startswith((b"<?xml", b"<error", b"<")):
        return Form("an XML document, as a server sends in place of a file", FETCH)
    if text.startswith((b"{", b"[")):
        return _of_json(path)
    if head[:1] != b"\x80" and all(byte in b"\t\r\n\f" or 32 <= byte < 127 or byte >= 128 for byte in head):
        try:
            first = head.decode().splitlines()[0][:40]
        except (UnicodeDecodeError, IndexError):
            return None
        return Form(f'text ("{first}")', FETCH)
    return None


def _of_json(path: Path) -> Form | None:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return Form("text that looks like JSON", FETCH)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if isinstance(shards, dict):
        files = sorted({str(name) for name in shards.values()})
        return Form(
            f"the index of a checkpoint in {len(files)} files ({', '.join(files[:2])}, …), and holds no weights itself",
            "load all of them where they lie and save one state dict with safetensors",
        )
    return Form("a JSON document, such as a configuration", FETCH)


def _old_torch(head: bytes) -> bool:
    """PyTorch before 0.1.11 wrote tar archives whose first member is this one."""
    return head.startswith((b"sys_info", b"./sys_info", b"tensors", b"pickle", b"storages"))
