import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import RandomResizedCrop

from methods import views as opencv
from methods import views_on_device as device
from methods import views_pil as pil
from methods.phases import ImageViews
from methods.view_parameters import INNER, NONE, OUTER, SHUFFLE, UNIFORMS, parameters, uniforms
from tests.methods.phantom_pixels import write_pixels

FULL = ImageViews(image_px=224, distortion=True)
SMALL = FULL.model_copy(update={"image_px": 32})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = write_pixels(tmp_path_factory.mktemp("pixels"), train=60, validation=4, px=128)
    return np.load(folder / "pixels.npy")


def many(views, source_px=512, size=4000):
    drawn = np.random.Generator(np.random.PCG64(5)).random((size, UNIFORMS))
    return parameters(drawn, source_px, views)


def test_one_grey_channel_is_bit_equal_to_rgb_for_every_draw(images):
    of = parameters(uniforms(3, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 64}))
    assert len(set(of.kind)) == 4 and of.jittered.any() and (of.sigma > 0).any() and of.flipped.any()
    for row in range(60):
        grey, rgb = Image.fromarray(images[row]), Image.fromarray(images[row]).convert("RGB")
        one = np.asarray(pil.transform(pil.crop(grey, of.crop[row], 64), of, row))
        three = np.asarray(pil.transform(pil.crop(rgb, of.crop[row], 64), of, row))
        for channel in range(3):
            assert np.array_equal(one, three[..., channel])


def test_opencv_equals_pil_to_the_bit_but_for_crop_and_blur(images):
    of = parameters(uniforms(3, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 64}))
    of.sigma[:] = 0
    for row in range(60):
        clean = opencv.crop(images[row], of.crop[row], 64)
        reference = pil.transform(Image.fromarray(clean), of, row)
        assert np.array_equal(opencv.transform(clean, of, row), np.asarray(reference))


def test_the_crop_by_opencv_stays_near_pils(images):
    """Another filter (area for triangle): measured 6 grey levels at most on these noisy images, 0.74 in the mean square."""
    of = parameters(uniforms(3, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 64}))
    differences = [
        opencv.crop(images[row], of.crop[row], 64).astype(float)
        - np.asarray(pil.crop(Image.fromarray(images[row]), of.crop[row], 64))
        for row in range(60)
    ]
    assert np.abs(differences).max() <= 8
    assert np.sqrt(np.mean(np.square(differences))) < 1


def test_the_blur_by_opencv_stays_near_pils(images):
    for row, sigma in enumerate(np.linspace(0.2, 2.0, 12)):
        of = parameters(uniforms(3, 0, np.array([row]))[:, 0], 128, FULL.model_copy(update={"distortion": False}))
        of.sigma[:], of.jittered[:], of.flipped[:] = sigma, False, False
        ours = opencv.transform(images[row], of, 0).astype(float)
        theirs = np.asarray(pil.transform(Image.fromarray(images[row]), of, 0)).astype(float)
        assert np.abs(ours - theirs).max() <= 8
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 1.2


