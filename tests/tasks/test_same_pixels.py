"""A phantom's pixels do not depend on the processor: not on the linear algebra kernel, not on numpy's own vector code."""

import ast
import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.registry import load_registry
from methods.shapes import make_shapes
from tasks.layouts import space
from tasks.phantoms import elementary
from tasks.phantoms.thorax import smooth_noise

ROOT = Path(__file__).resolve().parents[2]
TASKS = tuple(load_registry().under("smoke").tasks.by_name)
# Kernels of OpenBLAS that any x86-64 processor with AVX2 can run; they differ in vector width and in fused operations.
KERNELS = ("Haswell", "Nehalem")
# What makes pixels, or lies between a file and the pixels that are kept of it.
GENERATORS = (
    *sorted((ROOT / "tasks/phantoms").glob("*.py")),
    *sorted(path for name in ("phantom", "anatomy") for path in (ROOT / "tasks/datasets").glob(f"*/{name}.py")),
    *sorted((ROOT / "tasks/cohorts").glob("*.py")),
)
MAKES_PIXELS = (
    *GENERATORS,
    *(ROOT / "tasks/layouts" / f"{name}.py" for name in ("boxes", "volumes", "grids", "series", "candidates", "space")),
    ROOT / "methods/shapes.py",
)
LINEAR_ALGEBRA = {
    *("dot", "vdot", "matmul", "matvec", "vecmat", "vecdot", "inner", "tensordot", "einsum", "linalg", "kron", "outer"),
    *(
        "multivariate_normal",
        "cov",
        "corrcoef",
        "polyfit",
        "convolve",
        "correlate",
        "affine_transform",
        "pinv",
        "lstsq",
    ),
}
IN_SINGLE_PRECISION = {
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "power", "float_power", "sin", "cos", "tan", "tanh"),
    *("sinh", "cosh", "arcsin", "arccos", "arctan", "arctan2", "arcsinh", "cbrt", "hypot", "logaddexp"),
}
CHILD = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
import threadpoolctl
from harness.contracts import Context
from harness.registry import load_registry
from tasks.cohorts.build import build
from tasks.phantoms.thorax import smooth_noise

noise = smooth_noise((4, 64, 78), 9, np.random.default_rng(1)).tobytes().hex()
found = {}
left, right = np.random.default_rng(0).standard_normal((2, 64, 64), dtype=np.float32)
product = left @ right
registry = load_registry().under("smoke")
for name in registry.tasks.by_name:
    with tempfile.TemporaryDirectory() as folder:
        context = Context(device="cpu", folder=Path(folder), inputs={}, resume=Path(folder))
        outcome = build({"task": name, "configuration": registry.resolve_task(name, "smoke").cohort}, context)
        found[name] = outcome.facts["sha256"]
kernel = [one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"]
features = np.exp(np.linspace(-5, 5, 10001, dtype=np.float32))
print(json.dumps({"kernel": kernel[0], "product": product.tobytes().hex(), "exp": features.tobytes().hex(), "noise": noise, "found": found}))
"""


@functools.cache
def under(kernel: str, without: str) -> dict:
    """Build every phantom cohort at the smallest scale under a kernel of OpenBLAS and without a set of instructions."""
    environment = {
        **os.environ,
        "OPENBLAS_CORETYPE": kernel,
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": without,
    }
    told = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def twice() -> tuple[dict, dict]:
    if platform.machine() != "x86_64":
        pytest.skip("the kernels that are compared are those of x86-64")
    return under(KERNELS[0], ""), under(KERNELS[1], "X86_V3")


def test_the_two_runs_differ_in_kernel_and_vector_code_and_that_moves_a_matrix_product(twice):
    first, second = twice
    assert (first["kernel"], second["kernel"]) == KERNELS
    assert first["product"] != second["product"], "the two kernels multiply alike: the test below shows nothing"
    assert first["exp"] != second["exp"], "the two sets of instructions agree: the test below shows nothing"


@pytest.mark.parametrize("task", TASKS)
def test_a_cohort_is_the_same_under_two_kernels_and_two_sets_of_instructions(task, twice):
    first, second = twice
    assert first["found"][task] == second["found"][task]
    assert "pixels.npy" in first["found"][task]


def test_what_all_radiographs_are_textured_with_is_the_same_to_the_last_bit(twice):
    first, second = twice
    assert first["noise"] == second["noise"]


def names_in(path: Path) -> set[str]:
    """Return what a module calls by attribute of numpy or scipy or imports from them, and ``@`` if it multiplies so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult):
            found.add("@")
        elif isinstance(node, ast.Attribute):
            of_library = ast.unparse(node.value).split(".")[0] in ("np", "numpy", "scipy")
            found |= {node.attr} if of_library or node.attr in ("dot", "multivariate_normal") else set()
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            if module.split(".")[0] in ("numpy", "scipy", "sklearn"):
                found |= {*module.split("."), *(name.name for name in node.names)}
            elif not module:
                found |= {part for name in node.names for part in name.name.split(".")[1:]}
    return found


