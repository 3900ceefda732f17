"""Reading volumes: NIfTI, MetaImage and DICOM series into arrays of one orientation.

Whatever the file says, a ``Volume`` has axes (X, Y, Z) along which the index grows towards the patient's left, back and
head (LPS, DICOM's and ITK's world). Axes are permuted and reversed to come nearest to that; voxels are never resampled
here, so an oblique scan keeps its small rotation in ``direction`` and world coordinates stay exact.

nibabel, SimpleITK and pydicom are the optional extra ``data``, imported where they are needed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError, Unavailable

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING_TOLERANCE = 0.01  # share of the usual distance by which two slices may be nearer or farther
ONE_PLACE_MM = 0.01  # slices nearer than this lie at one place
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
    def spacing(self) -> np.ndarray:
        """Millimetres between voxels along each axis, ``(3,)``."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """Map indices ``(…, 3)`` to LPS millimetres."""
        return np.asarray(voxels, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxel(self, points: np.ndarray) -> np.ndarray:
        """Map LPS millimetres ``(…, 3)`` to indices, not rounded; whole numbers are centres of voxels."""
        return (np.asarray(points, float) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T


def canonical(voxels: np.ndarray, affine: np.ndarray) -> Volume:
    """Permute and reverse axes until they run nearest to left, back and head.

    Args:
        voxels: In the file's order ``(I, J, K)``.
        affine: Index → LPS millimetres of that order, ``(4, 4)``.

    Raises:
        DataError: If the affine has no three directions.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9 * max(1.0, lengths.prod()):
        raise DataError("the affine has no three independent directions; expected one that maps voxels to space")
    cosines = affine[:3, :3] / lengths
    from scipy.optimize import linear_sum_assignment  # every command would pay for it, and this alone needs it

    world, axes = linear_sum_assignment(-np.abs(cosines))
    order = axes[np.argsort(world)]
    voxels, turned = voxels.transpose(order), affine[:, [*order, 3]].copy()
    for axis in range(3):
        if turned[axis, axis] < 0:
            turned[:3, 3] += turned[:3, axis] * (voxels.shape[axis] - 1)
            turned[:3, axis] *= -1.0
            voxels = np.flip(voxels, axis)
    return Volume(voxels, turned)


def optional(module: str, package: str, what: str) -> Any:
    """Import a module of the extra ``data``.

    Raises:
        Unavailable: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unavailable(missing(package, what)) from None


def missing(package: str, what: str) -> str:
    """Say that an optional package is not installed, and how to install it."""
    return f'{package} is not installed; it reads {what}; install it with: pip install "dira-bench[data]"'


def nifti_header(path: Path) -> tuple[tuple[int, ...], np.ndarray, np.dtype]:
    """Return (shape, affine in LPS, stored type) of a NIfTI file, without its voxels.

    Raises:
        DataError: If there is none, or it is damaged.
    """
    image = _open_nifti(path)
    return image.shape, LPS_FROM_RAS @ image.affine, image.get_data_dtype()


def nifti_missing_bytes(path: Path) -> int:
    """Return how many bytes an uncompressed NIfTI file lacks against its header, without reading them."""
    if path.suffix == ".gz":
        return 0  # only unpacking tells
    image = _open_nifti(path)
    wanted = int(image.dataobj.offset) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    return max(0, wanted - path.stat().st_size)


def read_nifti(path: Path, affine: np.ndarray | None = None) -> Volume:
    """Read a NIfTI file (``.nii``, ``.nii.gz``) with its scaling applied.

    Args:
        path: The file.
        affine: To LPS millimetres, believed in place of the file's own: a mask's header may be worse than its image's.

    Returns:
        int16 or uint8 where the file stores whole numbers without scaling, float32 otherwise.

    Raises:
        DataError: If it is absent, truncated, not three-dimensional, or without orientation.
    """
    image = _open_nifti(path)
    shape = image.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3:
        raise DataError(f"{path} has shape {image.shape}; expected three dimensions; take one volume of it")
    try:
        voxels = np.asanyarray(image.dataobj).reshape(shape)
    except Exception as error:  # zlib, EOF, buffer sizes: the library lets each through as it comes
        raise DataError(f"{path} is damaged ({_short(error)}); expected a whole file; fetch it again") from None
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    return _canonical(voxels, LPS_FROM_RAS @ image.affine if affine is None else affine, path)


def _open_nifti(path: Path) -> Any:
    nibabel = optional("nibabel", "nibabel", "NIfTI files")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a NIfTI file; fetch it")
    try:
        return nibabel.load(path, mmap=False)  # a file that shrinks under a map kills the process
    except Exception as error:
        raise DataError(f"{path} cannot be read as NIfTI ({_short(error)}); expected a whole file; fetch it") from None


def read_metaimage(path: Path) -> Volume:
    """Read a MetaImage (``.mhd`` with ``.raw`` or ``.zraw``, ``.mha``), its TransformMatrix obeyed.

    Raises:
        DataError: If it is absent, truncated, not three-dimensional, or without orientation.
    """
    itk = optional("SimpleITK", "SimpleITK", "MetaImage files")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a MetaImage header; fetch it")
    try:
        image = itk.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        raise DataError(f"{path} cannot be read ({_short(error)}); expected header and data whole; fetch it") from None
    if image.GetDimension() != 3:
        raise DataError(f"{path} has {image.GetDimension()} dimensions; expected three; take one volume of it")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return _canonical(itk.GetArrayFromImage(image).transpose(2, 1, 0), affine, path)


def metaimage_header(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Return (shape, affine in LPS) of a MetaImage, without its voxels.

    Raises:
        DataError: If there is none, it is damaged, or it has not three dimensions.
    """
    itk = optional("SimpleITK", "SimpleITK", "MetaImage files")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a MetaImage header; fetch it")
    reader = itk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(f"{path} cannot be read ({_short(error)}); expected a MetaImage header; fetch it") from None
    if reader.GetDimension() != 3:
        raise DataError(f"{path} has {reader.GetDimension()} dimensions; expected three; take one volume of it")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    return tuple(reader.GetSize()), affine


