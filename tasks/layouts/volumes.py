"""Reading volumes: NIfTI and MetaImage into arrays of one orientation; DICOM series are read by ``series``.

Whatever the file says, a ``Volume`` has axes (X, Y, Z) along which the index grows towards the patient's left, back and
head (LPS, DICOM's and ITK's world). Axes are permuted and reversed to come nearest to that; voxels are never resampled
here, so an oblique scan keeps its small rotation in ``direction`` and world coordinates stay exact.

A header that leaves out where voxels lie makes the libraries fill in something. Such a header is refused where world
coordinates are needed (``world=True``).

nibabel, SimpleITK and pydicom are the optional extra ``data``, imported where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from harness.dotted import import_module
from harness.errors import DataError
from tasks.layouts.grids import Grid, farthest_corner, shape_of
from tasks.layouts.space import inverse, length, lps_from_ras, transformed

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

QFORM_TOLERANCE = 0.5  # of a voxel: a quaternion in single precision turns a corner by up to some tenths of one
ORTHONORMAL_TOLERANCE = 1e-3
LEAST_HU = -500  # a CT with air in it goes below


@dataclass(frozen=True)
class Volume:
    """A scan in canonical orientation.

    Attributes:
        voxels: ``(X, Y, Z)``; indices grow towards left, back, head.
        affine: Voxel index → world, LPS millimetres, ``(4, 4)``.
    """

    voxels: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> Grid:
        """Where the voxels lie, channels aside."""
        return Grid(self.voxels.shape[-3:], self.affine)

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres between voxels along each axis, ``(3,)``."""
        return length(self.affine[:3, :3].T)

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """Map indices ``(…, 3)`` to LPS millimetres."""
        found: np.ndarray = transformed(self.affine[:3, :3], np.asarray(voxels, float)) + self.affine[:3, 3]
        return found

    def to_voxel(self, points: np.ndarray) -> np.ndarray:
        """Map LPS millimetres ``(…, 3)`` to indices, not rounded; whole numbers are centres of voxels."""
        return transformed(inverse(self.affine[:3, :3]), np.asarray(points, float) - self.affine[:3, 3])


@dataclass(frozen=True)
class Header:
    """What a file says about its voxels, without them.

    Attributes:
        grid: In the file's order.
        stored: Type of the stored numbers.
        unplaced: Why its header does not say where the voxels lie in the patient, in words; empty if it does.
        contradiction: How its header contradicts itself about that, in words; empty if it does not.
    """

    grid: Grid
    stored: np.dtype
    unplaced: str = ""
    contradiction: str = ""


def canonical(voxels: np.ndarray, affine: np.ndarray) -> Volume:
    """Permute and reverse axes until they run nearest to left, back and head.

    Args:
        voxels: In the file's order ``(I, J, K)``.
        affine: Index → LPS millimetres of that order, ``(4, 4)``.

    Raises:
        DataError: If the affine has no three directions.
    """
    grid, order, reversed_axes = Grid(voxels.shape, affine).canonical()
    return Volume(np.flip(voxels.transpose(order), reversed_axes), grid.affine)


def optional(module: str, package: str, what: str) -> ModuleType:
    """Import a module of the extra ``data``.

    Raises:
        Unavailable: If it is not installed.
    """
    return import_module(module, missing(package, what))


def missing(package: str, what: str) -> str:
    """Say that an optional package is not installed, and how to install it."""
    return f'{package} is not installed; it reads {what}; install it with: pip install "dira-bench[data]"'


def require_world(header: Header, path: Path) -> None:
    """Refuse a header that does not say, in one voice, where its voxels lie in the patient.

    Raises:
        DataError: If it is silent or contradicts itself.
    """
    if header.unplaced:
        raise DataError(
            f"{path} {header.unplaced}, so nobody knows where its voxels lie; expected a header that places them; "
            "correct it or export the scan anew"
        )
    if header.contradiction:
        raise DataError(f"{path} {header.contradiction}; expected one place; correct its header")


def canonical_grid(header: Header, path: Path) -> Grid:
    """Return a file's grid in canonical orientation.

    Raises:
        DataError: If it has no three directions.
    """
    try:
        return header.grid.canonical()[0]
    except DataError as error:
        raise DataError(f"{path}: {error}; correct its header") from None