@pytest.mark.parametrize("path", MAKES_PIXELS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_module_that_makes_pixels_calls_linear_algebra(path):
    assert not names_in(path) & {"@", *LINEAR_ALGEBRA}


@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_generator_takes_an_elementary_function_from_numpy_itself(path):
    if path.stem != "elementary":
        assert not names_in(path) & IN_SINGLE_PRECISION


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import numpy as np\na = np.ones(3) @ np.ones(3)", "@"),
        ("a @= b", "@"),
        ("a = b.dot(c)", "dot"),
        ("import numpy as np\na = np.linalg.norm(b)", "linalg"),
        ("from numpy import einsum", "einsum"),
        ("from scipy.linalg import solve", "linalg"),
        ("import scipy.linalg", "linalg"),
        ("a = generator.multivariate_normal(b, c)", "multivariate_normal"),
    ],
)
def test_linear_algebra_is_seen_in_every_form(text, found, tmp_path):
    (tmp_path / "module.py").write_text(text)
    assert found in names_in(tmp_path / "module.py")


def test_smooth_noise_is_the_product_of_interpolation_matrices_up_to_rounding():
    def weights(length: int, knots: int) -> np.ndarray:
        place = (np.arange(length) + 0.5) / length * (knots - 1)
        left = np.minimum(place.astype(int), knots - 2)
        share = 0.5 - 0.5 * np.cos(np.pi * (place - left))
        matrix = np.zeros((length, knots))
        matrix[np.arange(length), left], matrix[np.arange(length), left + 1] = 1 - share, share
        return matrix

    coarse = np.random.default_rng(3).standard_normal((2, 9, 11), dtype=np.float32)
    expected = weights(64, 9) @ coarse.astype(float) @ weights(78, 11).T
    found = smooth_noise((2, 64, 78), 9, np.random.default_rng(3))
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_space_agrees_with_the_linear_algebra_library_up_to_rounding():
    generator = np.random.default_rng(5)
    for _ in range(50):
        matrix, points = generator.standard_normal((3, 3)) + 2 * np.eye(3), generator.standard_normal((7, 3))
        np.testing.assert_allclose(space.transformed(matrix, points), points @ matrix.T, atol=1e-12)
        np.testing.assert_allclose(space.inverse(matrix), np.linalg.inv(matrix), rtol=1e-6, atol=1e-9)
        assert space.determinant(matrix) == pytest.approx(np.linalg.det(matrix), rel=1e-9)
        np.testing.assert_allclose(space.length(points), np.linalg.norm(points, axis=1), rtol=1e-14)
        affine = np.vstack([np.hstack([matrix, points[:3, :1]]), [0, 0, 0, 1]])
        np.testing.assert_array_equal(space.lps_from_ras(affine), np.diag([-1.0, -1, 1, 1]) @ affine)


def test_the_inverse_of_a_matrix_along_the_axes_rounds_nothing_but_the_division():
    spacing = np.array([0.703125, 1.3, 2.49997])
    np.testing.assert_array_equal(space.inverse(np.diag(spacing)), np.diag(1 / spacing))
    permuted = np.diag(spacing)[:, [2, 0, 1]]
    np.testing.assert_array_equal(space.inverse(permuted), np.diag(1 / spacing)[[2, 0, 1]])


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "cos"])
def test_an_elementary_function_keeps_its_arguments_precision_and_is_rounded_once(name):
    x = np.linspace(-6, 6, 4001, dtype=np.float32)
    found = getattr(elementary, name)(x)
    assert found.dtype == np.float32 and getattr(elementary, name)(x.astype(float)).dtype == np.float64
    np.testing.assert_array_equal(found, getattr(np, name)(x.astype(np.longdouble)).astype(np.float32))
    assert elementary.power(np.float32(2) * np.ones(2, np.float32), 1.5).dtype == np.float32
    assert isinstance(elementary.exp(1.0), float)


def test_the_synthetic_shapes_are_the_luma_of_their_colours_whatever_the_kernel():
    pictures, _ = make_shapes(6, 32, 1)
    assert pictures.dtype == np.uint8 and pictures.std() > 10
