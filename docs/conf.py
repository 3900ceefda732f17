"""How the documentation is built: ``nox -s docs`` writes ``docs/_build/html``, which works from the disk.

The source folder is the project, so that pages link to each other and to files as they do in the repository.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "DiRA-Bench"
author = "The DiRA-Bench authors"
copyright = author
version = release = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "docs/index"
include_patterns = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "docs/**", "tasks/datasets/*/README.md",
]  # fmt: skip
exclude_patterns = [".*", "docs/_build", "results", "reports", "tests", "findings", "build"]
html_theme = "furo"
html_title = f"DiRA-Bench {version}"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None  # the same sources give the same pages

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

# What others build on; the rest of the code is described by its own docstrings. It is read from the source, so that
# nothing is imported and no torch is needed.
PUBLIC = (
    "harness/contracts.py",
    "harness/errors.py",
    "harness/executors/interface.py",
    "harness/identity.py",
    "harness/metrics/__init__.py",
    "harness/metrics/cases.py",
    "harness/metrics/computing.py",
    "harness/metrics/distance.py",
    "harness/metrics/metric.py",
    "harness/metrics/overlap.py",
    "harness/metrics/ranking.py",
    "harness/metrics/registered.py",
    "harness/metrics/resampling.py",
    "harness/plateau.py",
    "harness/registry.py",
    "harness/seeding.py",
    "harness/sharing/*.py",
    "harness/spec.py",
    "harness/statistics/*.py",
    "harness/typed.py",
    "methods/networks/backbone.py",
    "methods/options.py",
    "methods/terms/bound.py",
    "methods/views.py",
    "tasks/layouts/adapter.py",
    "tasks/layouts/data_set.py",
    "tasks/layouts/images.py",
    "tasks/layouts/index.py",
    "tasks/layouts/pictures.py",
    "tasks/layouts/run_lengths.py",
    "tasks/layouts/splits.py",
    "tasks/layouts/tables.py",
    "tasks/options.py",
)
autoapi_dirs = [str(ROOT / name) for name in ("harness", "methods", "tasks")]
autoapi_file_patterns = ["*.py"]
autoapi_root = "docs/reference"
autoapi_add_toctree_entry = False
autoapi_options = ["members", "show-module-summary"]
autoapi_python_class_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = [
    "autoapi.python_import_resolution",
    "ref.python",  # names such as "type" stand in several modules
    "misc.highlighting_failure",  # JSON with comments, CSV
]


def _public(path: str) -> bool:
    name = Path(path).relative_to(ROOT).as_posix()
    return any(Path(name).match(pattern) for pattern in PUBLIC)


autoapi_ignore = sorted(
    str(path)
    for folder in ("harness", "methods", "tasks")
    for path in (ROOT / folder).rglob("*.py")
    if not _public(str(path)) and path.name != "__init__.py"
)
