"""Orientation, patches, augmentation, scores and the transfers on volumes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness.errors import DataError, Unavailable
from harness.metrics import Segmented, metric_of
from harness.metrics.overlap import PixelCounts
from tasks.cohorts.patches import cut_patches, draw_centres
from tasks.heads.patches import take_channels
from tasks.inputs.patch_augmentation import augment
from tasks.layouts.boxes import crop_at, resize_in_plane, scale
from tasks.layouts.volumes import Volume, canonical, read_metaimage, read_nifti
from tasks.patch_options import Patches, VolumeAugmentation
from tasks.phantoms.body import make_body
from tasks.phantoms.thorax import draw_builds
from tasks.phantoms.volume_files import reoriented, write_nifti
from tests.tasks.standins import TinyVolumeBackbone

ORDERS = ("LPS", "RAS", "LAS", "LPI", "SPL", "ARS")


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(5))


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An abdomen, its liver, and the affine: uneven in every direction."""
    body = make_body(draw_builds(np.arange(1), generator()), (30, 24, 16), generator(), frame="abdomen")
    return body.finish(5.0, 0.4, generator()), body.organs["liver"], body.affine


def write_metaimage(path: Path, voxels: np.ndarray, affine: np.ndarray, order: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    stored, turned = reoriented(voxels, affine, order)
    image = itk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    spacing = np.linalg.norm(turned[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((turned[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(turned[:3, 3].tolist())
    itk.WriteImage(image, str(path))


class Scans:
    """An adapter of one scan, with points in the world."""

    name = "scans"
    labels = ()
    hounsfield = False
    channels = 1

    def open(self, root: Path, image: str) -> Volume:
        return (read_nifti if image.endswith(".nii") else read_metaimage)(root / image)


def patch_of(root: Path, image: str, point: np.ndarray) -> np.ndarray:
    cases = pd.DataFrame([[image, "case", *point]], columns=["image", "case", "x_mm", "y_mm", "z_mm"])
    options = Patches(shape=(8, 8, 8), store="uint8", window=(-1000, 1000))
    (found,) = cut_patches(Scans(), root, cases, options, masks=False)
    return found[0]


@pytest.mark.parametrize("order", ORDERS)
def test_a_phantom_written_in_any_orientation_gives_the_same_voxels_and_patches(
    order: str, phantom: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    scan, liver, affine = phantom
    centre = affine[:3, :3] @ np.argwhere(liver).mean(axis=0) + affine[:3, 3]
    expected = crop_at(scale(scan, (-1000, 1000)), np.argwhere(liver).mean(axis=0), np.array([8, 8, 8]))
    write_nifti(tmp_path / "scan.nii", scan, affine, order)
    write_metaimage(tmp_path / "scan.mhd", scan, affine, order)
    for name in ("scan.nii", "scan.mhd"):
        volume = Scans().open(tmp_path, name)
        assert np.array_equal(volume.voxels, scan)
        assert np.allclose(volume.affine, affine, atol=1e-3)
        assert np.array_equal(patch_of(tmp_path, name, centre), expected)


def test_a_reader_that_ignores_a_flipped_transform_matrix_would_be_noticed(
    phantom: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    itk = pytest.importorskip("SimpleITK")
    scan, _, affine = phantom
    write_metaimage(tmp_path / "scan.mhd", scan, affine, "RAS")
    assert "TransformMatrix = -1 0 0 0 -1 0 0 0 1" in (tmp_path / "scan.mhd").read_text()
    ignorant = itk.GetArrayFromImage(itk.ReadImage(str(tmp_path / "scan.mhd"))).transpose(2, 1, 0)
    assert (ignorant != scan).mean() > 0.3
    assert np.array_equal(ignorant[::-1, ::-1], scan)


def test_canonical_orientation_agrees_with_nibabel_on_random_axes(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = generator().integers(0, 99, (4, 5, 6)).astype(np.int16)
    for order in ORDERS:
        write_nifti(tmp_path / "v.nii", voxels, np.diag([2.0, 3.0, 4.0, 1.0]), order)
        ras = nibabel.as_closest_canonical(nibabel.load(tmp_path / "v.nii"))
        ours = read_nifti(tmp_path / "v.nii")
        assert np.array_equal(np.asarray(ras.dataobj)[::-1, ::-1], ours.voxels)


def test_world_coordinates_survive_an_oblique_scan() -> None:
    angle = np.deg2rad(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag([-0.7, 0.8, 2.5]), [10, -20, 30]
    voxels = generator().standard_normal((5, 6, 7))
    volume = canonical(voxels, affine)
    point = affine[:3, :3] @ [1, 2, 3] + affine[:3, 3]
    at = volume.to_voxel(point)
    assert np.allclose(volume.to_world(at), point)
    assert volume.voxels[tuple(np.rint(at).astype(int))] == voxels[1, 2, 3]
    assert np.allclose(volume.spacing, [0.7, 0.8, 2.5])


def test_a_truncated_file_a_flat_affine_and_a_missing_package_are_one_sentence_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii"
    write_nifti(path, np.zeros((8, 8, 8), np.int16), np.eye(4))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"scan\.nii is damaged .*fetch it again"):
        read_nifti(path)
    with pytest.raises(DataError, match="three independent directions"):
        canonical(np.zeros((2, 2, 2)), np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(DataError, match="no file"):
        read_nifti(tmp_path / "none.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(Unavailable, match=r'pip install "dira-bench\[data\]"'):
        read_nifti(path)


# cutting


def test_a_crop_beyond_the_border_is_padded_with_zeros() -> None:
    voxels = np.arange(1.0, 28.0).reshape(3, 3, 3)
    cut = crop_at(voxels, np.array([0, 1, 2]), np.array([3, 3, 3]))
    assert cut.shape == (3, 3, 3) and cut[1, 1, 1] == voxels[0, 1, 2]
    assert not cut[0].any() and not cut[:, :, 2].any()
    assert not crop_at(voxels, np.array([50, 0, 0]), np.array([3, 3, 3])).any()


def test_resizing_in_the_plane_is_the_mean_of_what_a_voxel_covers() -> None:
    voxels = generator().random((8, 8, 300)).astype(np.float32)
    expected = voxels.reshape(4, 2, 4, 2, 300).mean(axis=(1, 3))
    assert np.allclose(resize_in_plane(voxels, 4), expected, atol=1e-6)


def test_centres_keep_their_share_of_foreground_and_boxes_inside() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[9:11, 9:11, 9:11] = True
    size = np.array([8, 8, 8])
    centres = draw_centres(mask, 8, 0.5, size, generator()).astype(int)
    assert mask[tuple(centres[:4].T)].all() and not mask[tuple(centres[4:].T)].all()
    assert (centres - 4 >= 0).all() and (centres + 4 <= 20).all()


def test_a_point_outside_its_scan_is_one_sentence(
    phantom: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    write_nifti(tmp_path / "scan.nii", phantom[0], phantom[2])
    with pytest.raises(DataError, match=r"case lies outside its scan .*scan\.nii"):
        patch_of(tmp_path, "scan.nii", np.array([9999.0, 0, 0]))


# augmentation


def options(**changes: float) -> VolumeAugmentation:
    return VolumeAugmentation(
        **({"flip": 0.0, "transpose": 0.0, "rotate": 0.0, "noise": 0.0, "noise_std": 0.1} | changes)
    )


def moved(**changes: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = torch.from_numpy(generator().random((16, 1, 6, 6, 4), dtype=np.float32))
    masks = (images[:, 0] > 0.5).float()
    found, followed = augment(images, masks, 7, np.zeros(16, int), np.arange(16), options(**changes))
    return images.numpy(), found.numpy(), followed.numpy()


def test_without_any_probability_nothing_moves() -> None:
    before, after, _ = moved()
    assert np.array_equal(before, after)


def test_flips_and_turns_are_symmetries_of_the_patch_and_move_the_mask_along() -> None:
    before, after, masks = moved(flip=0.5, transpose=0.5, rotate=0.5)
    group = {}
    for turns in range(4):
        for transpose in (False, True):
            for deep in (False, True):
                group[turns, transpose, deep] = lambda v, t=turns, p=transpose, d=deep: np.flip(
                    np.rot90(v.transpose(1, 0, 2) if p else v, t), 2 if d else ()
                )
    used = set()
    for image, result, mask in zip(before[:, 0], after[:, 0], masks, strict=True):
        matches = [name for name, act in group.items() if np.array_equal(act(image), result)]
        assert len(matches) == 1
        assert np.array_equal(group[matches[0]](image) > 0.5, mask > 0)
        used.add(matches[0])
    assert len(used) > 8


def test_noise_has_the_stated_strength_and_leaves_masks_alone() -> None:
    images = torch.full((64, 1, 16, 16, 16), 0.5)
    masks = torch.ones(64, 16, 16, 16)
    found, followed = augment(images, masks, 3, np.zeros(64, int), np.arange(64), options(noise=1.0))
    strengths = (found - images).flatten(1).std(dim=1)
    assert torch.equal(masks, followed)
    assert strengths.min() > 0.0 and strengths.max() < 0.105  # U(0, 0.1), measured on 4,096 voxels
    assert abs(float(strengths.mean()) - 0.05) < 0.012


def test_augmentation_depends_on_seed_epoch_and_sample_not_on_the_batch() -> None:
    images = torch.from_numpy(generator().random((4, 1, 6, 6, 4), dtype=np.float32))
    all_on = options(flip=0.5, transpose=0.5, rotate=0.5, noise=1.0)
    whole, _ = augment(images, None, 1, np.zeros(4, int), np.arange(4), all_on)
    alone, _ = augment(images[2:3], None, 1, np.zeros(1, int), np.array([2]), all_on)
    other, _ = augment(images[2:3], None, 1, np.ones(1, int), np.array([2]), all_on)
    assert torch.equal(whole[2:3], alone) and not torch.equal(alone, other)


# scores


def test_both_definitions_of_iou_equal_counting_voxel_by_voxel() -> None:
    draws = generator()
    truth = draws.random((5, 4, 4, 4)) < 0.3
    probability = np.clip(0.35 * truth + draws.random(truth.shape) * 0.65, 0, 1)
    thresholds = np.round(np.arange(0.05, 0.951, 0.05), 2)

    def count(values: np.ndarray) -> np.ndarray:
        return np.stack([values >= t for t in thresholds], axis=-1).reshape(5, -1, len(thresholds))

    hit = count(probability)
    counts = PixelCounts(
        (hit & truth.reshape(5, -1, 1)).sum(1), hit.sum(1), truth.reshape(5, -1).sum(1), thresholds,
        np.bincount((probability[truth] * 65535).round().astype(int), minlength=65536),
        np.bincount((probability[~truth] * 65535).round().astype(int), minlength=65536),
    )  # fmt: skip
    cases = Segmented.of(counts, 0.5, 1.0, pixels=64)
    names = ("iou", "iou_case_mean", "iou_two_class", "dice", "dice_pooled", "pixel_average_precision")
    scores = {name: metric_of(name).value(cases) for name in names}

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return (a & b).sum() / (a | b).sum()

    half = probability >= 0.5
    assert scores["iou"] == pytest.approx(iou(half, truth))
    assert scores["iou_case_mean"] == pytest.approx(np.mean([iou(h, t) for h, t in zip(half, truth, strict=True)]))
    both = [
        (iou(probability >= t, truth) + iou(~(probability >= t), ~truth)) / 2 for t in thresholds if t > 0.49
    ]  # .50, .55 … .95
    assert len(both) == 10 and scores["iou_two_class"] == pytest.approx(np.mean(both))


def test_several_equal_channels_give_what_the_one_channel_gave() -> None:
    one, four = TinyVolumeBackbone(0), take_channels(TinyVolumeBackbone(0), 4)
    volume = torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert four.in_channels == 4
    for a, b in zip(one.eval().encode(volume), four.eval().encode(volume.expand(-1, 4, -1, -1, -1)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


# the body


def test_the_trunk_has_its_organs_where_they_belong() -> None:
    build = draw_builds(np.arange(1), generator())
    chest = make_body(build, (48, 40, 40), generator(), frame="chest")
    abdomen = make_body(build, (48, 40, 30), generator(), frame="abdomen")

    def middle(body: object, organ: str) -> np.ndarray:
        return body.affine[:3, :3] @ np.argwhere(body.organs[organ]).mean(axis=0) + body.affine[:3, 3]

    assert middle(abdomen, "liver")[0] < -20 and middle(abdomen, "spleen")[0] > 50  # right; left
    assert middle(abdomen, "spleen")[1] > 0 and middle(chest, "heart")[1] < 0  # behind; in front
    assert middle(chest, "heart")[0] > 0 and middle(chest, "lungs")[2] > middle(chest, "liver")[2]
    litres = abdomen.organs["liver"].sum() * abdomen.spacing.prod() / 1e6
    assert 0.8 < litres < 2.2
    assert chest.hu[chest.organs["lungs"] & ~chest.organs["vessels"]].mean() < -700
    assert (chest.hu[~chest.organs["body"] & ~chest.organs["ribs"]] == -1000).mean() > 0.95


def test_painting_shares_border_voxels_in_proportion() -> None:
    body = make_body(draw_builds(np.arange(1), generator()), (40, 40, 40), generator())
    body.hu[:] = 0.0
    body.paint_ellipsoid(np.zeros(3), 60.0, 1000.0)
    volume = body.hu.sum() / 1000.0 * body.spacing.prod()
    assert volume == pytest.approx(4 / 3 * np.pi * 60.0**3, rel=0.03)
