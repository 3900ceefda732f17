"""A small cohort folder for tests: smooth blobs and noise, the layout of ``harness.pixels``."""

import json
from pathlib import Path

import numpy as np
import pandas as pd


def write_pixels(folder: Path, *, train: int = 96, validation: int = 32, px: int = 64, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    total = train + validation
    y, x = np.mgrid[0:px, 0:px] / px
    images = np.zeros((total, px, px))
    for _ in range(4):
        cy, cx = generator.uniform(0.1, 0.9, (2, total, 1, 1))
        width, height = generator.uniform(0.05, 0.3, (2, total, 1, 1))
        images += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
    images = images / images.max(axis=(1, 2), keepdims=True) * 220 + generator.normal(0, 5, images.shape)
    np.save(folder / "pixels.npy", np.clip(images, 0, 255).astype(np.uint8))
    split = ["train"] * train + ["validation"] * validation
    pd.DataFrame(
        {"row": range(total), "case": [f"c{i}" for i in range(total)], "patient": range(total), "split": split}
    ).to_csv(folder / "cases.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"recipe": "test"}))
    return folder
