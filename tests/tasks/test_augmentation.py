from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest
from torchvision.transforms import v2

from tasks.inputs.deformation import Deformation
from tasks.inputs.draws import uniforms
from tasks.inputs.image_augmentation import DRAWS, augment, crop, normalise, random_boxes, views
from tasks.options import CropAugmentation, DeformationAugmentation
from tests.tasks.conftest import plan_of

OPTIONS = CropAugmentation(crop_scale=(0.08, 1.0), crop_ratio=(0.75, 4 / 3), flip=0.5, rotation_degrees=7.0)


def _image(seed: int, side: int) -> np.ndarray:
    small = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 12)).astype(np.uint8)
    return np.array(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("box", [(0, 0, 96, 96), (10, 4, 60, 80), (3, 40, 20, 22)])
def test_a_crop_is_within_one_grey_level_of_pils_antialiased_bilinear_resize(box: tuple[int, int, int, int]) -> None:
    image = _image(0, 96)
    left, top, width, height = box
    oracle = np.asarray(
        Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    )
    at = [torch.tensor([float(v)]) for v in box]
    found = crop(torch.from_numpy(image)[None].float(), *at, 32)[0]
    # PIL cuts its filter off at the crop's edge and ours reads the pixels beyond: the outermost ring may differ more
    inner = np.abs(found.numpy() - oracle)[2:-2, 2:-2]
    assert inner.max() <= 1.01


def test_a_flip_mirrors_the_crop() -> None:
    image = torch.from_numpy(_image(1, 64))[None].float()
    at = [torch.tensor([v]) for v in (5.0, 7.0, 40.0, 50.0)]
    assert torch.allclose(crop(image, *at, 32, torch.tensor([True])), crop(image, *at, 32).flip(-1), atol=1e-3)


def test_crops_lie_in_the_image_and_have_the_area_and_aspect_that_were_asked_for() -> None:
    draws = uniforms(3, np.zeros(2000, int), np.arange(2000), DRAWS)
    left, top, width, height = random_boxes(draws, 100, OPTIONS).T
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= 100 + 1e-9).all() and (top + height <= 100 + 1e-9).all()
    area, ratio = width * height / 1e4, width / height
    assert area.min() >= 0.0799 and area.max() <= 1.0 and ratio.min() >= 0.749 and ratio.max() <= 1.334


def test_numbers_are_uniform_and_belong_to_seed_epoch_and_sample_alone() -> None:
    epochs, samples = np.repeat(np.arange(20), 50), np.tile(np.arange(50), 20)
    drawn = uniforms(11, epochs, samples, 8)
    assert kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.1
    order = np.random.Generator(np.random.PCG64(0)).permutation(1000)
    assert np.array_equal(uniforms(11, epochs[order], samples[order], 8), drawn[order])
    assert not np.array_equal(uniforms(12, epochs, samples, 8), drawn)
    assert len(np.unique(drawn[:, 0])) == 1000


def test_augmentation_without_any_strength_returns_the_image() -> None:
    image = torch.from_numpy(_image(2, 32))[None].float() / 255
    still = CropAugmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0, rotation_degrees=0.0)
    draws = uniforms(0, np.zeros(1, int), np.zeros(1, int), DRAWS)
    assert torch.allclose(augment(image, draws, 32, still), image, atol=1e-5)


def test_ten_views_are_five_crops_and_their_mirror_images() -> None:
    image = torch.from_numpy(_image(4, 40))[None].float()
    ten = views(image, 32, 40, ten_crop=True)[:, 0]
    assert ten.shape == (10, 32, 32)
    assert torch.allclose(ten[1], image[0, :32, :32], atol=1e-3)
    assert torch.allclose(ten[0], image[0, 4:36, 4:36], atol=1e-3)
    assert torch.allclose(ten[5:], ten[:5].flip(-1), atol=1e-3)


def test_ten_views_of_a_larger_image_are_torchvisions() -> None:
    image = _image(5, 96)
    crops = v2.TenCrop(32)(v2.Resize(40, antialias=True)(torch.from_numpy(image)[None].float()))
    ours = views(torch.from_numpy(image)[None].float(), 32, 40, ten_crop=True)[:, 0]
    # torchvision mirrors the image first, so that its upper left is the mirror image of our upper right
    same = ours[[1, 2, 3, 4, 0, 7, 6, 9, 8, 5]]
    assert torch.allclose(same, torch.stack([crop[0] for crop in crops]), atol=1e-3)


def test_normalisation_standardises_each_channel_with_the_published_constants() -> None:
    image = torch.full((1, 2, 2), 0.485)
    assert torch.allclose(normalise(image, "imagenet", 3)[0, 0], torch.zeros(2, 2), atol=1e-6)
    assert normalise(image, "chestxray", 1)[0, 0, 0, 0] == pytest.approx((0.485 - 0.5056) / 0.252, abs=1e-5)
    assert torch.equal(normalise(image, "none", 3)[0, 2], image[0])


def _disc(side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side]
    mask = ((x - 0.4 * side) ** 2 + (y - 0.6 * side) ** 2 < (0.2 * side) ** 2).astype(np.uint8)
    return (40 + 160 * mask).astype(np.uint8), mask


def augmentation(**changes: float) -> DeformationAugmentation:
    return DeformationAugmentation.model_validate(plan_of("montgomery", "paper").transfer["augmentation"] | changes)


def test_the_deformation_library_accepts_every_argument_and_moves_image_and_mask_together() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = augmentation(intensity=0.0, deformation=1.0)
        deform = Deformation(options, 96 if options.crop_px[1] <= 96 else 224)
        image, mask = _disc(224)
        moved = 0
        for seed in range(12):
            new_image, new_mask = deform(image, mask, seed)
            assert new_image.shape == image.shape and set(np.unique(new_mask)) <= {0, 1}
            agreement = ((new_image > 120) == (new_mask > 0)).mean()
            assert agreement > 0.97
            moved += not np.array_equal(new_mask, mask)
    assert moved >= 10


def test_a_deformation_is_a_function_of_its_seed() -> None:
    options = augmentation()
    image, mask = _disc(224)
    first, second = Deformation(options, 224), Deformation(options, 224)
    for seed in range(8):
        first(image, mask, 1000 + seed)  # what was drawn before must not matter
        a, b = first(image, mask, seed), second(image, mask, seed)
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    made = {first(image, mask, seed)[0].tobytes() for seed in range(20)}
    assert len(made) > 8


def test_a_gamma_of_the_old_library_raises_grey_levels_to_its_reciprocal() -> None:
    """Albumentations 0.4.3 raised uint8 levels to 1/γ with γ in 0.8 … 1.2, its successor to γ: 1/1.2 … 1/0.8 is meant."""
    deformation = Deformation(
        augmentation(intensity=1.0, brightness=0.0, contrast=0.0, deformation=0.0, sized_crop=0.0), 32
    )
    grey, mask = np.full((32, 32), 128, np.uint8), np.zeros((32, 32), np.uint8)
    levels = np.array([deformation(grey, mask, seed)[0][0, 0] for seed in range(400)])
    least, most = (255 * (128 / 255) ** exponent for exponent in (1 / 0.8, 1 / 1.2))
    assert least - 1 <= levels.min() < least + 2 and most - 2 < levels.max() <= most
