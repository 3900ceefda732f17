"""A job as a file: written by the driver, read by a child on any machine that shares the store's folder.

The file lies in the attempt's folder and goes once the attempt has a record. An engine starts

    python -m harness.executors FILE

as ``command`` and ``environment`` say; nothing else has to reach the machine.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import StoreError
from harness.executors.interface import Job
from harness.identity import item_id
from harness.store.records import JOB
from harness.typed import sentences
from harness.whole_files import write_whole

# glibc's allocator by default gives the pages of every large tensor back and asks for them anew in the next step. Kept,
# and as huge pages, they are faulted in once: up to a quarter less processor time a step, and not a bit of a number.
# Other C libraries ignore the variable. See mallopt(3) and "Memory Allocation Tunables" in the glibc manual.
KEEP_MEMORY = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in (
        ("mmap_threshold", 1 << 30),
        ("trim_threshold", 1 << 32),
        ("top_pad", 1 << 26),
        ("hugetlb", 1),
    )
)
# What a user sets for numbers to be the same elsewhere, or for files to be found; nothing of the driver's machine.
CARRIED = (
    "ATEN_CPU_CAPABILITY", "HF_HOME", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "TORCH_HOME",
    "XDG_CACHE_HOME",
)  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def search_path() -> tuple[str, ...]:
    """Return where this process imports from, as absolute paths: the current folder is another one elsewhere."""
    return tuple(str(Path(entry or ".").absolute()) for entry in sys.path)


def carried() -> dict[str, str]:
    """Return the variables of this process that a child on another machine needs."""
    return {name: os.environ[name] for name in CARRIED if name in os.environ}


def environment(job: Job) -> dict[str, str]:
    """Return the variables with which a fresh Python must be started for a job, beside those of its machine."""
    return {
        **ONE_THREAD,
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_MEMORY),
        **job.environment,
        "PYTHONPATH": os.pathsep.join(job.search_path),
        "PYTHONSAFEPATH": "1",  # the current folder might hold a package of our name
    }


def command(path: Path, python: str = sys.executable) -> list[str]:
    """Return the command that runs the job in a file."""
    return [python, "-m", "harness.executors", str(path)]


def write_job(job: Job) -> Path:
    """Write a job into its attempt's folder and return the file.

    Raises:
        StoreError: If it cannot be written.
    """
    path = job.attempt.folder / JOB
    try:
        write_whole(path, _adapter().dump_json(job))
    except OSError as error:
        raise StoreError(f"cannot write {path} ({error.strerror}); check the disk and its permissions.") from error
    return path


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        StoreError: If the file is absent, damaged, or its item is not what its id says.
    """
    try:
        job = _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(
            f"cannot read {path} ({error.strerror}). Expected the job that a driver wrote there. Fix: share the "
            "store's folder under the same path with every machine of the engine."
        ) from error
    except ValidationError as error:
        raise StoreError(f"{path} is no job ({sentences(error, Job)[0].rstrip('.')}); run again.") from None
    if item_id(job.item.kind, job.item.spec) != job.item.id:
        raise StoreError(f"{path} holds a spec that is not that of {job.item.id[:12]}; run again.")
    return job


@cache
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)
