"""Where a number was made: host, libraries, git state, and the slots this machine offers.

Nothing here imports torch: a driver that only resumes, reports or waits must not pay for it. Nothing here is identity.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigurationError, Unavailable
from harness.kernels import in_force

Device = Literal["auto", "cpu", "cuda"]

LIBRARIES = (
    "dira-bench",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "statsmodels",
    "scikit-learn",
    "segmentation-models-pytorch",
    "lightly",
    "albumentations",
    "opencv-python-headless",
    "pillow",
    "monai",
    "captum",
    "pydantic",
)


@dataclass(frozen=True)
class Slot:
    """One place where one item runs at a time.

    Attributes:
        index: From 0.
        name: For people: ``cpu 0``, ``gpu 1``.
        device_class: What never mixes inside a cell: ``cpu`` or ``cuda``.
        device: What the work gets: ``cpu`` or ``cuda:0`` (each process sees its own device only).
        visible: Value of ``CUDA_VISIBLE_DEVICES`` inside the process; empty hides every GPU; None where the process
            itself finds out what it was given (``settled``), because the driver does not see its machine.
        threads: Threads of one operator. Always 1 on a CPU: two on shared cores were measured 6 times slower.
        model: The device as its maker names it, or "".
    """

    index: int
    name: str
    device_class: str
    device: str
    visible: str | None
    threads: int = 1
    model: str = ""


def cores() -> int:
    """Return how many cores this process may use: its affinity, cut by a container's CPU quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    return max(1, count)


def gpus() -> list[tuple[str, str]]:
    """List the GPUs this process may use, without torch.

    Returns:
        Pairs of what to write into ``CUDA_VISIBLE_DEVICES`` and the model's name ("" if unknown), in order.
    """
    present = _present_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return [(str(index), model) for index, model in enumerate(present)]
    chosen: list[tuple[str, str]] = []
    for entry in (part.strip() for part in visible.split(",")):
        if not entry or entry.startswith("-"):
            break  # CUDA ignores everything from the first invalid entry on
        if entry.isdecimal():
            if int(entry) >= len(present):
                break
            chosen.append((entry, present[int(entry)]))
        else:  # GPU-… or MIG-… names
            chosen.append((entry, ""))
    return chosen


