"""Slurm, by way of submitit: items are jobs of its queue.

submitit writes the batch script and the array; its process becomes the item's own at once (``exec``). So a signal of
Slurm reaches the child itself, whose exit status is the job's, and what submitit does on signals (it ignores SIGTERM,
and on USR2 ends whatever has no checkpoint of its kind) happens to nobody.

Slurm's own requeue is off: the store has one process an attempt, and it is the driver that queues an item again, which
goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.environment import Device, remote_slots
from harness.errors import DiraBenchError, Unavailable
from harness.executors import jobs
from harness.executors.bundle import statuses
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.executors.options import EngineOptions
from harness.spec import Ending, Frozen
from harness.store import EngineJob
from harness.store.records import JOB

NAME = "slurm"
ASK_SECONDS = 60.0  # how long one of Slurm's commands may take
SWEEP_SECONDS = 3600.0  # after which what submitit left of an ended job serves nobody
PICKLE = "_submitted.pkl"  # what submitit writes for each job
CLOSE_SECONDS = 60.0  # how long the end of cancelled jobs is waited for
OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
)
ENDINGS = {
    "BOOT_FAIL": Ending.NODE_LOST,
    "DEADLINE": Ending.TIME_LIMIT,
    "NODE_FAIL": Ending.NODE_LOST,
    "OUT_OF_MEMORY": Ending.OUT_OF_MEMORY,
    "PREEMPTED": Ending.PREEMPTED,
    "TIMEOUT": Ending.TIME_LIMIT,
}
# For which a job waits that nobody's end will ever let in. See "JOB REASON CODES" in squeue(1).
HOPELESS = frozenset(
    (
        "AccountNotAllowed", "BadConstraints", "InvalidAccount", "InvalidQOS", "JobHeldAdmin", "PartitionNodeLimit",
        "PartitionTimeLimit", "QOSNotAllowed",
    )
)  # fmt: skip


class SlurmOptions(Frozen):
    """What ``--engine-options`` says to Slurm, for every job alike.

    Attributes:
        partition, account, qos, constraint, exclude, gres: As sbatch takes them; ``gres: gpu:1`` asks for a GPU.
        minutes: The time limit of a job.
        cpus: Processors of a job.
        memory: Of a job, such as 16GB; None for the cluster's default.
        bundle: How many trials share a job, one after another; phases and cohorts have one each.
        leave_seconds: How long before its time limit a job is asked to write a checkpoint and to leave.
        gone_seconds: How long a record may take to be seen here after its job is gone: other machines see a shared
            folder late.
        poll_seconds: How often squeue is asked.
        setup: Lines of shell before the job, such as ``module load cuda``.
        sbatch: Any other option of sbatch, without its dashes.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    minutes: int = Field(240, ge=1)
    cpus: int = Field(1, ge=1)
    memory: str | None = None
    bundle: int = Field(1, ge=1)
    leave_seconds: int = Field(120, ge=0)
    gone_seconds: float = Field(60.0, ge=0)
    poll_seconds: float = Field(5.0, gt=0)
    setup: tuple[str, ...] = ()
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)


@dataclass
class SlurmHandle:
    """An item in Slurm's queue.

    Attributes:
        job: The item.
        path: Its file.
        id: Slurm's name of the job, such as ``1234_7``; "" until it is sent off. Items of a bundle share one.
    """

    job: Job
    path: Path
    id: str = ""

    @property
    def folder(self) -> Path:
        """Where submitit keeps scripts and logs."""
        return self.job.root / "engines" / NAME


@dataclass(frozen=True)
class JobEnd:
    """How a job of Slurm ended.

    Attributes:
        state: As Slurm calls it; "" if it knows nothing of the job.
        code: Exit status; negative is a signal.
        why: Why it did not begin, or "".
    """

    state: str = ""
    code: int | None = None
    why: str = ""


