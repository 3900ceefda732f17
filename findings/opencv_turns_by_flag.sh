#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: whether imread turns a picture by its EXIF orientation depends on how many channels
# are asked for.
#
# One would expect: one file, one orientation, whichever flag says how grey levels are to be read.
# What happens: IMREAD_GRAYSCALE and IMREAD_COLOR turn a picture of EXIF orientation 6, in JPEG and in PNG;
# IMREAD_UNCHANGED does not, and neither does Pillow. An image read as grey and its mask read unchanged, to keep its
# values, lie at a right angle, and for a square image no shape tells.
# Known: opencv issues 15786 and 23122; PNG since issue 16579.
# Why it matters here: masks and boxes fit the stored pixels; cameras and editors write the tag.
# Where it is handled: tasks/layouts/images.py refuses any orientation but upright; docs/datasets.md, "What an image
# file may be".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet opencv-python-headless==5.0.0.93 Pillow==13.0.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import cv2
import numpy as np
import PIL
from PIL import Image

print(f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}; a picture of 8 rows and 16 columns, orientation 6")
for kind in ("jpg", "png"):
    image = Image.fromarray(np.arange(128, dtype=np.uint8).reshape(8, 16))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(f"image.{kind}", exif=exif)
    flags = ("IMREAD_GRAYSCALE", "IMREAD_COLOR", "IMREAD_UNCHANGED")
    found = {flag: cv2.imread(f"image.{kind}", getattr(cv2, flag)).shape[:2] for flag in flags}
    found["Pillow"] = np.asarray(Image.open(f"image.{kind}")).shape
    print(kind, found)
    if list(found.values()) != [(16, 8), (16, 8), (8, 16), (8, 16)]:
        raise SystemExit("behaviour changed")
PY