def _present_gpus() -> list[str]:
    if shutil.which("nvidia-smi"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    models: list[str] = []
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            lines = information.read_text().splitlines()
            models.append(next((line.split(":", 1)[1].strip() for line in lines if line.startswith("Model")), ""))
    return models


def check_device(device: str) -> None:
    """Refuse a device that there is no name for.

    Raises:
        ConfigurationError: If it is none of ``auto``, ``cpu`` and ``cuda``.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(f'found --device {device}; expected "auto", "cpu" or "cuda"')


def device_slots(slots: int | None = None, device: Device = "auto") -> tuple[Slot, ...]:
    """Return the slots of this machine.

    Args:
        slots: How many; default one per GPU, or one per core on a CPU. More than there are GPUs share them in turn.
        device: ``auto`` takes the GPUs if there are any, and else the CPU; a run never mixes the two.

    Raises:
        ConfigurationError: If ``slots`` is below 1, or ``device`` is none of the three.
        Unavailable: If ``cuda`` was asked for and no GPU is visible.
    """
    if slots is not None and slots < 1:
        raise ConfigurationError(f"found --slots {slots}; expected at least 1")
    check_device(device)
    found = [] if device == "cpu" else gpus()
    if device == "cuda" and not found:
        raise Unavailable(
            "--device cuda was asked for but no GPU is visible "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}): use --device cpu"
        )
    if not found:
        model = _processor()
        return tuple(Slot(i, f"cpu {i}", "cpu", "cpu", "", 1, model) for i in range(slots or cores()))
    count = slots or len(found)
    threads = max(1, cores() // count)
    chosen = [found[i % len(found)] for i in range(count)]
    return tuple(
        Slot(i, f"gpu {visible}", "cuda", "cuda:0", visible, threads, model)
        for i, (visible, model) in enumerate(chosen)
    )


def remote_slots(count: int, name: str, device: Literal["cpu", "cuda"]) -> tuple[Slot, ...]:
    """Return slots on machines that this process does not see; each job settles its own.

    Args:
        count: How many jobs at a time.
        name: Of the engine, for people: ``slurm 0``, ``slurm 1``.
        device: What each job gets of its machine: one GPU, or cores.
    """
    where = "cuda:0" if device == "cuda" else "cpu"
    return tuple(Slot(index, f"{name} {index}", device, where, None) for index in range(count))


def settled(slot: Slot) -> Slot:
    """Fill in what a slot of another machine leaves open, from inside a process that runs there.

    The engine has restricted which GPUs the process sees; of those it takes the first. Threads are those of one
    operator: on a CPU one, beside a GPU as many as there are cores for this process.

    Raises:
        Unavailable: If the slot has a GPU and none is visible here: the work would silently run on the CPU.
    """
    if slot.visible is not None:
        return slot
    if slot.device_class != "cuda":
        return replace(slot, visible="", threads=1, model=_processor())
    found = gpus()
    if not found:
        raise Unavailable(
            f"found no GPU on {socket.gethostname()} (CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}). Expected one, since the job asked for cuda. Fix: "
            "request a GPU in the engine's options, or run with --device cpu."
        )
    visible, model = found[0]
    return replace(slot, visible=visible, threads=cores(), model=model)


@functools.cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@functools.cache
def instruction_set() -> str:
    """Return the CPU's capability as torch groups it; byte-identity is promised within one group only.

    ``ATEN_CPU_CAPABILITY`` lowers what torch uses, so it is honoured.
    """
    forced = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    if forced:
        return forced
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    if {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= flags:
        return "AVX512+AMX" if "amx_tile" in flags else "AVX512"
    if {"avx2", "fma"} <= flags:
        return "AVX2"
    return platform.machine()


def arithmetic() -> dict[str, str]:
    """Return which code of the loaded libraries computes here: what may move the last bit beside their versions.

    Nothing is loaded for it, so what a process does not use is left out, torch among it.

    Returns:
        ``blas``: kernels of the linear algebra libraries (``OPENBLAS_CORETYPE`` chooses OpenBLAS'); ``numpy``: vector
        code of its elementary functions, single precision (``NPY_DISABLE_CPU_FEATURES`` lowers it); ``torch``: its CPU
        capability (``ATEN_CPU_CAPABILITY``); ``opencv``: the instructions it chooses among, with ``?`` after what is
        absent; ``jpeg``: the decoders of OpenCV and Pillow; ``gpu``: what ``harness.kernels`` has settled, where a GPU
        is used.
    """
    asked = {
        "blas": ("numpy", _blas),
        "numpy": ("numpy", _numpy_code),
        "torch": ("torch", lambda torch: torch.backends.cpu.get_cpu_capability()),
        "opencv": ("cv2", lambda cv2: cv2.getCPUFeaturesLine()),
        "jpeg": ("cv2", _jpeg),
    }
    found: dict[str, str] = {}
    if kernels := in_force():
        found["gpu"] = kernels
    for name, (library, ask) in asked.items():
        with contextlib.suppress(ImportError, AttributeError, KeyError, IndexError, OSError):
            if library in sys.modules:
                found[name] = str(ask(sys.modules[library]))
    return found


def _blas(_: Any) -> str:
    """Ask the loaded libraries, which takes a thirtieth of a second; again only once others are loaded."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/maps").read_text().splitlines()
        return _blas_of(frozenset(line.rpartition(" ")[2] for line in lines if ".so" in line))
    return _blas_of.__wrapped__(frozenset())


@functools.cache
def _blas_of(libraries: frozenset[str]) -> str:
    import threadpoolctl

    infos = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    return ", ".join(sorted({f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip() for i in infos}))


def _numpy_code(numpy: Any) -> str:
    return str(numpy.lib.introspect.opt_func_info(func_name="^exp$")["exp"]["ff"]["current"])


def _jpeg(cv2: Any) -> str:
    lines = [line.split(":", 1)[1].strip() for line in cv2.getBuildInformation().splitlines() if " JPEG:" in line]
    features = sys.modules.get("PIL.features")
    pillow = features.version("libjpeg_turbo") if features else None
    return "; ".join([f"OpenCV {line}" for line in lines] + ([f"Pillow libjpeg-turbo {pillow}"] if pillow else []))


@functools.cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that can move a number; absent ones are left out."""
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def git_state(folder: Path | None = None) -> dict[str, str]:
    """Return the commit and, if tracked files differ from it, a digest of the difference; empty without git.

    Args:
        folder: Inside the checkout; default the folder that holds this package.
    """
    where = folder or Path(__file__).resolve().parent

    def ask(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(where), *words], capture_output=True, timeout=30, check=True).stdout

    state: dict[str, str] = {}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if folder is None:  # installed into an environment that lies inside somebody else's checkout
            ask("ls-files", "--error-unmatch", Path(__file__).name)
        state["commit"] = ask("rev-parse", "HEAD").decode().strip()
        difference = ask("diff", "--no-ext-diff", "--binary", "HEAD")
        state["difference_sha256"] = hashlib.sha256(difference).hexdigest() if difference else ""
    return state


@functools.cache
def provenance() -> Mapping[str, object]:
    """Return everything about this machine and this set-up that is recorded beside a number and is never identity.

    Found once a process: a fork server finds it for all its children.
    """
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "executable": Path(sys.executable).name,
        "processor": _processor(),
        "instruction_set": instruction_set(),
        "libraries": library_versions(),
        "git": git_state(),
    }