def read_dicom(files: Iterable[Path]) -> tuple[Volume, list[Any]]:
    """Read one CT series: slices sorted by their place in the patient, rescale tags applied.

    File names and instance numbers are not believed. Slices must be parallel, of one shape and evenly spaced. Where
    several lie at one place, one is kept: see ``first_of_each_place``.

    Args:
        files: The slices, in any order.

    Returns:
        The volume, int16 or float32 in Hounsfield units, and the headers of the slices (pydicom data sets without
        pixels), in the order of its last axis.

    Raises:
        DataError: For a truncated or foreign file, a gap, or shapes that differ.
    """
    pydicom = optional("pydicom", "pydicom", "DICOM files")
    slices = []
    for path in sorted(files):
        try:
            header = pydicom.dcmread(path)
            place = np.asarray(header.ImagePositionPatient, float)
            turn = np.asarray(header.ImageOrientationPatient, float)
            between = np.asarray(header.PixelSpacing, float)
            stored = header.pixel_array
        except Exception as error:
            raise DataError(
                f"{path} cannot be read as a CT slice ({_short(error)}); expected a whole file; fetch it"
            ) from None
        scale, shift = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
        slices.append((place, turn, between, stored * np.float32(scale) + np.float32(shift), header, path))
    if len(slices) < 2:
        raise DataError(f"{len(slices)} slices; expected a series of at least two; fetch it again")
    first = slices[0]
    for other in slices[1:]:
        same = np.allclose(other[1], first[1], atol=1e-4) and np.allclose(other[2], first[2], rtol=1e-4)
        if not same or other[3].shape != first[3].shape:
            raise DataError(f"{other[5]} has another shape, spacing or orientation than {first[5].name}; expected one")
    row, column = first[1][:3], first[1][3:]
    normal = np.cross(row, column)
    kept, _ = first_of_each_place([(float(s[0] @ normal), instance_number(s[4]), s[5].name) for s in slices])
    slices = [slices[i] for i in kept]
    if len(slices) < 2:
        raise DataError(f"{slices[0][5].parent} has slices at one place alone; expected a series; fetch it again")
    heights = np.array([item[0] @ normal for item in slices])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for at, gap in enumerate(gaps):
        if abs(gap - usual) > SPACING_TOLERANCE * usual:
            what = f"{slices[at][5]} and {slices[at + 1][5].name} are {gap:g} mm apart, others {usual:g} mm"
            raise DataError(f"{what}; expected an even series without a missing slice; fetch it")
    voxels = np.stack([item[3].T for item in slices], axis=2)  # columns run along x, rows along y
    if np.array_equal(voxels, np.rint(voxels)) and np.abs(voxels).max() < 2**15:
        voxels = voxels.astype(np.int16)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * first[2][1], column * first[2][0]
    affine[:3, 2] = normal * (heights[-1] - heights[0]) / (len(slices) - 1)
    affine[:3, 3] = slices[0][0]
    volume = _canonical(voxels, affine, slices[0][5].parent)
    headers = [item[4] for item in slices]
    for header in headers:
        del header.PixelData
    return volume, headers if normal[2] > 0 else headers[::-1]


def first_of_each_place(slices: Sequence[tuple[float, int, str]]) -> tuple[list[int], list[int]]:
    """Order slices by their height and keep one of those that lie at one place: the lowest instance number.

    Some scans of LIDC-IDRI hold a slice several times; the collection's public reader keeps the same one (pylidc,
    ``Scan.load_all_dicom_images``, version 0.2.3).

    Args:
        slices: Height in millimetres, instance number and name of each; the name settles what the number does not.

    Returns:
        Positions of the slices that are kept, from the lowest, and of those that are left out.
    """
    kept: list[int] = []
    left_out: list[int] = []
    for i in sorted(range(len(slices)), key=lambda i: slices[i]):
        if not kept or slices[i][0] - slices[kept[-1]][0] >= ONE_PLACE_MM:
            kept.append(i)
        elif slices[i][1:] < slices[kept[-1]][1:]:
            left_out.append(kept[-1])
            kept[-1] = i
        else:
            left_out.append(i)
    return kept, left_out


def instance_number(header: Any) -> int:
    """Return the instance number of a slice; one that names none comes after all others."""
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return sys.maxsize


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


def _canonical(voxels: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    try:
        return canonical(voxels, affine)
    except DataError as error:
        raise DataError(f"{path}: {error}; correct its header") from None


def _short(error: Exception) -> str:
    """Return the first sentence of a library's message, without line breaks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text.replace("; ", ", ")[:120]
