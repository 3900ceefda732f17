#!/usr/bin/env bash
# nibabel 5.4.2 and SimpleITK 2.5.7: a NIfTI file that says it has no place gets a whole one, another from each reader.
#
# One would expect: with sform_code and qform_code 0 the affine is absent, an error, or at least the same guess.
# What happens: nibabel gives an affine that mirrors x and puts the origin at the volume's middle (its "base affine"),
# SimpleITK an identity direction in LPS with the first voxel at 0: the second axis runs to the front in the one and to
# the back in the other. Both look like any valid header, and nothing is said.
# Known: nibabel's manual page on NIfTI images describes its own choice; the two are not described together.
# Why it matters here: a list of points in millimetres hits other tissue, and a mask saved by the other library is
# mirrored front to back.
# Where it is handled: tasks/layouts/volumes.py (require_world) refuses such a file in LUNA16, PE-CAD and LIDC-IDRI,
# and the verifier of LiTS and BraTS warns that the orientation is a guess.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import nibabel
import numpy as np
import SimpleITK as sitk

image = nibabel.Nifti1Image(np.zeros((10, 20, 30), np.int16), None)
image.header.set_zooms((1, 2, 3))
image.header["sform_code"] = image.header["qform_code"] = 0
nibabel.save(image, "scan.nii")
read = nibabel.load("scan.nii")
by_nibabel = (read.affine * np.array([[-1], [-1], [1], [1]]))[:3] + 0.0  # RAS to LPS
other = sitk.ReadImage("scan.nii")
by_itk = np.column_stack([np.reshape(other.GetDirection(), (3, 3)) * other.GetSpacing(), other.GetOrigin()])
print("codes on disk:", int(read.header["sform_code"]), int(read.header["qform_code"]))
print(f"nibabel {nibabel.__version__}, to LPS millimetres:\n{by_nibabel}")
print(f"SimpleITK {sitk.Version_VersionString()}, to LPS millimetres:\n{by_itk}")
expected = np.array([[1, 0, 0, -4.5], [0, -2, 0, 19], [0, 0, 3, -43.5]]), np.array([[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0]])
if not all(np.allclose(found, wanted) for found, wanted in zip((by_nibabel, by_itk), expected)):
    raise SystemExit("behaviour changed")
PY
