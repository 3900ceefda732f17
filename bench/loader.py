"""Samples per core: two views and a target, ours from the uint8 cache beside PIL and torchvision on 1024 px PNG."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from bench.measuring import finish, in_turn, one_thread, parser, ratio, synchronised_clock, words
from bench.pictures import pictures, write_cache, write_png
from methods import views_pil
from methods.phases import ImageViews
from methods.view_parameters import INNER, OUTER, SHUFFLE, ViewParameters, parameters, uniforms
from methods.views import make_views
from methods.views_on_device import crop, make_views_on_device, transform

VIEWS = ImageViews(image_px=224, distortion=True)
SEED = 7


def reference_sample(path: Path, of: tuple[ViewParameters, ViewParameters], row: int) -> tuple[torch.Tensor, ...]:
    """Load a sample the plain way: decode the PNG, make it RGB, and let PIL do both views at three channels."""
    image = Image.open(path).convert("RGB")
    clean = [views_pil.crop(image, view.crop[row], VIEWS.image_px) for view in of]
    tensors = [
        reference_distort(transforms.to_tensor(reference_colour(c, v, row)), v, row)
        for c, v in zip(clean, of, strict=True)
    ]
    return (*tensors, transforms.to_tensor(clean[0].convert("L")))


def reference_colour(view: Image.Image, of: ViewParameters, row: int) -> Image.Image:
    """Jitter, blur and flip an RGB view."""
    if of.jittered[row]:
        adjust = (
            transforms.adjust_brightness,
            transforms.adjust_contrast,
            transforms.adjust_saturation,
            transforms.adjust_hue,
        )
        for step in of.jitter_order[row]:
            view = adjust[step](view, float(of.jitter_factors[row, step]))
    if of.sigma[row] > 0:
        view = view.filter(views_pil.ImageFilter.GaussianBlur(radius=float(of.sigma[row])))
    return transforms.hflip(view) if of.flipped[row] else view


def reference_distort(view: torch.Tensor, of: ViewParameters, row: int) -> torch.Tensor:
    """Cut out or shuffle a tensor ``(3, P, P)``."""
    kind, shapes = of.kind[row], of.shapes[row, : of.count[row]].tolist()
    before = view.clone()
    if kind == OUTER:
        view = torch.zeros_like(view)
    for position, (top, left, height, width) in enumerate(shapes):
        here = (slice(None), slice(top, top + height), slice(left, left + width))
        if kind == INNER:
            view[here] = 0
        elif kind == OUTER:
            view[here] = before[here]
        elif kind == SHUFFLE:
            down, across = of.partners[row, position].tolist()
            there = (slice(None), slice(down, down + height), slice(across, across + width))
            view[here], view[there] = before[there], before[here]
    return view


def pil_grey(images: np.ndarray, epoch: int) -> None:
    """Make the samples by PIL on one grey channel of the cache."""
    rows = np.arange(len(images))
    drawn = uniforms(SEED, epoch, rows)
    for view in (0, 1):
        of = parameters(drawn[:, view], images.shape[-1], VIEWS)
        for row in rows:
            image = Image.fromarray(np.asarray(images[row]))
            views_pil.transform(views_pil.crop(image, of.crop[row], VIEWS.image_px), of, row)


def host_part(images: np.ndarray, epoch: int) -> torch.Tensor:
    """Do what the CPU does where a GPU makes the views: gather rows and draw parameters."""
    rows = np.arange(len(images))
    drawn = uniforms(SEED, epoch, rows)
    for view in (0, 1):
        parameters(drawn[:, view], images.shape[-1], VIEWS)
    return torch.from_numpy(images[rows])


def equality(images: np.ndarray) -> dict[str, Any]:
    """Hold grey against RGB and the device's views against PIL's, on the same draws."""
    rows = np.arange(len(images))
    drawn = uniforms(SEED, 0, rows)
    apart = {"grey_and_rgb_levels": 0, "device_crop_levels": 0, "device_rest_levels": 0, "draws": 2 * len(rows)}
    for view in (0, 1):
        of = parameters(drawn[:, view], images.shape[-1], VIEWS)
        ours = crop(torch.from_numpy(images[rows]).float(), of.crop, VIEWS.image_px).numpy()
        clean = [views_pil.crop(Image.fromarray(images[row]), of.crop[row], VIEWS.image_px) for row in rows]
        rest = transform(torch.from_numpy(np.stack(clean)).float(), of).numpy()
        for row in rows:
            grey = np.asarray(views_pil.transform(clean[row], of, row)).astype(int)
            rgb = np.asarray(views_pil.transform(clean[row].convert("RGB"), of, row)).astype(int)
            apart["grey_and_rgb_levels"] = max(apart["grey_and_rgb_levels"], int(np.abs(rgb - grey[..., None]).max()))
            apart["device_crop_levels"] = max(
                apart["device_crop_levels"], int(np.abs(ours[row] - np.asarray(clean[row])).max())
            )
            apart["device_rest_levels"] = max(apart["device_rest_levels"], int(np.abs(rest[row] - grey).max()))
    return apart


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=5)
    options.add_argument("--images", type=int, default=24)
    asked = options.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        large = pictures(asked.images, 1024)
        paths = write_png(large, Path(folder))
        caches = {px: write_cache(large, px, Path(folder)) for px in (512, 256)}
        epochs = iter(range(1_000_000))

        def reference() -> None:
            drawn = uniforms(SEED, next(epochs), np.arange(len(paths)))
            of = tuple(parameters(drawn[:, view], 1024, VIEWS) for view in (0, 1))
            for row, path in enumerate(paths):
                reference_sample(path, (of[0], of[1]), row)

        def ours(px: int) -> Any:
            rows = np.arange(asked.images)
            return lambda: make_views(caches[px], rows, SEED, next(epochs), VIEWS)

        variants = {
            "PIL, torchvision, 1024 px PNG as RGB": reference,
            "PIL grey, 512 cache": lambda: pil_grey(caches[512], next(epochs)),
            "OpenCV grey, 512 cache": ours(512),
            "OpenCV grey, 256 cache": ours(256),
            "host part of device views, 512 cache": lambda: host_part(caches[512], next(epochs)),
        }
        seconds = in_turn(variants, asked.repeats, time.process_time)
        base = seconds["PIL, torchvision, 1024 px PNG as RGB"]
        rows = {}
        print(f"{'one core, two views and a target':44} ms/sample  times as fast")
        for name, taken in seconds.items():
            rows[name] = {"ms": 1000 * statistics.median(taken) / asked.images, "speed_up": ratio(base, taken)}
            print(f"{name:44} {rows[name]['ms']:9.3f}  {words(rows[name]['speed_up'])}")
        same = equality(np.asarray(caches[512]))
        print(f"grey levels apart over {same['draws']} draws: {same}")
        result = {
            "bench": "loader",
            "clock": "process time, 1 thread",
            "repeats": asked.repeats,
            "png_bytes": int(np.mean([p.stat().st_size for p in paths])),
            "rows": rows,
            "equality": same,
        }
        if torch.cuda.is_available():
            result["device_views"] = device_views(caches[512])
        finish(result, asked.out)


def device_views(images: np.ndarray) -> dict[str, float]:
    """Time the batched views on a GPU at batch 256."""
    rows = np.arange(256) % len(images)
    source = torch.from_numpy(images[rows]).cuda()
    epochs = iter(range(1_000_000))
    taken = in_turn(
        {"views": lambda: make_views_on_device(source, rows, SEED, next(epochs), VIEWS)}, 10, synchronised_clock
    )
    median = statistics.median(taken["views"])
    print(f"views on the device, batch 256 from 512 px: {1000 * median:.1f} ms, {256 / median:.0f} images/s")
    return {"batch": 256, "ms": 1000 * median, "images_per_second": 256 / median}


if __name__ == "__main__":
    main()
