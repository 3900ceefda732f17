"""Synthetic grey pictures for timing: smooth shapes under noise that a PNG compresses about as a radiograph."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image


def pictures(count: int, px: int, seed: int = 0) -> np.ndarray:
    """Return uint8 ``(count, px, px)``; a 1024 px PNG of one takes about 340 KB."""
    generator = np.random.Generator(np.random.PCG64(seed))
    made = np.empty((count, px, px), np.uint8)
    for row in range(count):
        coarse = generator.uniform(20, 235, (6, 6)).astype(np.float32)
        smooth = cv2.resize(coarse, (px, px), interpolation=cv2.INTER_CUBIC)
        made[row] = np.clip(smooth + generator.normal(0, 1.6, (px, px)), 0, 255)
    return made


def write_png(images: np.ndarray, folder: Path) -> list[Path]:
    """Write each picture as a grey PNG."""
    paths = [folder / f"{row}.png" for row in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def write_cache(images: np.ndarray, px: int, folder: Path) -> np.ndarray:
    """Write the pictures at ``px`` as the cohort's memory map and open it."""
    path = folder / f"cache{px}.npy"
    np.save(path, np.stack([cv2.resize(image, (px, px), interpolation=cv2.INTER_AREA) for image in images]))
    opened: np.ndarray = np.load(path, mmap_mode="r")
    return opened


def write_cohort(folder: Path, train: int, validation: int, px: int) -> Path:
    """Write a cohort folder as ``harness.pixels`` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    total = train + validation
    few = pictures(min(total, 64), px)
    np.save(folder / "pixels.npy", few[np.arange(total) % len(few)])
    split = ["train"] * train + ["validation"] * validation
    table = {"row": range(total), "case": [f"c{i}" for i in range(total)], "patient": range(total), "split": split}
    pd.DataFrame(table).to_csv(folder / "cases.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"recipe": "bench"}))
    return folder
