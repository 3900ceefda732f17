#!/usr/bin/env bash
# Pillow 13.0.0: grey levels of 16 bits become 8 in two ways, by whether the PNG holds them as grey or as colour.
#
# One would expect: the same levels in a grey PNG and three times in a colour PNG give the same picture in mode L.
# What happens: a grey one (mode I;16) is cut off at 255, so a radiograph turns white; a colour one is opened in mode RGB
# with the upper byte alone, so it looks right and its mode does not tell that it had 16 bits. OpenCV's IMREAD_GRAYSCALE
# takes the upper byte of the grey one, so the libraries disagree on it. No warning.
# Known for grey: Pillow issues 3011 and 2574.
# Why it matters here: Montgomery's originals have more than 8 bits, and mirrors of 2D sets differ in depth.
# Where it is handled: tasks/layouts/images.py reads the depth out of the PNG's header and refuses 16 bits unless
# cohort.adapter.white says what is white.
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

levels = np.array([[0, 100, 255, 256, 1000, 4095, 30000, 65535]], np.uint16)
cv2.imwrite("grey.png", levels)
cv2.imwrite("colour.png", np.repeat(levels[..., None], 3, axis=2))
modes = [Image.open(name).mode for name in ("grey.png", "colour.png")]
grey, colour = (np.asarray(Image.open(name).convert("L")) for name in ("grey.png", "colour.png"))
other = cv2.imread("grey.png", cv2.IMREAD_GRAYSCALE)
print(f"levels                       {levels[0]}")
print(f"Pillow {PIL.__version__}, grey ({modes[0]})    {grey[0]}")
print(f"Pillow {PIL.__version__}, colour ({modes[1]})   {colour[0]}")
print(f"OpenCV {cv2.__version__}, grey           {other[0]}")
same = (grey == np.minimum(levels, 255)).all(), (colour == levels // 256).all(), (other == levels // 256).all()
if not all(same):
    raise SystemExit("behaviour changed")
PY
