"""Everything that only a GPU can show, in one command meant for six minutes: ``python -m bench.gpu_session --out F``.

In the order of what is missed most: the last phase of every registered 2D base and MoCo-v2 alone at ResNet-50, 224 px,
batch 256, bf16 (images/s, peak memory, data wait, share of the roofline); fine-tuning and ten crops, one trial twice;
the tests marked ``gpu``; one step beside the reference; the hours that the paper profile takes at these rates. Whatever
cannot run is skipped with its reason; results are written after every part, so that a session cut short keeps what it
has. Needs no DVC and no data. ``--device cpu`` runs the same parts at the scale of the tests, to show that they run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
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
    "albumentations",
)
RUNGS = (("dira_moco_v2", -1), ("dira_barlow_twins", -1), ("dira_simsiam", -1), ("moco_v2", 0))
TUNED = ("chestxray14", "montgomery")


@dataclass(frozen=True)
class Scale:
    """At which size the parts run.

    Attributes:
        device: Where.
        profile: Whose networks and transfers.
        batch: Images in a step of pretraining.
        px: Side of the cohort's images.
        seconds: Of a rung.
        steps: Of a fine-tuning.
        test: Images it is tested on.
        reference: Side and batch of the step beside the reference.
    """

    device: str
    profile: str
    batch: int
    px: int
    seconds: float
    steps: int
    test: int
    reference: tuple[int, int]


FULL = Scale("cuda", "paper", 256, 512, 12.0, 60, 512, (224, 32))
SMALL = Scale("cpu", "smoke", 16, 48, 2.0, 12, 64, (64, 4))


HARD = 15.0  # seconds beyond its time after which a session ends whatever it is in


class OutOfTime(BaseException):
    """The session's time is over. Not an ``Exception``, so that nothing in a part takes it for a failure of its own."""


class Session:
    """Writes what is found as it is found, and ends in time.

    A part that the end of the session finds running is cut off there. One that hears no signal, within a call of a
    driver that hangs, ends the process a little later; what was found before is written.

    Args:
        out: Folder of ``gpu_session.json`` and logs.
        seconds: How long the session may take.
    """

    def __init__(self, out: Path, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self._limit = out, time.monotonic() + seconds
        signal.signal(signal.SIGALRM, _out_of_time)
        self._last = threading.Timer(seconds + HARD, os._exit, (3,))
        self._last.daemon = True
        self._last.start()
        self.found: dict[str, Any] = {"parts": {}}
        self._write()

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._limit - time.monotonic()

    def close(self) -> None:
        """Watch the time no longer."""
        self._last.cancel()

    def part(self, name: str, least: float, work: Callable[[], Any]) -> None:
        """Do a part if at least ``least`` seconds are left; a failure is noted and the next part goes on."""
        begun = time.monotonic()
        if self.left() < least:
            result: Any = {"skipped": f"{self.left():.0f} s were left; expected at least {least:.0f}"}
        else:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(0.0, self.left()))  # 0 sets none: the hard end is left
                result = work()
            except OutOfTime:
                result = {"skipped": f"cut off after {time.monotonic() - begun:.0f} s: the session's time was over"}
            except Exception as error:
                (self.out / f"{name}.traceback.txt").write_text(traceback.format_exc())
                result = {"skipped": f"{type(error).__name__}: {error}"}
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        self.found["parts"][name] = {"seconds": round(time.monotonic() - begun, 1), "result": result}
        self._write()
        print(f"{name}: {json.dumps(result)[:400]}", flush=True)

    def _write(self) -> None:
        write_whole(self.out / "gpu_session.json", (json.dumps(self.found, indent=1) + "\n").encode())


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


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
    options.add_argument("--seconds", type=float, default=360.0)
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--compile", action="store_true", help="time torch.compile and CUDA graphs, too")
    asked = options.parse_args()
    session = Session(asked.out, asked.seconds)
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        session.part("packages", 0, lambda: {"skipped": f"found no {', '.join(absent)}; expected them installed"})
        if "torch" in absent:
            return 1
    import torch

    if asked.device == "cuda" and not torch.cuda.is_available():
        session.part("device", 0, lambda: {"skipped": "no CUDA device is visible to torch"})
        return 1
    from bench.measuring import machine, one_thread

    if asked.device == "cpu":
        one_thread()
    session.part("machine", 0, machine)
    with tempfile.TemporaryDirectory() as name:
        measure(session, SMALL if asked.device == "cpu" else FULL, Path(name), compiled=asked.compile)
    session.close()
    return 0