def nifti_header(path: Path) -> Header:
    """Return what a NIfTI file says about its voxels, without them.

    Raises:
        DataError: If there is none, it is damaged, or holds anything but one volume of real numbers.
    """
    return _nifti_header(_open_nifti(path), path)


def _nifti_header(image: Nifti1Image, path: Path) -> Header:
    stored = image.get_data_dtype()
    if stored.fields or not (np.issubdtype(stored, np.integer) or np.issubdtype(stored, np.floating)):
        kind = "colours" if stored.fields else f"numbers of type {stored}"
        raise DataError(f"{path} holds {kind}; expected whole or real numbers, one a voxel; export it anew")
    grid = Grid(shape_of(image.shape, path), lps_from_ras(image.affine))
    sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    unplaced = "" if sform > 0 or qform > 0 else "has the sform_code and the qform_code 0"
    contradiction = ""
    if sform == qform > 0:  # with different codes they speak of different spaces, and the sform comes first
        other = Grid(grid.shape, lps_from_ras(image.header.get_qform()))
        apart = farthest_corner(grid, other)
        if not apart <= QFORM_TOLERANCE * length(grid.affine[:3, :3].T).min():
            contradiction = f"has an sform and a qform of one code that put a corner {apart:.4g} mm apart"
    return Header(grid, stored, unplaced, contradiction)


def nifti_missing_bytes(path: Path) -> int:
    """Return how many bytes an uncompressed NIfTI file lacks against its header, without reading them."""
    if path.suffix.lower() == ".gz":
        return 0  # only unpacking tells
    image = _open_nifti(path)
    wanted = int(image.dataobj.offset) + int(np.prod(image.shape)) * int(image.get_data_dtype().itemsize)
    return max(0, wanted - path.stat().st_size)


def read_nifti(path: Path, affine: np.ndarray | None = None, *, world: bool = False) -> Volume:
    """Read a NIfTI file (``.nii``, ``.nii.gz``) with its scaling applied; a slope of 0 or NaN says that there is none.

    Args:
        path: The file.
        affine: To LPS millimetres, believed in place of the file's own: a mask's header may be worse than its image's.
        world: Refuse a header that does not say where the voxels lie.

    Returns:
        The stored whole numbers where the file has them without scaling, float32 otherwise.

    Raises:
        DataError: If it is absent, truncated, not one volume of real numbers, or without orientation.
    """
    image = _open_nifti(path)
    header = _nifti_header(image, path)
    if world:
        require_world(header, path)
    try:
        voxels = np.asanyarray(image.dataobj).reshape(header.grid.shape)
    except Exception as error:  # zlib, EOF, buffer sizes: the library lets each through as it comes
        raise DataError(f"{path} is damaged ({short(error)}); expected a whole file; fetch it again") from None
    if np.issubdtype(voxels.dtype, np.floating):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            voxels = voxels.astype(np.float32)
    return oriented(voxels, header.grid.affine if affine is None else affine, path)


def _open_nifti(path: Path) -> Nifti1Image:
    nibabel = optional("nibabel", "nibabel", "NIfTI files")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a NIfTI file; fetch it")
    try:
        image = nibabel.load(path, mmap=False)  # a file that shrinks under a map kills the process
        with image.file_map["image"].get_prepare_fileobj("rb") as stream:
            raw = type(image.header).from_fileobj(stream, check=False)  # before the library puts it right in silence
        scaling = (float(raw["scl_slope"]), float(raw["scl_inter"]))
        sizes = np.asarray(raw["pixdim"][1:4], float)
    except Exception as error:
        raise DataError(f"{path} cannot be read as NIfTI ({short(error)}); expected a whole file; fetch it") from None
    if np.isinf(scaling).any():
        raise DataError(f"{path} has the scaling {scaling}; expected a finite slope and intercept; correct its header")
    if int(raw["sform_code"]) <= 0 and not (sizes > 0).all():
        found = ", ".join(f"{size:g}" for size in sizes)
        raise DataError(f"{path} has the voxel size ({found}) mm; expected lengths above 0; correct its header")
    return image


