#!/usr/bin/env bash
# nibabel 5.4.2 and SimpleITK 2.5.7: one NIfTI file with both an sform and a qform lies at two places.
#
# One would expect: the format has one order, the sform first where its code is above 0, and both readers follow it.
# What happens: nibabel takes the sform. ITK takes it only if its code is 1 (scanner); with code 2, 3 or 4 beside a qform
# it takes the qform, whatever the qform's code. Where the two matrices differ, as after a registration that wrote the
# sform alone, points and masks of the two readers lie apart, here by 37 mm. No warning.
# Known: InsightSoftwareConsortium/ITK pull request 1868, ANTsX/ANTs issue 1031, spinalcordtoolbox issue 2106.
# Why it matters here: PE-CAD's candidates are world millimetres, and a mask may come from the other reader.
# Where it is handled: tasks/layouts/volumes.py reads by the sform, as the format says, and refuses a file whose two
# matrices bear one code and lie more than half a voxel apart.
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

print(f"nibabel {nibabel.__version__}, SimpleITK {sitk.Version_VersionString()}; LPS millimetres of the first voxel")
for sform_code, qform_code, agree in ((1, 1, True), (2, 1, False), (4, 1, False), (2, 2, False), (2, 0, True)):
    sform, qform = np.eye(4), np.eye(4)
    sform[:3, 3] = 10, 20, 30
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
    image.set_sform(sform, sform_code)
    image.set_qform(qform, qform_code)
    nibabel.save(image, "scan.nii")
    first = nibabel.load("scan.nii").affine[:3, 3] * (-1, -1, 1)
    second = np.array(sitk.ReadImage("scan.nii").GetOrigin())
    apart = np.linalg.norm(first - second)
    print(f"sform_code {sform_code}, qform_code {qform_code}: {first} and {second + 0.0}, {apart:.1f} mm apart")
    if (apart < 1e-3) != agree:
        raise SystemExit("behaviour changed")
PY
