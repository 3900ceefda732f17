#!/usr/bin/env bash
# Python 3.11 built with GNU readline (standard library): "import readline" sets COLUMNS and LINES, for children alone.
#
# One would expect: a module for editing lines leaves the environment as it is, or os.environ would show a change.
# What happens: readline writes COLUMNS=80 and LINES=24 into the environment of the C library when it is imported, also
# without a terminal. os.environ, a copy from the start, does not have them; every child process does.
# pytest imports readline, so a worker of pytest-xdist 3.8.0 has COLUMNS=80 and its parent has not: what breaks lines by
# COLUMNS prints otherwise under "-n 2" than without.
# Why it matters here: the command line takes COLUMNS as the width of its lines in a pipe.
# Where it is handled: tests/conftest.py takes both variables out before anything reads them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/python -m pip install --quiet "pytest==9.2.0" "pytest-xdist==3.8.0"
cat > test_width.py <<'PY'
import os
from pathlib import Path


def test_width():
    Path(os.environ["SEEN"]).write_text(repr(os.environ.get("COLUMNS")))
PY
env -u COLUMNS -u LINES environment/bin/python - <<'PY'
import os
import readline
import subprocess
import sys
from pathlib import Path

ask = [sys.executable, "-c", "import os; print(os.environ.get('COLUMNS'), os.environ.get('LINES'))"]
seen = [subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()]
seen.append(subprocess.run(ask, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout.strip())
print(f"Python {sys.version.split()[0]}, {'libedit' if 'libedit' in (readline.__doc__ or '') else 'GNU readline'}")
print(f"  os.environ has COLUMNS: {'COLUMNS' in os.environ}; a child: {seen[0]}; a child given os.environ: {seen[1]}")
widths = {}
for name, workers in (("alone", []), ("under xdist", ["-n", "1"])):
    path = Path(f"{name}.txt").resolve()
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "test_width.py"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SEEN": str(path)})
    widths[name] = path.read_text()
    print(f"  COLUMNS in a test {name}: {widths[name]}")
if "COLUMNS" in os.environ or seen != ["80 24", "None None"] or widths != {"alone": "None", "under xdist": "'80'"}:
    raise SystemExit("behaviour changed")
PY