class SlurmExecutor(Executor):
    """Queues items as jobs of Slurm, several at a time as one array."""

    name = NAME
    remote = True

    def __init__(self, count: int, device: Literal["cpu", "cuda"], options: SlurmOptions) -> None:
        """See ``start``."""
        self.slots = remote_slots(count * options.bundle, NAME, device)
        self.settle_seconds = options.gone_seconds
        self._options = options
        self._cluster = cluster_name()
        self._fresh: list[SlurmHandle] = []
        self._queued: dict[str, list[SlurmHandle]] = {}
        self._folder: Path | None = None  # where submitit writes
        self._asked = 0.0

    def submit(self, job: Job) -> SlurmHandle:
        """Write a job's file; the next ``wait`` sends it off with others."""
        handle = SlurmHandle(job, jobs.write_job(job))
        self._folder = handle.folder
        self._fresh.append(handle)
        return handle

    def reference(self, handle: Handle) -> EngineJob | None:
        """Return Slurm's name of a job."""
        known = handle.id if isinstance(handle, SlurmHandle) else ""
        return EngineJob(NAME, known, self._cluster) if known else None

    def adopt(self, job: Job, reference: EngineJob) -> SlurmHandle | None:
        """Watch a job that an earlier driver queued; None if it is over, or another cluster's."""
        if reference.engine != NAME or not alive(reference):
            return None
        handle = SlurmHandle(job, job.attempt.folder / JOB, reference.id)
        self._folder = handle.folder
        self._queued.setdefault(reference.id, []).append(handle)
        return handle

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Send off what was submitted, wait, and every few seconds ask Slurm which jobs have left its queue.

        Raises:
            Unavailable: If Slurm does not take a job.
        """
        self._send()
        time.sleep(timeout)
        if not self._queued or time.monotonic() - self._asked < self._options.poll_seconds:
            return []
        self._asked = time.monotonic()
        waiting = _queue()
        if waiting is None:  # its controller does not answer: nothing is known, and nothing has ended
            return []
        over: list[tuple[Handle, Ended]] = []
        for id in list(self._queued):
            state, reason = waiting.get(id, ("", ""))
            if state == "PENDING" and reason in HOPELESS:
                _scancel(id)
                end = JobEnd("CANCELLED", None, f"Slurm will never start it ({reason})")
            elif state:
                continue
            else:
                found = look_up(id)
                if found is None:
                    continue
                end = found
            over += [(handle, ended(handle, end)) for handle in self._queued.pop(id)]
            if self._folder is not None:
                _clear(self._folder, id)
        return over

    def stop(self, handle: Handle, grace: float) -> None:
        """End a job; of a bundle with other items in it only that item, which finds its attempt closed."""
        self._fresh = [fresh for fresh in self._fresh if fresh is not handle]
        known = handle.id if isinstance(handle, SlurmHandle) else ""
        if len(self._queued.get(known, ())) == 1:
            _scancel(known)

    def detach(self) -> None:
        """Let go of every job."""
        self._fresh.clear()
        self._queued.clear()

    def close(self) -> None:
        """End every job that is still queued or runs, and wait until Slurm has forgotten it."""
        self._fresh.clear()
        for id in self._queued:
            with contextlib.suppress(DiraBenchError):
                _scancel(id)
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._queued and time.monotonic() < deadline:
            self.wait(0.5)

        self._sweep()

    def _send(self) -> None:
        """Queue what was submitted since, as one array.

        Raises:
            Unavailable: If Slurm does not take it.
        """
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        import submitit

        bundles = _bundles(fresh, self._options.bundle)
        try:
            with _outside_of_jobs():
                executor = submitit.SlurmExecutor(fresh[0].folder)
                executor.update_parameters(**_parameters(self._options, len(bundles)))
                with executor.batch():
                    sent = [executor.submit(os.execvp, "env", _words(bundle)) for bundle in bundles]
            ids = [str(one.job_id) for one in sent]
        except (OSError, RuntimeError, subprocess.SubprocessError, submitit.core.utils.UncompletedJobError) as error:
            raise Unavailable(
                f"Slurm takes no job. Found: {_sentence(str(error))}. Expected an id from sbatch. Fix: correct the "
                "file of --engine-options (docs/engines.md#slurm)."
            ) from error
        for id, bundle in zip(ids, bundles, strict=True):
            self._queued[id] = bundle
            for handle in bundle:
                handle.id = id

    def _sweep(self) -> None:
        """Remove what jobs left that ended long ago, while no driver watched."""
        waiting = _queue()
        if self._folder is None or waiting is None:
            return
        for path in self._folder.glob(f"*{PICKLE}"):
            id = path.name.removesuffix(PICKLE)
            with contextlib.suppress(OSError):
                if id not in waiting and time.time() - path.stat().st_mtime > SWEEP_SECONDS:
                    _clear(self._folder, id)


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> SlurmExecutor:
    """Make the executor (``harness.executors.factory``).

    Args:
        slots: How many jobs are queued or run at a time; 16 if nothing is said.
        device: ``auto`` is a GPU if the options ask for one with ``gres``.
        preload: Not used: a job names what it imports.
        options: See ``SlurmOptions``.

    Raises:
        ConfigurationError: If the options are not those.
        Unavailable: If submitit or Slurm is not here, or its controller does not answer.
    """
    said = options.read(SlurmOptions)
    if importlib.util.find_spec("submitit") is None:
        raise Unavailable('engine slurm needs submitit. Fix: python -m pip install "dira-bench[slurm]".')
    absent = [name for name in ("sbatch", "squeue", "scancel", "scontrol", "srun") if shutil.which(name) is None]
    if absent:
        raise Unavailable(
            f"found no {', '.join(absent)} on this machine's PATH. Expected Slurm's commands. Fix: run on a login node "
            "of the cluster."
        )
    if device == "cuda" and said.gres is None:
        said = said.model_copy(update={"gres": "gpu:1"})
    return SlurmExecutor(slots or 16, "cuda" if device != "cpu" and said.gres else "cpu", said)


def alive(job: EngineJob) -> bool | None:
    """Say whether a job is queued or runs; None if Slurm cannot be asked from here, or is another cluster's."""
    with contextlib.suppress(DiraBenchError):
        if job.cluster == cluster_name():
            waiting = _queue()
            return None if waiting is None else job.id in waiting
    return None


