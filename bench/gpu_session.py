"""Everything that only a GPU can show, in one command meant for eight minutes: ``python -m bench.gpu_session --out F``.

Runs the tests marked ``gpu``, the loader's device path, one DiRA step beside the reference, and the ladder of every
registered 2D base at ResNet-50, 224 px, batch 256, bf16. Whatever cannot run is skipped with its reason; results are
written after every part, so that a session cut short keeps what it has. Needs no DVC and no data.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.whole_files import write_whole

NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "yaml",
    "pydantic",
    "cv2",
    "safetensors",
    "segmentation_models_pytorch",
    "lightly",
)
BASES = ("dira_moco_v2", "dira_barlow_twins", "dira_simsiam")


class Session:
    """Writes what is found as it is found.

    Args:
        out: Folder of ``gpu_session.json`` and logs.
        seconds: How long the session may take.
    """

    def __init__(self, out: Path, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self._limit, self.found = out, time.monotonic() + seconds, {"parts": {}}
        self._write()

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._limit - time.monotonic()

    def part(self, name: str, least: float, work: Callable[[], Any]) -> None:
        """Do a part if at least ``least`` seconds are left; a failure is noted and the next part goes on."""
        begun = time.monotonic()
        if self.left() < least:
            result: Any = {"skipped": f"{self.left():.0f} s were left; expected at least {least:.0f}"}
        else:
            try:
                result = work()
            except Exception as error:
                (self.out / f"{name}.traceback.txt").write_text(traceback.format_exc())
                result = {"skipped": f"{type(error).__name__}: {error}"}
        self.found["parts"][name] = {"seconds": round(time.monotonic() - begun, 1), "result": result}
        self._write()
        print(f"{name}: {json.dumps(result)[:400]}", flush=True)

    def _write(self) -> None:
        write_whole(self.out / "gpu_session.json", (json.dumps(self.found, indent=1) + "\n").encode())


def run(command: list[str], log: Path, seconds: float) -> dict[str, Any]:
    """Run a command into a log and return its status and last lines."""
    with log.open("w") as stream:
        try:
            code: int | str = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"ended after {seconds:.0f} s"
    return {"status": code, "end": log.read_text(errors="replace").splitlines()[-4:]}


def main() -> int:
    """Run the session."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu_session")))
    options.add_argument("--seconds", type=float, default=480.0)
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--compile", action="store_true")
    asked = options.parse_args()
    session = Session(asked.out, asked.seconds)
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        session.part("packages", 0, lambda: {"skipped": f"found no {', '.join(absent)}; expected them installed"})
        if "torch" in absent:
            return 1
    import torch

    if not torch.cuda.is_available():
        session.part("device", 0, lambda: {"skipped": "no CUDA device is visible to torch"})
        return 1
    from bench.measuring import machine

    session.part("machine", 0, machine)
    python = sys.executable
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)

        def ladder(method: str, steps: int) -> Any:
            from bench.ladder import climb

            share = max(15.0, session.left() / 8)
            return climb(
                [method], scratch, steps=steps, seconds=min(40.0, share), batch=asked.batch, compiled=asked.compile
            )

        tests = [python, "-m", "pytest", "-q", "-m", "gpu", "tests/methods", "-p", "no:cacheprovider"]
        session.part("tests", 60, lambda: run(tests, session.out / "tests.log", 120))
        for method in BASES:
            session.part(f"ladder {method}", 45, lambda method=method: ladder(method, 150))
        loader = [
            python,
            "-m",
            "bench.loader",
            "--repeats",
            "2",
            "--images",
            "16",
            "--out",
            str(session.out / "loader.json"),
        ]
        session.part("loader", 40, lambda: run(loader, session.out / "loader.log", max(30, session.left())))
        session.part("step", 60, lambda: step(scratch))
    return 0


def step(folder: Path) -> dict[str, Any]:
    """Time one float32 step of ours and the reference at batch 32."""
    from bench.measuring import in_turn, ratio, synchronised_clock
    from bench.pretrain_step import agreement, prepared

    ours, reference, views = prepared("dis+res+adv", 224, 32, folder / "step", "cuda")
    query, key = (ours.objective.as_input(view) for view in views[:2])
    same = agreement(ours, reference, views)
    variants = {"reference": lambda: reference.step(query, key, views[2]), "ours": lambda: ours._take_step(views)}
    seconds = in_turn(variants, 10, synchronised_clock)
    return {"relative_difference": same, "seconds": seconds, "speed_up": ratio(seconds["reference"], seconds["ours"])}


if __name__ == "__main__":
    sys.exit(main())