@pytest.mark.parametrize("px", [32, 64, 128])
def test_the_batched_crop_is_within_one_grey_level_of_pil(images, px):
    boxes = parameters(uniforms(7, 1, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": px})).crop
    ours = device.crop(torch.from_numpy(images[:60]).float(), boxes, px).numpy()
    for row in range(60):
        reference = np.asarray(pil.crop(Image.fromarray(images[row]), boxes[row], px)).astype(float)
        assert np.abs(ours[row] - reference).max() <= 1


@pytest.mark.parametrize("target", ["unflip", "aligned"])
def test_the_batched_views_are_the_same_views(images, target):
    """OpenCV's filters differ from PIL's, which the device has: jitter, flip and distortion agree, the rest stays small."""
    views = FULL.model_copy(update={"image_px": 64, "target": target})
    rows = np.arange(60)
    ours = device.make_views_on_device(torch.from_numpy(images[rows]), rows, 11, 2, views)
    theirs = opencv.make_views(images, rows, 11, 2, views)
    for a, b in zip(ours, theirs, strict=True):
        difference = a[:, 0].numpy() * 255 - b
        assert np.sqrt(np.mean(difference**2)) < 2
        assert np.quantile(np.abs(difference), 0.999) < 12


def pil_crops(images, of, px):
    crops = [pil.crop(Image.fromarray(image), box, px) for image, box in zip(images, of.crop, strict=True)]
    return torch.stack([torch.from_numpy(np.array(made)) for made in crops])


@pytest.mark.parametrize("px", [64, 128])
def test_every_batched_step_after_the_crop_equals_pil_to_the_bit(images, px):
    of = parameters(uniforms(13, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": px}))
    assert len(set(of.kind)) == 4 and of.jittered.any() and of.flipped.any() and (of.sigma > 0).any()
    clean = pil_crops(images[:60], of, px)
    made = device.transform(clean.float(), of).numpy()
    for row in range(60):
        assert np.array_equal(made[row], pil.transform(Image.fromarray(clean[row].numpy()), of, row))


def test_the_batched_crop_differs_from_pil_in_the_order_of_passes_only(images):
    """Measured with Pillow 13: nine crops of ten equal to the bit; the rest were resized down first, 1 level apart."""
    of = parameters(uniforms(13, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 64}))
    ours, theirs = device.crop(torch.from_numpy(images[:60]).float(), of.crop, 64), pil_crops(images[:60], of, 64)
    assert (ours - theirs).abs().max() <= 1
    assert (ours == theirs).flatten(1).all(dim=1).float().mean() > 0.7


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 2.0])
def test_the_batched_blur_equals_pil_to_the_bit(images, sigma):
    ours = device.blur(torch.from_numpy(images[:8]).float(), np.full(8, sigma)).numpy()
    for row in range(8):
        assert np.array_equal(ours[row], Image.fromarray(images[row]).filter(ImageFilter.GaussianBlur(sigma)))
    untouched = torch.from_numpy(images[:8]).float()
    assert torch.equal(device.blur(untouched, np.zeros(8)), untouched)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_batched_views_on_a_gpu_are_within_one_grey_level_of_pil(images):
    of = parameters(uniforms(13, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 64}))
    theirs = pil_crops(images[:60], of, 64)
    clean = device.crop(torch.from_numpy(images[:60]).cuda().float(), of.crop, 64).cpu()
    assert (clean - theirs).abs().max() <= 1
    made = device.transform(theirs.cuda().float(), of).cpu().numpy()
    references = [np.asarray(pil.transform(Image.fromarray(theirs[row].numpy()), of, row)) for row in range(60)]
    assert np.abs(made - references).max() <= 1


def test_the_batched_distortion_equals_the_plain_one_to_the_bit(images):
    of = parameters(uniforms(3, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 128}))
    assert {INNER, OUTER, SHUFFLE, NONE} == set(of.kind)
    batched = device.distort(torch.from_numpy(images[:60]).float(), of).numpy()
    for row in range(60):
        assert np.array_equal(batched[row], opencv.distort(images[row], of, row))


def test_views_depend_on_seed_epoch_and_index_alone(images):
    whole = opencv.make_views(images, np.arange(8), 1, 0, SMALL)
    part = opencv.make_views(images, np.array([5, 2]), 1, 0, SMALL)
    for a, b in zip(whole, part, strict=True):
        assert np.array_equal(a[[5, 2]], b)
    other_epoch = opencv.make_views(images, np.arange(8), 1, 1, SMALL)
    other_seed = opencv.make_views(images, np.arange(8), 2, 0, SMALL)
    assert not np.array_equal(whole[0], other_epoch[0]) and not np.array_equal(whole[0], other_seed[0])
    assert not np.array_equal(whole[0], whole[1])


def test_the_target_is_the_clean_crop_and_aligned_flips_it_with_the_query(images):
    plain = SMALL.model_copy(update={"distortion": False})
    rows = np.arange(40)
    of = parameters(uniforms(1, 0, rows)[:, 0], 128, plain)
    unflipped = opencv.make_views(images, rows, 1, 0, plain)[2]
    aligned = opencv.make_views(images, rows, 1, 0, plain.model_copy(update={"target": "aligned"}))[2]
    for row in rows:
        clean = opencv.crop(images[row], of.crop[row], 32)
        assert np.array_equal(unflipped[row], clean)
        assert np.array_equal(aligned[row], clean[:, ::-1] if of.flipped[row] else clean)


