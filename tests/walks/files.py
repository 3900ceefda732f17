"""What a new user brings along: a checkpoint of another project, a CSV with images, a folder of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(root: Path, header: str) -> None:
    """Write a table under the page's names, with two patterns for two labels, and images with masks.

    Args:
        root: A folder that does not exist yet.
        header: The first line of the page's CSV.
    """
    generator = np.random.default_rng(1)
    rows = [header]
    for folder in ("findings/images", "organ/images", "organ/masks"):
        (root / folder).mkdir(parents=True)
    for i in range(40):
        image = generator.normal(90, 20, (50, 60))
        image[35:] += 80 * (i % 2)
        image[5:15, 5:15] += 100 * (i // 2 % 2)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"findings/images/{i:03d}.png")
        rows.append(f"images/{i:03d}.png,p{i // 4},{i % 2},{i // 2 % 2}")
        mask = np.zeros((50, 60), np.uint8)
        mask[i % 20 : i % 20 + 20, 20:45] = 255
        Image.fromarray((image / 2 + mask / 3).clip(0, 255).astype(np.uint8)).save(root / f"organ/images/{i:03d}.png")
        Image.fromarray(mask).save(root / f"organ/masks/{i:03d}_mask.png")
    (root / "findings/findings.csv").write_text("\n".join(rows) + "\n")


def write_checkpoint(path: Path) -> None:
    """Write a ResNet-50 as a training script of SimSiam saves it: names behind ``module.encoder.``, the epoch beside."""
    import torch
    import torchvision

    torch.manual_seed(0)
    state = torchvision.models.resnet50(weights=None).state_dict()
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {f"module.encoder.{key}": value for key, value in state.items()}, "epoch": 100}, path)
