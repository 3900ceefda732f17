"""Alterations of volumes: NIfTI, MetaImage and DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.tasks.altered.files import Finder, one, replace
from tests.tasks.altered.judging import Alteration


def _resave(path: Path, change: Callable[[Any], Any]) -> None:
    import nibabel

    stored = nibabel.load(path, mmap=False)
    made = change(nibabel.Nifti1Image(np.asarray(stored.dataobj), stored.affine, stored.header))
    path.unlink()
    nibabel.save(made, path)


def _image(voxels: np.ndarray, affine: np.ndarray, **header: Any) -> Any:
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)
    for key, value in header.items():
        image.header[key] = value
    return image


def of_nifti(find: Finder, *, pairs: bool) -> dict[str, Alteration]:
    """Return what can be done to NIfTI files.

    Args:
        find: Lists them.
        pairs: Whether each belongs to others on its grid, so that a header that places it elsewhere must be noticed.
    """

    def voxels_of(image: Any) -> np.ndarray:
        return np.asarray(image.dataobj)

    def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Path, np.random.Generator], str]:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(find(root), generator)
            _resave(path, change)
            return f"{path.name}: {name}"

        return alter

    def spoiled(value: float) -> Callable[[Any], Any]:
        def change(image: Any) -> Any:
            voxels = voxels_of(image).astype(np.float32)
            voxels.flat[voxels.size // 2] = value
            return _image(voxels, image.affine)

        return change

    def stored_as(kind: Any) -> Callable[[Any], Any]:
        return lambda image: _image(voxels_of(image).astype(kind), image.affine)

    def reoriented(root: Path, generator: np.random.Generator) -> str:
        from nibabel.orientations import axcodes2ornt

        path = one(find(root), generator)
        code = str(generator.choice(["RAS", "LPI", "SPL", "ARS", "LAS"]))

        def change(image: Any) -> Any:
            import nibabel

            own = nibabel.io_orientation(image.affine)
            return image.as_reoriented(nibabel.orientations.ornt_transform(own, axcodes2ornt(code)))

        _resave(path, change)
        return f"{path.name} stored along {code}"

    def raw(name: str, at: int, kind: Any, *values: float) -> Callable[[Path, np.random.Generator], str]:
        """Write a value into the header as bytes."""

        def alter(root: Path, generator: np.random.Generator) -> str:
            import gzip

            path = one(find(root), generator)
            packed = path.read_bytes()[:2] == b"\x1f\x8b"
            content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
            value = float(generator.choice(values))
            written = kind(value).tobytes()
            content[at : at + len(written)] = written
            replace(path, gzip.compress(bytes(content)) if packed else bytes(content))
            return f"{path.name}: {name} {value:g}"

        return alter

    def without_codes(image: Any) -> Any:
        made = _image(voxels_of(image), image.affine)
        made.set_qform(None, 0)
        made.set_sform(None, 0)
        return made

    def two_forms(image: Any) -> Any:
        moved = image.affine.copy()
        moved[0, 3] += 9.0
        made = _image(voxels_of(image), image.affine)
        made.set_sform(image.affine, 1)
        made.set_qform(moved, 1)
        return made

    found: dict[str, Alteration] = {
        "float32": changed("floats", stored_as(np.float32)),
        "float64": changed("doubles", stored_as(np.float64)),
        "int32": changed("long integers", stored_as(np.int32)),
        "big_endian": changed("big-endian", lambda i: _image(voxels_of(i).astype(">i2"), i.affine)),
        "complex": changed("complex", stored_as(np.complex64)),
        "nan": changed("a voxel is NaN", spoiled(np.nan)),
        "infinite": changed("a voxel is infinite", spoiled(np.inf)),
        "one_frame": changed("one frame", lambda i: _image(voxels_of(i)[..., None], i.affine)),
        "two_frames": changed("two frames", lambda i: _image(np.stack([voxels_of(i)] * 2, -1), i.affine)),
        "flat": changed("one slice", lambda i: _image(voxels_of(i)[..., 0], i.affine)),
        "scaled": raw("slope", 112, np.float32, np.inf, np.nan, 0.0),
        "magic": raw("magic", 344, np.int32, 0, 7),
        "dimensions": raw("dim[1]", 42, np.int16, 0, -3, 30000),
        "stored_type": raw("datatype", 70, np.int16, 0, 1, 7, 128, 2304),
        "sform_row": raw("srow_x[0]", 280, np.float32, np.nan, np.inf, 0.0),
        "codes_0": changed("no orientation", without_codes),
        "two_forms": changed("sform and qform apart", two_forms),
        "reoriented": reoriented,
    }
    if pairs:
        shifts = {"identity": np.eye(4), "shift": None}
        for name in shifts:

            def elsewhere(image: Any, name: str = name) -> Any:
                affine = np.eye(4) if name == "identity" else image.affine.copy()
                affine[0, 3] += 0.0 if name == "identity" else 0.5
                return _image(voxels_of(image), affine)

            found[name] = changed(name, elsewhere)
        found["flipped"] = changed("flipped", lambda i: _image(voxels_of(i), i.affine @ np.diag([-1.0, 1, 1, 1])))
        found["stretched"] = changed("stretched", lambda i: _image(voxels_of(i), i.affine @ np.diag([1, 1, 1.1, 1])))
        found["cropped"] = changed("cropped", lambda i: _image(voxels_of(i)[:, 1:], i.affine))
    return found


def of_metaimage(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to MetaImages with their data beside them."""

    def field(name: str, *values: str | None) -> Callable[[Path, np.random.Generator], str]:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(find(root), generator)
            value = values[int(generator.integers(len(values)))]
            lines = path.read_text().splitlines()
            new = [] if value is None else [f"{name} = {value}"]
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} ="))
            replace(path, ("\n".join([*lines[:at], *new, *lines[at + 1 :]]) + "\n").encode())
            return f"{path.name}: {name} = {value}"

        return alter

    def stored(change: Callable[[np.ndarray], np.ndarray], compressed: bool = False) -> Alteration:
        def alter(root: Path, generator: np.random.Generator) -> str:
            import SimpleITK

            path = one(find(root), generator)
            image = SimpleITK.ReadImage(str(path))
            array = change(SimpleITK.GetArrayFromImage(image))
            made = SimpleITK.GetImageFromArray(array, isVector=array.ndim > 3)
            if made.GetSize() == image.GetSize():
                made.CopyInformation(image)
            for old in path.parent.glob(f"{path.stem}.*"):
                old.unlink()
            SimpleITK.WriteImage(made, str(path), useCompression=compressed)
            return f"{path.name} stored otherwise"

        return alter

    def data(change: Callable[[bytes], bytes]) -> Alteration:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(find(root), generator)
            for raw in path.parent.glob(f"{path.stem}.*raw"):
                replace(raw, change(raw.read_bytes()))
            return f"data of {path.name} longer or shorter"

        return alter

    def spoiled(array: np.ndarray) -> np.ndarray:
        found = array.astype(np.float32)
        found.flat[found.size // 2] = np.nan
        return found

    return {
        "no_place": field("Offset", None, "nan 0 0", "word 0 0"),
        "no_spacing": field("ElementSpacing", None, "0 1 1", "nan 1 1", "1 1"),
        "no_matrix": field("TransformMatrix", None, "0 0 0 0 1 0 0 0 1", "2 0 0 0 1 0 0 0 1", "1 0 0"),
        "size": field("DimSize", "24 16", "24 16 20 2", "24 16 21", "24 16 19", "-1 16 20"),
        "element_type": field("ElementType", "MET_FLOAT", "MET_UCHAR", "MET_WORD", None),
        "data_file": field("ElementDataFile", "nothing.raw", "/etc/hostname", "../x.raw", None),
        "dimensions": field("NDims", "2", "4", "word"),
        "as_float": stored(lambda a: a.astype(np.float32)),
        "as_int32": stored(lambda a: a.astype(np.int32)),
        "compressed": stored(lambda a: a, compressed=True),
        "vector": stored(lambda a: np.stack([a, a], -1)),
        "nan": stored(spoiled),
        "too_long": data(lambda content: content + bytes(64)),
        "too_short": data(lambda content: content[:-64]),
    }


def of_slices(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to the slices of one CT series, drawn at random."""
    import pydicom

    def edit(path: Path, change: Callable[[Any], object]) -> None:
        data = pydicom.dcmread(path)
        change(data)
        path.unlink()
        data.save_as(path)

    def slices(root: Path, generator: np.random.Generator) -> list[Path]:
        folder = one(find(root), generator).parent

        def height(path: Path) -> float:
            return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])

        return sorted(folder.glob("*.dcm"), key=height)

    def some(name: str, *changes: Callable[[Any], object]) -> Callable[[Path, np.random.Generator], str]:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(slices(root, generator)[1:-1], generator)
            edit(path, changes[int(generator.integers(len(changes)))])
            return f"{path.name}: {name}"

        return alter

    def every(name: str, change: Callable[[Any], object]) -> Alteration:
        def alter(root: Path, generator: np.random.Generator) -> str:
            found = slices(root, generator)
            for path in found:
                edit(path, change)
            return f"{found[0].parent.name}: {name}"

        return alter

    def tag(name: str, value: Any) -> Callable[[Any], object]:
        return lambda data: setattr(data, name, value)

    def moved(axis: int, millimetres: float) -> Callable[[Any], object]:
        def change(data: Any) -> None:
            data.ImagePositionPatient[axis] = f"{float(data.ImagePositionPatient[axis]) + millimetres:.8g}"

        return change

    def a_gap(root: Path, generator: np.random.Generator) -> str:
        path = one(slices(root, generator)[1:-1], generator)
        path.unlink()
        return f"{path.name} in the middle removed"

    def renamed(root: Path, generator: np.random.Generator) -> str:
        found = slices(root, generator)
        for number, at in enumerate(generator.permutation(len(found))):
            found[at].rename(found[at].with_name(f"slice{number}.dcm"))
        return f"the slices of {found[0].parent.name} renamed"

    def twice(root: Path, generator: np.random.Generator) -> str:
        path = one(slices(root, generator), generator)
        path.with_name("again.dcm").write_bytes(path.read_bytes())
        return f"{path.name} twice in its folder"

    def strange(root: Path, generator: np.random.Generator) -> str:
        path = one(slices(root, generator), generator)
        other = one([p for p in find(root) if p.parent != path.parent], generator)
        path.with_name("strange.dcm").write_bytes(other.read_bytes())
        return f"a slice of {other.parent.name} in {path.parent.name}"

    def packed(root: Path, generator: np.random.Generator) -> str:
        path = one(slices(root, generator), generator)
        edit(path, lambda data: data.compress(pydicom.uid.RLELossless))
        return f"{path.name} packed by run lengths"

    def undecodable(data: Any) -> None:
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
        data.PixelData = pydicom.encaps.encapsulate([data.PixelData])
        data["PixelData"].is_undefined_length = True

    tilt = [1, 0, 0, 0, float(f"{np.cos(0.17):.8g}"), float(f"{np.sin(0.17):.8g}")]
    changes: dict[str, Alteration] = {
        "tilted": every("tilted", tag("ImageOrientationPatient", tilt)),
        "off_line": some("beside the line", moved(0, 2.0), moved(1, -1.0)),
        "off_place": some("moved along", moved(2, 1.0), moved(2, -0.7)),
        "no_slope": some("slope", tag("RescaleSlope", None), lambda d: d.pop("RescaleSlope"), tag("RescaleSlope", 0)),
        "no_shift": some("intercept", tag("RescaleIntercept", None), lambda d: d.pop("RescaleIntercept")),
        "no_place": some("place", tag("ImagePositionPatient", None), lambda d: d.pop("ImagePositionPatient")),
        "no_turn": some("turn", lambda d: d.pop("ImageOrientationPatient"), tag("ImageOrientationPatient", [1, 0, 0])),
        "no_spacing": some("spacing", tag("PixelSpacing", None), tag("PixelSpacing", [0, 1]), tag("PixelSpacing", [9, 9])),
        "other_series": some("series", tag("SeriesInstanceUID", "1.2.3"), lambda d: d.pop("SeriesInstanceUID")),
        "other_kind": some("modality", tag("Modality", "DX"), lambda d: d.pop("Modality")),
        "other_size": some("rows", tag("Rows", 7), tag("Columns", 300), lambda d: d.pop("Rows")),
        "colours": some("samples", tag("SamplesPerPixel", 3), tag("NumberOfFrames", 2)),
        "pixels": some("pixels", lambda d: d.pop("PixelData"), tag("PixelData", b""), tag("PixelData", bytes(10))),
        "undecodable": some("no decoder", undecodable),
        "unshifted": every("intercept lost", tag("RescaleIntercept", 1024)),
        "no_number": some("no instance number", tag("InstanceNumber", None), lambda d: d.pop("InstanceNumber")),
    }  # fmt: skip
    return {**changes, "gap": a_gap, "renamed": renamed, "twice": twice, "strange": strange, "packed": packed}


def of_messages(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to LIDC-IDRI's XML files."""

    def in_a_tree(root: Path, generator: np.random.Generator) -> str:
        for number, path in enumerate(find(root)):
            place = root / "LIDC-XML-only" / "tcia-lidc-xml" / str(157 + number % 2)
            place.mkdir(parents=True, exist_ok=True)
            path.rename(place / f"{number}.xml")
        return "XML files in a tree of their own"

    def again(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        content = path.read_bytes()
        if generator.random() < 0.5:
            content = content.replace(b"<malignancy>1", b"<malignancy>4").replace(b"<xCoord>", b"<xCoord>1", 1)
        path.with_name("again.xml").write_bytes(content)
        return f"{path.name} a second time"

    def of_nobody(root: Path, generator: np.random.Generator) -> str:
        import re

        path = one(find(root), generator)
        text = path.read_text()
        replace(path, re.sub(r"(<(?:\w+:)?SeriesInstanceUid>)[^<]*", r"\g<1>1.2.3", text).encode())
        return f"{path.name} about another series"

    def swapped(root: Path, generator: np.random.Generator) -> str:
        first, other = (find(root)[i] for i in generator.permutation(len(find(root)))[:2])
        one_content, other_content = first.read_bytes(), other.read_bytes()
        replace(first, other_content)
        replace(other, one_content)
        return f"{first.name} and {other.name} changed places"

    return {f.__name__: f for f in (in_a_tree, again, of_nobody, swapped)}