def read_metaimage(path: Path, *, world: bool = False) -> Volume:
    """Read a MetaImage (``.mhd`` with ``.raw`` or ``.zraw``, ``.mha``), its TransformMatrix obeyed.

    Args:
        path: The header.
        world: Refuse a header that does not say where the voxels lie.

    Raises:
        DataError: If it is absent, truncated, not one volume, or without orientation.
    """
    itk = optional("SimpleITK", "SimpleITK", "MetaImage files")
    header = metaimage_header(path)
    if world:
        require_world(header, path)
    try:
        image = itk.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        raise DataError(f"{path} cannot be read ({short(error)}); expected header and data whole; fetch it") from None
    return oriented(itk.GetArrayFromImage(image).transpose(2, 1, 0), header.grid.affine, path)


def metaimage_fields(path: Path) -> dict[str, str]:
    """Return the header's lines, which end with the name of the data.

    Raises:
        DataError: If it cannot be read.
    """
    fields: dict[str, str] = {}
    try:
        with path.open("rb") as stream:
            for line in stream:
                name, equals, value = line.decode("ascii", "replace").partition("=")
                if equals:
                    fields[name.strip()] = value.strip()
                if name.strip() == "ElementDataFile" or len(fields) > 1000:
                    break
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a MetaImage header; fetch it") from None
    return fields


def metaimage_header(path: Path) -> Header:
    """Return what a MetaImage says about its voxels, without them.

    Raises:
        DataError: If there is none, it is damaged, or it is not one volume with one number a voxel.
    """
    itk = optional("SimpleITK", "SimpleITK", "MetaImage files")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a MetaImage header; fetch it")
    unplaced = _expect_place(path, metaimage_fields(path))
    reader = itk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(f"{path} cannot be read ({short(error)}); expected a MetaImage header; fetch it") from None
    if reader.GetDimension() != 3:
        raise DataError(f"{path} has {reader.GetDimension()} dimensions; expected three; take one volume of it")
    if reader.GetNumberOfComponents() != 1:
        raise DataError(f"{path} holds {reader.GetNumberOfComponents()} numbers a voxel; expected one; export it anew")
    direction = np.reshape(reader.GetDirection(), (3, 3))
    if not np.allclose(transformed(direction.T, direction.T), np.eye(3), atol=ORTHONORMAL_TOLERANCE):
        raise DataError(f"{path} has a TransformMatrix that is no rotation; expected one; correct its header")
    affine = np.eye(4)
    affine[:3, :3] = direction * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    stored = itk.GetArrayFromImage(itk.Image(1, 1, reader.GetPixelID())).dtype
    return Header(Grid(shape_of(reader.GetSize(), path), affine), stored, unplaced)


PLACE_FIELDS = {  # the format has several names for one thing; any of a line will do
    "Offset": ("Offset", "Position", "Origin"),
    "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
    "ElementSpacing": ("ElementSpacing", "ElementSize"),
}


def _expect_place(path: Path, fields: dict[str, str]) -> str:
    """Return which fields are absent, in words; refuse one that is no number, which the library reads as 0."""
    absent = [name for name, names in PLACE_FIELDS.items() if not any(n in fields for n in names)]
    for name in (name for names in PLACE_FIELDS.values() for name in names if name in fields):
        try:
            finite = bool(np.isfinite([float(word) for word in fields[name].split()]).all())
        except ValueError:
            finite = False
        if not finite:
            raise DataError(f'{path} has {name} = "{fields[name]}"; expected numbers; correct its header')
    return f"has no {' and no '.join(absent)}" if absent else ""


def require_values(voxels: np.ndarray, where: str, *, hounsfield: bool) -> None:
    """Refuse a scan whose voxels cannot be what they should be.

    Args:
        voxels: As read.
        where: Names the scan in the error.
        hounsfield: Whether it is a CT, whose air lies near −1000; other intensities may begin anywhere.

    Raises:
        DataError: If a voxel is no number, or none is as low as air.
    """
    if np.issubdtype(voxels.dtype, np.floating) and not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        what = "Hounsfield units" if hounsfield else "intensities"
        raise DataError(f"{where} holds {count} voxels that are no number; expected {what}; fetch it again")
    if hounsfield and voxels.min() > LEAST_HU:
        found = f"{where} has the minimum {voxels.min():g}"
        raise DataError(f"{found}; expected Hounsfield units, air near −1000; check its rescaling")


def oriented(voxels: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    """Return ``canonical``, whose error names the file."""
    try:
        return canonical(voxels, affine)
    except DataError as error:
        raise DataError(f"{path}: {error}; correct its header") from None


def short(error: Exception) -> str:
    """Return the first sentence of a library's message, without line breaks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text.replace("; ", ", ")[:120]