def cancel(job: EngineJob) -> None:
    """End a job, queued or running.

    Raises:
        Unavailable: If Slurm cannot be told from here.
    """
    if job.cluster != cluster_name():
        raise Unavailable(f"job {job.id} is of cluster {job.cluster}; expected {cluster_name()}. Fix: cancel it there.")
    _scancel(job.id)


def ended(handle: SlurmHandle, end: JobEnd) -> Ended:
    """Say how one item ended, from how its job did and from what a bundle or the child printed."""
    if end.why:
        return Ended(None, end.why, Ending.NOT_STARTED)
    log = handle.folder / f"{handle.id}_0_log.out"
    code = statuses(_text(log)).get(str(handle.path), end.code)
    said = _last_line(_text(log.with_suffix(".err")))
    if not end.state:
        return Ended(None, said or "Slurm does not know the job any more", Ending.GONE)
    blames_machine = code is None or code < 0 or code == end.code
    return Ended(code, said, ENDINGS.get(end.state) if blames_machine else None)


def look_up(id: str) -> JobEnd | None:
    """Ask how a job ended that is not in the queue: the controller, which soon forgets, then the accounting.

    Returns:
        None if it is not over after all.
    """
    fields: dict[str, str] = {}
    shown = _ask("scontrol", "show", "job", "--oneliner", id)
    if shown:
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    state, code = fields.get("JobState", ""), fields.get("ExitCode", "")
    if not state:
        told = _ask("sacct", "-X", "-n", "-P", "-j", id, "-o", "State,ExitCode") or ""
        state, _, code = told.partition("\n")[0].partition("|")
        state = state.partition(" ")[0]  # "CANCELLED by 1000"
    if state and state not in OVER:
        return None
    return JobEnd(state, _exit_status(code))


