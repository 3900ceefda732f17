"""The nine data sets, tiny, and what can be done to each."""

from __future__ import annotations

from tasks.datasets.brats import adapter as brats_data
from tasks.datasets.brats import phantom as brats
from tasks.datasets.chestxray14 import adapter as chestxray14_data
from tasks.datasets.chestxray14 import phantom as chestxray14
from tasks.datasets.chexpert import adapter as chexpert_data
from tasks.datasets.chexpert import phantom as chexpert
from tasks.datasets.lidc_idri import adapter as lidc_idri_data
from tasks.datasets.lidc_idri import phantom as lidc_idri
from tasks.datasets.lits import adapter as lits_data
from tasks.datasets.lits import phantom as lits
from tasks.datasets.luna16 import adapter as luna16_data
from tasks.datasets.luna16 import phantom as luna16
from tasks.datasets.montgomery import adapter as montgomery_data
from tasks.datasets.montgomery import phantom as montgomery
from tasks.datasets.pe_cad import adapter as pe_cad_data
from tasks.datasets.pe_cad import phantom as pe_cad
from tasks.datasets.siim_acr import adapter as siim_acr_data
from tasks.datasets.siim_acr import phantom as siim_acr
from tasks.options import Split
from tests.tasks.altered.files import ANYWHERE, lines_of_another_system, matching, of_files, row
from tests.tasks.altered.judging import DataSet
from tests.tasks.altered.pictures import of_dicom, of_jpeg, of_png
from tests.tasks.altered.volumes import of_messages, of_metaimage, of_nifti, of_slices

OFFICIAL = Split(rule="official", validation_fraction=0.1, seed=99)
DRAWN = Split(rule="random", test_fraction=0.34, validation_fraction=0.125, seed=4)
CANDIDATES = {"shape": [8, 8, 8], "store": "uint8", "window": [-1000, 1000]}
CHEST = {"nodules": 1, "vessels": 1, "forks": 0, "voxels": [24, 16, 20]}
EMBOLI = {"emboli": 1, "nodes": 1, "plain": 0, "voxels": [24, 16, 20]}


def data_sets() -> dict[str, DataSet]:
    """Return name → data set."""
    mhd, nii = matching("*.mhd"), matching("*.nii", "*.nii.gz")
    png, jpg, dcm, xml = matching("*.png"), matching("*.jpg"), matching("*.dcm"), matching("LIDC*/**/*.xml")
    subset = matching("subset*/*.mhd")
    found = (
        DataSet(
            "chestxray14", chestxray14_data.ADAPTER, OFFICIAL,
            lambda root: chestxray14.write(root, {"seed": 5, "train": 20, "validation": 5, "test": 10, "file_px": 48}),
            {**ANYWHERE, **of_files(png), **of_png(png), "lines": lines_of_another_system("*.csv", "*.txt")},
        ),
        DataSet(
            "montgomery", montgomery_data.ADAPTER, DRAWN,
            lambda root: montgomery.write(root, {"seed": 5, "images": 8, "file_px": [48, 56]}),
            {**ANYWHERE, **of_files(png), **of_png(png)},
        ),
        DataSet(
            "chexpert", chexpert_data.ADAPTER, OFFICIAL,
            lambda root: chexpert.write(root, {"seed": 7, "train": 30, "test": 20, "file_px": [32, 40]}),
            {**ANYWHERE, **of_files(jpg), **of_jpeg(jpg), "lines": lines_of_another_system("*.csv")},
        ),
        DataSet(
            "siim_acr", siim_acr_data.ADAPTER, DRAWN,
            lambda root: siim_acr.write(root, {"seed": 3, "images": 20, "file_px": 32}),
            {**ANYWHERE, **of_files(dcm), **of_dicom(dcm), "lines": lines_of_another_system("*.csv")},
        ),
        DataSet(
            "luna16", luna16_data.ADAPTER, OFFICIAL, lambda root: luna16.write(root, {"seed": 3, "scans": 1, **CHEST}),
            {
                **ANYWHERE, **of_files(mhd), **of_metaimage(subset), "row": row("candidates.csv"),
                "lines": lines_of_another_system("candidates.csv", "annotations.csv"),
            },
            CANDIDATES,
        ),
        DataSet(
            "pe_cad", pe_cad_data.ADAPTER, OFFICIAL, lambda root: pe_cad.write(root, {"seed": 3, "patients": 6, **EMBOLI}),
            {
                **ANYWHERE, **of_files(matching("scans/*.mhd", "scans/*.nii.gz")), **of_nifti(nii, pairs=False),
                **{f"mhd_{name}": change for name, change in of_metaimage(mhd).items()},
                "row": row("candidates.csv", "split.csv"), "lines": lines_of_another_system("*.csv"),
            },
            CANDIDATES,
        ),
        DataSet(
            "lidc_idri", lidc_idri_data.ADAPTER, DRAWN,
            lambda root: lidc_idri.write(
                root, {"seed": 3, "patients": 8, "nodules": 1, "voxels": [40, 28, 32], "slices": 14}
            ),
            {
                **ANYWHERE, **{f"xml_{name}": change for name, change in of_files(xml).items()},
                **of_slices(matching("LIDC*/*/*/3*/*.dcm")), **of_messages(matching("LIDC*/*/*/3*/*.xml")),
            },
            {**CANDIDATES, "spacing_mm": 10.0},
        ),
        DataSet(
            "lits", lits_data.ADAPTER.with_options({"patches_per_volume": 2}), OFFICIAL,
            lambda root: lits.write(root, {"seed": 1, "train": 3, "validation": 1, "test": 1, "shape": [16, 14, 8]}),
            {**ANYWHERE, **of_files(nii), **of_nifti(nii, pairs=True)},
            {**CANDIDATES, "in_plane": 16},
        ),
        DataSet(
            "brats", brats_data.ADAPTER.with_options({"patches_per_volume": 2, "modalities": ["flair", "t1"]}), DRAWN,
            lambda root: brats.write(root, {"seed": 1, "high_grade": 2, "low_grade": 2, "shape": [16, 14, 12]}),
            {**ANYWHERE, **of_files(nii), **of_nifti(nii, pairs=True)},
            {"shape": [8, 8, 8], "store": "uint8"},
        ),
    )  # fmt: skip
    return {data.name: data for data in found}