def test_crops_have_the_law_of_torchvisions():
    of = many(FULL)
    assert (of.crop[:, :2] >= 0).all() and (of.crop[:, :2] + of.crop[:, 2:] <= 512).all()
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    blank = torch.zeros(1, 512, 512)
    theirs = np.array([RandomResizedCrop.get_params(blank, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    torch.random.set_rng_state(generator_state)
    for column in range(4):  # top, left, height, width
        for q in (0.1, 0.5, 0.9):
            assert abs(np.quantile(of.crop[:, column], q) - np.quantile(theirs[:, column], q)) < 14
    area = of.crop[:, 2] * of.crop[:, 3] / 512**2
    assert area.min() > 0.195 and area.max() <= 1


def test_probabilities_and_ranges_are_the_protocols():
    of = many(FULL, size=20000)
    near = pytest.approx
    assert of.jittered.mean() == near(0.8, abs=0.01)
    assert (of.sigma > 0).mean() == near(0.5, abs=0.012)
    assert of.flipped.mean() == near(0.5, abs=0.012)
    blurred = of.sigma[of.sigma > 0]
    assert blurred.min() >= 0.1 and blurred.max() <= 2.0 and blurred.mean() == near(1.05, abs=0.02)
    for kind, share in ((INNER, 0.30), (OUTER, 0.05), (SHUFFLE, 0.30), (NONE, 0.35)):
        assert (of.kind == kind).mean() == near(share, abs=0.012)
    factors = of.jitter_factors[:, :2]
    assert factors.min() >= 0.6 and factors.max() <= 1.4 and factors.mean() == near(1.0, abs=0.005)
    assert of.count[of.kind == INNER].mean() == near((1 - 0.9**10) / 0.1, abs=0.15)  # 6.5 rectangles
    for kind, low, high in ((INNER, 10, 70), (OUTER, 154, 174), (SHUFFLE, 10, 15)):
        sides = of.shapes[of.kind == kind][..., 2:]
        assert (sides.min(), sides.max()) == (low, high)


@pytest.mark.parametrize("kind", [INNER, OUTER, SHUFFLE])
@pytest.mark.parametrize("px", [224, 96])
def test_whatever_is_cut_or_swapped_keeps_three_pixels_of_224_from_the_border(kind, px):
    """The authors draw both corners of everything from [3, side − length − 3], ends included."""
    of = many(FULL.model_copy(update={"image_px": px}), size=20000)
    border, mine = round(3 * px / 224), of.kind == kind
    sides = of.shapes[mine][..., 2:]
    for corners in (of.shapes[mine][..., :2], *([of.partners[mine]] if kind == SHUFFLE else [])):
        assert (corners.min(), (corners + sides).max()) == (border, px - border)


def test_the_outer_cutout_can_be_left_out_and_distortion_switched_off():
    with_it, without = many(FULL), many(FULL.model_copy(update={"outer_cutout": False}))
    assert not (without.kind == OUTER).any()
    assert np.array_equal(without.kind == NONE, (with_it.kind == NONE) | (with_it.kind == OUTER))
    assert not many(FULL.model_copy(update={"distortion": False})).kind.any()


def test_a_distorted_view_shows_what_its_name_says(images):
    of = parameters(uniforms(3, 0, np.arange(60))[:, 0], 128, FULL.model_copy(update={"image_px": 128}))
    for row in range(60):
        bright = np.maximum(images[row], 1)
        result = opencv.distort(bright, of, row)
        blank = np.zeros((128, 128), bool)
        for top, left, height, width in of.shapes[row, : of.count[row]]:
            blank[top : top + height, left : left + width] = True
        if of.kind[row] == INNER:
            assert np.array_equal(result == 0, blank)
        elif of.kind[row] == OUTER:
            assert np.array_equal(result != 0, blank)
        elif of.kind[row] == SHUFFLE:
            assert (result != 0).all() and set(np.unique(result)) <= set(np.unique(bright))
        else:
            assert np.array_equal(result, bright)