def measure(session: Session, scale: Scale, scratch: Path, *, compiled: bool) -> None:
    """Do every part for which time is left."""
    from bench.ladder import Pace, bandwidth, climb
    from bench.pictures import write_cohort

    cohort = scratch / "pictures"
    session.part("cohort", 0, lambda: str(write_cohort(cohort, 8 * scale.batch, 0, scale.px).name))
    moves: dict[str, float] = {}
    session.part("bandwidth", 0, lambda: moves.setdefault("bytes_a_second", bandwidth(scale.device)))
    pace = Pace(scale.device, 10**6, scale.seconds, moves.get("bytes_a_second", float("nan")))

    def rung(method: str, phase: int, *, compiled: bool = False) -> dict[str, Any]:
        return climb(method, phase, cohort, scratch, pace, profile=scale.profile, batch=scale.batch, compiled=compiled)

    for method, phase in RUNGS:
        session.part(f"ladder {method}", scale.seconds + 8, lambda m=method, p=phase: rung(m, p))  # type: ignore[misc]
    session.part("fine-tuning", 40, lambda: tuning(scale, scratch))
    session.part("tests", 20, lambda: tests(session, scale))
    session.part("hours", float("-inf"), lambda: hours(session.found["parts"], scale))
    session.part("step", 30, lambda: step(scratch, scale))
    loader = [sys.executable, "-m", "bench.loader", "--repeats", "2", "--images", "16"]
    loader += ["--out", str(session.out / "loader.json")]
    session.part("loader", 40, lambda: run(loader, session.out / "loader.log", session.left()))
    if compiled:
        session.part("compiled", 90, lambda: rung(*RUNGS[0], compiled=True))


def tuning(scale: Scale, scratch: Path) -> dict[str, Any]:
    """Fine-tune for labels and for masks, the first of them twice."""
    from bench.finetuning import difference, labelled_cohort, tuned

    cohort = labelled_cohort(scratch / "labelled", test=scale.test, px=scale.px, labels=14)
    found: dict[str, Any] = {}
    for task in (*TUNED, TUNED[0]):
        name = f"{task} again" if task in found else task
        folder = scratch / name.replace(" ", "_")
        found[name] = tuned(task, cohort, folder, scale.device, profile=scale.profile, steps=scale.steps, batch=None)
    return {**found, "two runs differ by": difference(found[TUNED[0]], found[f"{TUNED[0]} again"])}


def tests(session: Session, scale: Scale) -> dict[str, Any]:
    """Run the tests marked gpu on the device; those that fit into 45 s."""
    os.environ["DIRA_BENCH_TEST_DEVICE"] = "cuda:0" if scale.device == "cuda" else scale.device
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    return run([*command, "tests/methods", "tests/tasks"], session.out / "tests.log", min(45.0, session.left()))


def hours(parts: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """Return the hours of one pretraining of each measured method under the profile ``paper``, from its rung's rate.

    Every phase of a method is taken to run at the rate of the last, which is the slowest.
    """
    if scale != FULL:
        return {"skipped": "rates of small networks say nothing about the paper's"}
    from harness.registry import load_registry, project_root
    from methods.configuration import resolve

    registry, images, found = load_registry(project_root()), 86_524, {}
    for method, _ in RUNGS:
        result = parts.get(f"ladder {method}", {}).get("result", {})
        if "images_per_second" in result:
            phases = resolve(registry.methods[method], "paper").phases
            epochs = sum(phase.configuration["budget"]["count"] for phase in phases)
            found[method] = {"epochs": epochs, "hours": epochs * images / result["images_per_second"] / 3600}
    return {"images": images, **found}


def step(folder: Path, scale: Scale) -> dict[str, Any]:
    """Time one float32 step of ours and the reference; compare them in double precision."""
    from bench.ladder import clock
    from bench.measuring import in_turn, ratio
    from bench.pretrain_step import agreement, prepared

    made = ("dis+res+adv", *scale.reference, folder / "step", scale.device)
    same = agreement(*prepared(*made))
    ours, reference, views = prepared(*made)
    query, key = (ours.objective.as_input(view) for view in views[:2])
    variants = {"reference": lambda: reference.step(query, key, views[2]), "ours": lambda: ours._take_step(views)}
    seconds = in_turn(variants, 10 if scale.device == "cuda" else 2, clock(scale.device))
    return {"relative_difference": same, "seconds": seconds, "speed_up": ratio(seconds["reference"], seconds["ours"])}


if __name__ == "__main__":
    sys.exit(main())
