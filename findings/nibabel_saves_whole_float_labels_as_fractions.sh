#!/usr/bin/env bash
# nibabel 5.4.2: a label map that is read, edited and saved again with its own header can come back without a label 1.
#
# One would expect: labels 0, 1, 2 as float64, saved under a header that says uint8, are stored as 0, 1, 2.
# What happens: nibabel sees real numbers and an integer type on disk, and stretches the range of values over all 256
# levels (scl_slope 2/255). A 1 would be 127.5, is stored as 127 and read back as 0.996; "labels == 1" finds no voxel, and
# astype(int) makes background of it. get_fdata always gives float64, so reading and saving is enough. No warning.
# Known: nipy/nibabel issues 1001 and 1344, spinalcordtoolbox issue 3232, torchio issue 220 (a published atlas).
# Why it matters here: LiTS has labels 0, 1, 2 and BraTS 0, 1, 2, 4; a mask that a reader edited loses organs.
# Where it is handled: tasks/layouts/label_maps.py rounds within 0.001 and refuses 0.996 by name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet nibabel==5.4.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import nibabel
import numpy as np

labels = np.zeros((4, 4, 4), np.uint8)
labels[1:3], labels[3] = 1, 2
nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), "mask.nii")
mask = nibabel.load("mask.nii")
edited = mask.get_fdata()
edited[0, 0, 0] = 1.0  # a reader adds a voxel of the liver
nibabel.save(nibabel.Nifti1Image(edited, mask.affine, mask.header), "edited.nii")
found = nibabel.load("edited.nii")
values = found.get_fdata()
print(f"nibabel {nibabel.__version__}: before {np.unique(edited)}, {int((edited == 1).sum())} voxels of label 1")
print(f"after, as {found.get_data_dtype()} with slope {found.dataobj.slope:.6f}: {np.unique(values)}")
print(f"voxels equal to 1: {int((values == 1).sum())}; after astype(int): {int((values.astype(int) == 1).sum())}")
if (values == 1).any() or (values.astype(int) == 1).any():
    raise SystemExit("behaviour changed: label 1 is kept")
PY
