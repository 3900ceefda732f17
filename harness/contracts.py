"""What plugs into the machine: the work an item runs, how a backbone is obtained, and what a backbone is.

A method and a task meet in one place only, the ``Backbone``. Nothing here imports torch at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.foreign import OwnEnd
from harness.spec import MethodEntry, MethodPlan, Status, TaskEntry, TaskPlan

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Preempted(OwnEnd):
    """Raised by a work that was asked to leave, once its checkpoint is whole: the attempt ends as *preempted*."""


@dataclass(frozen=True)
class Context:
    """What a running attempt may use besides its spec. Nothing in here may change a number.

    Attributes:
        device: ``cpu`` or ``cuda:0``; the executor has already restricted which device that is.
        workers: Loader processes; 0 loads in the process itself. Randomness is derived per (trial, epoch,
            sample), so the count changes no number.
        folder: This attempt's own empty folder. Files left here are kept, hashed, if the attempt ends ok.
        inputs: Id of each needed item → folder of its ok attempt.
        resume: A folder of the *item* that outlives attempts: where a checkpoint goes. Emptied once the item is ok.
        data_roots: Task name → root folder of a real data set.
        report: ``report(done, total, what)``: progress; cheap, may be called every step.
        leaving: ``leaving()``: whether this attempt was asked to leave. A work that can resume asks it at each step
            boundary; once it is true the work writes its checkpoint into ``resume`` and raises ``Preempted``. A work
            that never asks is ended at once. Cheap, may be called every step.
    """

    device: str
    folder: Path
    inputs: Mapping[str, Path]
    resume: Path
    workers: int = 0
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    report: Callable[[int, int, str], None] = lambda done, total, what: None
    leaving: Callable[[], bool] = lambda: False


@dataclass
class Outcome:
    """What a work returns; see ``harness.spec.Record`` for what ``values`` and ``facts`` mean.

    ``arrays`` is written as ``arrays.npz`` (byte-stable) and ``curve`` as ``curve.jsonl``, one object a line, both
    into the attempt's folder.
    """

    values: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    status: Status = Status.OK
    message: str = ""


class Work(Protocol):
    """Runs one item: ``work(spec, context) -> Outcome``; raises on failure, which becomes a record.

    ``spec`` is the item's, JSON values; a work begins by reading it as a model of its own (``model_validate``).
    """

    def __call__(self, spec: Mapping[str, object], context: Context, /) -> Outcome: ...


@runtime_checkable
class Backbone(Protocol):
    """An encoder with an optional decoder, as a ``torch.nn.Module``: where methods and tasks meet.

    Attributes:
        dimensions: 2 or 3 spatial dimensions.
        in_channels: Channels it wants; a grey image is expanded to them by the caller.
        channels: Channels of each feature map that ``encode`` returns, finest first.
        strides: Stride of each feature map with respect to the input.
        decoder_channels: Channels of what ``decode`` returns at input resolution.
    """

    dimensions: int
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    decoder_channels: int

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images ``(B, in_channels, *S)`` to feature maps ``(B, channels[i], *S / strides[i])``, finest first."""
        ...

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps back to ``(B, decoder_channels, *S)``."""
        ...


class Obtain(Protocol):
    """Builds a backbone on the CPU for a trial.

    ``encoder`` is ``MethodPlan.encoder``, JSON values, which it reads as a model of its own (``methods.phases`` has
    ours); ``phase`` is the folder of the done last phase, or None; ``init_seed`` draws
    whatever is not loaded (all of Random, a fresh decoder). Returns the backbone and facts for the record
    (``encoder_sha256`` among them). Raises ``harness.errors.CheckpointError`` for weights that do not fit.
    """

    def __call__(
        self, encoder: Mapping[str, object], phase: Path | None, init_seed: int, /
    ) -> tuple[Backbone, dict[str, str]]: ...


class ResolveMethod(Protocol):
    """``methods.configuration.resolve``: an entry under a profile becomes a plan. Imports no torch.

    Raises ``harness.errors.ConfigurationError`` whose text lists every error of the entry at once.
    """

    def __call__(self, entry: MethodEntry, profile: str, /) -> MethodPlan: ...


# The manifest of a task's cohort as the committed results of the profile have it, or None where they have none.
Committed = Callable[[], Mapping[str, Any] | None]


class ResolveTask(Protocol):
    """``tasks.configuration.resolve``: an entry under a profile and the known data roots becomes a plan. No torch."""

    def __call__(
        self, entry: TaskEntry, profile: str, data_roots: Mapping[str, Path], committed: Committed, /
    ) -> TaskPlan: ...


class Probe(Protocol):
    """``methods.probe.probe``: times a few steps of every phase of a method.

    Returns seconds an image for each phase, None for one that takes no images; reads no data set.
    """

    def __call__(self, plan: MethodPlan, device: str, /) -> list[float | None]: ...


@dataclass(frozen=True)
class Conformance:
    """What ``dira-bench check`` found of an entry.

    Attributes:
        results: (name, passed, message) in the order of the checks; the message says what was found.
        numbers: Digest of every number that two steps gave: equal before and after an edit means nothing moved.
    """

    results: tuple[tuple[str, bool, str], ...]
    numbers: str

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(passed for _, passed, _ in self.results)


@dataclass(frozen=True)
class SplitTwins:
    """What a comparison of two cohorts' images says of one split of the first.

    Attributes:
        split: train, validation or test.
        images: How many it has.
        with_twin: How many of them have a twin in the other cohort.
        threshold: Correlation above which two images are twins.
        below: Highest correlation of an image without a twin; None where each has one.
    """

    split: str
    images: int
    with_twin: int
    threshold: float
    below: float | None


class CountTwins(Protocol):
    """``tasks.leakage.count_twins``: compares a task's cohort with what a pretraining has seen, split by split."""

    def __call__(self, task: Path, pretraining: Path, /) -> list[SplitTwins]: ...
