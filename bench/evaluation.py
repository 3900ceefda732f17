"""Judging a model: ten crops of an image, areas under ROC curves, and the memory of a segmentation's evaluation."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn
from torchvision.transforms import v2

from bench.measuring import finish, in_turn, one_thread, parser, ratio, words
from bench.pictures import pictures, write_cache, write_png
from harness.metrics.ranking import auc_by_class
from tasks.inputs.image_augmentation import normalise, views
from tasks.scoring.evaluation import Segmenting, count_pixels

RESIZE, CROP = 256, 224
TEST_IMAGES, CLASSES = 25_596, 14  # of ChestX-ray14


def ten_crops(images: int, repeats: int) -> dict[str, Any]:
    """Time what stands before the network under ten crops, an image at a time against a batch from the cache."""
    crops = v2.Compose([v2.Resize(RESIZE), v2.TenCrop(CROP)])
    each = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        large = pictures(images, 1024)
        paths, cache = write_png(large, Path(folder)), write_cache(large, 512, Path(folder))
        rows = np.arange(images)

        def reference() -> None:
            for path in paths:
                torch.stack([each(crop) for crop in crops(Image.open(path).convert("RGB"))])

        def ours() -> None:
            floats = torch.from_numpy(np.asarray(cache[rows])).float().div_(255.0)
            normalise(views(floats, CROP, RESIZE, True).flatten(0, 1), "imagenet", 3)

        variants = {
            "PIL, torchvision, 1024 px PNG as RGB": reference,
            "512 cache, crops made here": ours,
            "512 cache, crops made by a GPU: the host's part": lambda: torch.from_numpy(np.asarray(cache[rows])),
        }
        seconds = in_turn(variants, repeats, time.process_time)
    base = seconds["PIL, torchvision, 1024 px PNG as RGB"]
    found = {}
    for name, taken in seconds.items():
        found[name] = {"ms": 1000 * statistics.median(taken) / images, "speed_up": ratio(base, taken)}
        print(f"ten crops: {name:50} {found[name]['ms']:9.3f} ms an image, {words(found[name]['speed_up'])}")
    return found


def areas(repeats: int) -> dict[str, Any]:
    """Time the areas under the ROC curves of a test set of ChestX-ray14's size against scikit-learn's."""
    generator = np.random.Generator(np.random.PCG64(0))
    labels = (generator.random((TEST_IMAGES, CLASSES)) < generator.uniform(0.002, 0.2, CLASSES)).astype(np.float32)
    scores = (0.3 * labels + generator.random(labels.shape)).astype(np.float32)

    def theirs() -> np.ndarray:
        return np.array([roc_auc_score(labels[:, c], scores[:, c]) for c in range(CLASSES)])

    apart = float(np.abs(theirs() - auc_by_class(labels, scores)).max())
    taken = in_turn({"scikit-learn": theirs, "ours": lambda: auc_by_class(labels, scores)}, repeats, time.process_time)
    found = {"speed_up": ratio(taken["scikit-learn"], taken["ours"]), "largest_difference": apart}
    print(f"AUC of {TEST_IMAGES} × {CLASSES}: {words(found['speed_up'])} times scikit-learn's speed, {apart:.1e} apart")
    return found


class PeakMemory(threading.Thread):
    """Samples how much memory of its own this process holds, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._ended = 0, threading.Event()

    def run(self) -> None:
        """Look every two milliseconds."""
        while not self._ended.is_set():
            self.peak = max(self.peak, own_memory())
            self._ended.wait(0.002)

    def end(self) -> int:
        """Stop looking; return the most that was seen, in bytes."""
        self._ended.set()
        self.join()
        return self.peak


def own_memory() -> int:
    """Return the bytes of memory that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def segmentation_memory(sizes: tuple[int, ...] = (64, 256, 1024), px: int = 224, batch: int = 32) -> dict[str, float]:
    """Return the most memory above the start that evaluating so many images took, in MiB, by number of images."""
    model = nn.Conv2d(1, 1, 3, padding=1).eval()
    how = Segmenting(threshold=0.5, dice_smooth=1.0)
    found = {}
    for size in sizes:

        def parts(images: int = size) -> Any:
            for start in range(0, images, batch):
                count = min(batch, images - start)
                yield torch.rand(count, 1, px, px), (torch.rand(count, px, px) < 0.1).to(torch.uint8)

        count_pixels(model, parts(batch), batch, how, "cpu")
        before, watch = own_memory(), PeakMemory()
        watch.start()
        count_pixels(model, parts(), size, how, "cpu")
        found[str(size)] = (watch.end() - before) / 2**20
        print(f"segmentation, {size} images of {px} px: at most {found[str(size)]:.0f} MiB above the start")
    return found


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=5)
    options.add_argument("--images", type=int, default=24)
    asked = options.parse_args()
    one_thread()
    result = {
        "bench": "evaluation",
        "clock": "process time, 1 thread",
        "repeats": asked.repeats,
        "ten_crops": ten_crops(asked.images, asked.repeats),
        "areas": areas(asked.repeats),
        "segmentation_mib": segmentation_memory(),
    }
    finish(result, asked.out)


if __name__ == "__main__":
    main()