@functools.cache
def cluster_name() -> str:
    """Return what this machine's Slurm calls itself.

    Raises:
        Unavailable: If its controller does not answer.
    """
    for line in (_ask("scontrol", "show", "config") or "").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "ClusterName":
            return value.strip()
    raise Unavailable(
        'Slurm\'s controller does not answer. Expected it to describe itself to "scontrol show config". Fix: run that '
        "command, and ask whoever runs the cluster."
    )


def _queue() -> dict[str, tuple[str, str]] | None:
    """Return this user's jobs that are queued or run: id → state, and why it waits; None if nobody answers."""
    told = _ask("squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i|%T|%r")
    if told is None:
        return None
    found: dict[str, tuple[str, str]] = {}
    for line in told.splitlines():
        id, state, reason = ([*line.strip().split("|", 2), "", ""])[:3]
        found[id] = (state, reason)
    return found


def _scancel(id: str) -> None:
    """End a job; one that is over already is none.

    Raises:
        Unavailable: If Slurm does not answer.
    """
    if _ask("scancel", id) is None and _queue() is None:
        raise Unavailable(f'cannot cancel job {id}: Slurm does not answer. Fix: "scancel {id}" once it does.')


def _ask(*command: str) -> str | None:
    """Run one of Slurm's commands; None if it fails, or does not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _exit_status(text: str) -> int | None:
    """Read Slurm's ``STATUS:SIGNAL``; a shell's 128 + n is signal n."""
    status, _, number = text.partition(":")
    if not status.isdigit():
        return None
    if number.isdigit() and int(number):
        return -int(number)
    return 128 - int(status) if int(status) > 128 else int(status)


def _bundles(handles: Sequence[SlurmHandle], size: int) -> list[list[SlurmHandle]]:
    """Put up to ``size`` trials together; nothing waits for a trial, so none is late by it."""
    trials = [handle for handle in handles if handle.job.item.kind == "trial"]
    alone = [[handle] for handle in handles if handle.job.item.kind != "trial"]
    return alone + [trials[first : first + size] for first in range(0, len(trials), size)]


def _words(bundle: Sequence[SlurmHandle]) -> list[str]:
    """Return the command that runs a bundle, variables included."""
    variables = [f"{name}={value}" for name, value in jobs.environment(bundle[0].job).items()]
    command = jobs.command(bundle[0].path)
    if len(bundle) > 1:
        command = [command[0], "-m", "harness.executors.bundle", *(str(handle.path) for handle in bundle)]
    return ["env", *variables, *command]


def _parameters(options: SlurmOptions, count: int) -> dict[str, object]:
    """Return what submitit is told."""
    said = {
        "job_name": "dira-bench",
        "time": options.minutes,
        "cpus_per_task": options.cpus,
        "mem": options.memory,
        "signal_delay_s": options.leave_seconds,
        "setup": list(options.setup),
        "array_parallelism": count,
        "additional_parameters": {"no-requeue": True, **options.sbatch},
        **{
            name: getattr(options, name)
            for name in ("partition", "account", "qos", "constraint", "exclude", "gres")
        },
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide what a driver that itself runs in a job was told: its jobs would inherit its processors and memory.

    submitit's own ``clean_env`` also hides SLURM_CONF, by which some sites find their cluster.
    """
    marks = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT_")
    hidden = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith(marks) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _clear(folder: Path, id: str) -> None:
    """Remove what submitit keeps of a job, and its array's script with the last of the array."""
    whole = id.partition("_")[0]
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{id}_*"):
            path.unlink(missing_ok=True)
        if not any(folder.glob(f"{whole}_*{PICKLE}")):
            (folder / f"{whole}_submission.sh").unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _last_line(text: str) -> str:
    """Return what a process said last, but for the farewells of Slurm's own programs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(("srun:", "slurmstepd:", "submitit ", "<frozen runpy>"))]
    return (own or lines or [""])[-1][:400]


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:400]
