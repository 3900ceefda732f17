"""The nouns: what a method, a task, an item of work, an outcome and a record are.

Only the standard library and pydantic are imported here, so that ids, plans, audits and tables work
without torch. Glossary in ``docs/architecture.md``; one word per concept:

* **Method** obtains an encoder; **task** judges it; **profile** says at which scale.
* **Cell** = method × task × label fraction; **trial** = cell + pretraining seed + repeat;
  **attempt** = one execution; **record** = what an attempt left.
* **Item** = anything the runner executes: a *cohort* (the images of a task, loaded), a *phase* (one stage of a
  pretraining) or a *trial*. An item's id is the digest of its kind and its ``spec`` and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from harness.foreign import has_commands

Kind = Literal["cohort", "phase", "trial"]
KEY = r"^[a-z0-9_]+$"  # DVC cannot expand a key with an "@" or a dot
NO_TRANSFER = "none"  # of a task whose images are pretrained on and judge nobody
NOT_STATED = "not stated"  # by the source of a data set
LONGEST_NAME = 64  # letters of a key: it becomes part of file names


def _one_line(text: str) -> str:
    if has_commands(text) or text != text.strip():
        raise ValueError("one line of text without control characters and without blanks around it")
    return text


# ``true`` and "1" are no numbers here, and a number of 400 digits is no version.
Name = Annotated[str, Field(pattern=KEY, max_length=LONGEST_NAME)]
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_one_line)]
Version = Annotated[int, Field(ge=1, le=9999, strict=True)]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Fraction = Annotated[float, Field(strict=True)]


class Status(StrEnum):
    """How an attempt ended, and what a row of ``trials.csv`` says of a trial: one vocabulary."""

    OK = "ok"
    FAILED = "failed"  # an exception: recorded with its traceback, not retried by default
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "oom"
    DIVERGED = "diverged"  # a non-finite loss
    INTERRUPTED = "interrupted"  # the worker was killed or lost: retried
    # What a table alone says of a trial; no attempt ends so.
    DIVERGED_SCORED = "diverged_scored"  # it diverged, and counts with its best validated weights
    MISSING = "missing"  # not run yet
    UNAVAILABLE = "unavailable"  # cannot be run here

    @property
    def scored(self) -> bool:
        """Whether a trial's value counts."""
        return self in (Status.OK, Status.DIVERGED_SCORED)

    @property
    def ends_an_attempt(self) -> bool:
        """Whether a record can have it."""
        return self not in (Status.DIVERGED_SCORED, Status.MISSING, Status.UNAVAILABLE)


class Ending(StrEnum):
    """Why a process ended that left no result: ``error["reason"]`` of a record."""

    NOT_STARTED = "not started"  # the job never reached its work: no attempt at the item
    EXIT = "exit"  # the process ended by itself
    SIGNAL = "signal"  # something killed it
    GONE = "gone"  # it is not there any more, and nobody knows why
    PREEMPTED = "preempted"  # it was asked to leave and may go on later: no lost worker
    NODE_LOST = "node lost"
    OUT_OF_MEMORY = "out of memory"  # the machine or the engine killed it for its memory
    TIME_LIMIT = "time limit"  # the engine's own, such as a queue's


class Frozen(BaseModel):
    """A value: frozen, comparable, and strict about keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodEntry(BaseModel):
    """One entry of ``methods/registry.yaml``: a way to obtain an encoder.

    The keys below are common to all recipes. Keys a recipe defines for itself (``discrimination``,
    ``restoration``, ``adversary``, ``weights``, ``on``, …) are kept in ``model_extra`` and validated by the
    recipe's own configuration.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Name
    label: Label
    dimensions: Literal[2, 3]
    recipe: str = Field(min_length=1)
    version: Version
    source: Text
    label_fractions: Literal["all", "full"] = "all"
    saw_labels_of: tuple[str, ...] = ()
    transfer: Literal["encoder_decoder", "encoder_only"] = "encoder_decoder"
    compare_with: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()  # under which it exists; empty: under every one; never identity
    options: dict[str, Any] = Field(default_factory=dict)
    origin: str = ""  # the file or entry point it came from; never identity


class TaskEntry(Frozen):
    """One entry of ``tasks/registry.yaml``: a data set, a transfer and a metric."""

    name: Name
    label: Label
    dimensions: Literal[2, 3]
    adapter: str = Field(min_length=1)
    transfer: str = Field(min_length=1)
    outputs: Count
    metric: str = Field(min_length=1)
    label_fractions: tuple[Fraction, ...] = (1.0,)
    split: str = Field(min_length=1)
    subset: Literal["fixed", "per_repeat"] = "fixed"
    version: Version
    source: Text
    profiles: tuple[str, ...] = ()  # under which it exists; empty: under every one that is not closed; never identity
    options: dict[str, Any] = Field(default_factory=dict)
    training_images: Count | None = None  # as published, to price a pretraining; never identity
    sample: bool = Field(default=False, strict=True)  # only a part of the data set is meant to be at the data root
    sample_note: str = Field(default="", max_length=200)  # how that part was chosen, for every page; never identity
    data_set: str = ""  # whose licence and citation hold, where a ready layout reads it; never identity
    origin: str = ""

    @field_validator("label_fractions")
    @classmethod
    def _fractions(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        bad = [f for f in value if not 0 < f <= 1]
        if bad or 1.0 not in value or len(set(value)) != len(value):
            raise ValueError(f"found {list(value)}; expected distinct fractions in (0, 1] that include 1.0")
        return tuple(sorted(value))


class Parameters(Frozen):
    """``params.yaml``: what a run is, besides the two registries."""

    profile: str = Field(pattern=KEY)
    repeats: int = Field(ge=1, le=1000, strict=True)
    pretrain_seeds: int = Field(ge=1, le=1000, strict=True)
    base_seed: int = Field(ge=0, lt=2**63, strict=True)
    seed_plan: Literal["independent", "shared"] = "independent"
    alpha: float = Field(gt=0, lt=1, strict=True)


class PhasePlan(Frozen):
    """One stage of a pretraining, resolved under a profile.

    Attributes:
        name: Its terms, as the paper writes them: ``dis``, ``dis+res``, ``dis+res+adv``, ``res``.
        run: Dotted path ``module:function`` of the work (``harness.contracts.Work``).
        configuration: Everything that changes its numbers, versions of components included; JSON values only.
        cohort: Task whose training images it sees (no labels), or None.
        uses: Names of earlier phases of the chain whose folders it reads besides its parent's; their ids reach the work
            as ``spec["uses"]``.
    """

    name: str
    run: str
    configuration: dict[str, Any]
    cohort: str | None = None
    uses: tuple[str, ...] = ()

    @property
    def outline(self) -> PhaseOutline:
        """What is told of it."""
        return PhaseOutline.model_validate(self.configuration)


def _or_none(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValueError:
        return None


class Outline(BaseModel):
    """What is told of something that says more: other keys are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BudgetOutline(Outline):
    """How long a phase trains."""

    count: int | float | None = None
    unit: str = "steps"


class TypeOutline(Outline):
    """What a term is: the dotted path of its configuration."""

    type: str = ""


class TermOutline(Outline):
    """A term of a phase: the part it plays, and what it is."""

    role: Annotated[str | None, WrapValidator(_or_none)] = None
    configuration: TypeOutline = TypeOutline()


class ViewsOutline(Outline):
    """What a network sees: images of a side, or cubes; and whether they are distorted."""

    image_px: int | None = None
    cube: tuple[int, ...] | None = None
    distortion: Annotated[bool, BeforeValidator(bool)] = False


class PhaseOutline(Outline):
    """What is told of a phase whoever's work it is; what it does not say, or says in another form, is None.

    Attributes:
        budget, batch, norm_splits, normalisation, terms, views, image_px, checkpoint_sha256: As ``methods.phases`` has
            them.
        validation, generator: Whether it has them.
    """

    budget: Annotated[BudgetOutline | None, WrapValidator(_or_none)] = None
    batch: Annotated[int | None, WrapValidator(_or_none)] = None
    norm_splits: Annotated[int | None, WrapValidator(_or_none)] = None
    normalisation: Annotated[str | None, WrapValidator(_or_none)] = None
    terms: Annotated[tuple[TermOutline, ...] | None, WrapValidator(_or_none)] = None
    views: Annotated[ViewsOutline | None, WrapValidator(_or_none)] = None
    image_px: Annotated[int | None, WrapValidator(_or_none)] = None
    checkpoint_sha256: Annotated[str | None, WrapValidator(_or_none)] = None
    validation: Annotated[bool, BeforeValidator(bool)] = False
    generator: Annotated[bool, BeforeValidator(bool)] = False

    @property
    def types(self) -> tuple[str, ...]:
        """What its terms are, in order."""
        return tuple(term.configuration.type for term in self.terms or ())


class EncoderSpec(BaseModel):
    """What a trial says of its encoder: who hands it over, and whatever else that needs to know.

    Keys that are not here belong to the method (network, which parts are trained, a weights file); they are JSON values
    and part of the trial's id.

    Attributes:
        obtain: Dotted path of a ``harness.contracts.Obtain``.
        encoder, decoder: ``trained`` where the last phase passes it on.
        checkpoint_sha256: Digest of the file that somebody else trained, where it comes from one.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    obtain: str = ""
    encoder: JsonValue = None
    decoder: JsonValue = None
    checkpoint_sha256: str | None = None

    def dump(self) -> dict[str, JsonValue]:
        """Return what was said, as JSON values: what ``obtain`` is called with."""
        return self.model_dump(exclude_unset=True)


class PhaseShare(Outline):
    """What a method's budget says of a phase; ``images_an_epoch`` where an epoch is not every training image."""

    phase: str = ""
    images_an_epoch: int | None = None


class BudgetShares(Outline):
    """How a method's budget is shared out: by which rule, and what each phase has of it."""

    rule: Annotated[str, BeforeValidator(str)] = "as its recipe says"
    phases: Annotated[tuple[PhaseShare, ...] | None, WrapValidator(_or_none)] = None


class MethodPlan(Frozen):
    """A method resolved under a profile.

    Attributes:
        phases: The chain of phases; each starts from the last state of the one before. Empty for Random.
        encoder: What a trial needs to obtain the backbone, JSON values only: an ``EncoderSpec``, dumped.
        reinitialised: True if the encoder is drawn anew for each repeat (Random), so it has one pretraining
            seed only, and the trial's ``init`` seed makes it.
        pretrain_seeds: Encoders that the profile asks of it; the larger of this and ``params.yaml``'s are trained.
        budget: For the reader: steps or epochs and images seen, by phase.
        unavailable: One sentence why it cannot run here, or None.
    """

    phases: tuple[PhasePlan, ...] = ()
    encoder: dict[str, Any]
    reinitialised: bool = False
    pretrain_seeds: Count = 1
    budget: dict[str, Any] = Field(default_factory=dict)
    unavailable: str | None = None

    @property
    def shares(self) -> BudgetShares:
        """What is told of its budget."""
        return BudgetShares.model_validate(self.budget)


class Citation(Frozen):
    """A publication that whoever uses a data set cites: a BibTeX key and the reference as text."""

    key: str
    text: str


class DataTerms(Frozen):
    """What a data set is called and under which terms it may be used. Never identity.

    Attributes:
        title: Its name, as its owners write it.
        licence: Its licence or terms of use, in words.
        credit: How its owners are named, where they ask for it.
        citations: What its owners ask to be cited.
        url: Where its owners describe it.
    """

    title: str
    licence: str = NOT_STATED
    credit: str = ""
    citations: tuple[Citation, ...] = ()
    url: str = NOT_STATED

    def lines(self) -> tuple[str, ...]:
        """Return it in lines for people: licence, credit where one is asked for, citations, page."""
        cited = "; ".join(f"{one.text.rstrip('.')} ({one.key})" for one in self.citations) or NOT_STATED
        credit = (f"Credit: {self.credit}",) if self.credit else ()
        return (f"Licence: {self.licence}", *credit, f"Cite: {cited}", f"Page: {self.url}")


class CohortOutline(Outline):
    """Where a cohort's images come from: ``phantom`` or ``data_root``."""

    source: Annotated[str | None, WrapValidator(_or_none)] = None


class TransferOutline(Outline):
    """Which validation labels an epoch is chosen by."""

    validation_labels: Annotated[str, BeforeValidator(str)] = "full"


class TaskPlan(Frozen):
    """A task resolved under a profile.

    Attributes:
        cohort_run: Dotted path of the work that builds or indexes the cohort.
        cohort: Its configuration: generator, sizes, version, or the fingerprint of a data root. JSON values only.
        synthetic: True if any pixel was made by a program.
        stamp: What every page prints beside a number from this cohort, e.g. ``SYNTHETIC: analytic phantoms``.
        scale: How small the experiment is, as the profile says it, where pixels are real; else empty. Never identity.
        sample_note: How a sample was chosen, as the entry says it. Never identity.
        terms: Licence and citation of its data set; None where nothing is known of it. Never identity.
        trial_run: Dotted path of the work that fine-tunes and judges.
        transfer: The resolved transfer: image size, normalisation as applied, augmentation, optimiser, schedule,
            batch, selection rule, loss, precision, test-time augmentation, metric protocol, component versions.
        metrics: Names of the values a trial must return, the primary metric first.
        split_published: True if the data set says who is tested: the patients' split is published.
        test_cases: Digest of the published test cases' names, or None where no public list says which they are. An
            absolute number is compared only if the cohort's are these.
        no_images: One sentence why its images cannot be read here (no data root), though the committed results say
            which they are: its ids stand, and nothing that needs an image can run. Else None.
        other_images: One sentence if its data root holds other images than the committed results are of, or None.
        unavailable: One sentence why it cannot run here (no data root, …), or None.
    """

    cohort_run: str
    cohort: dict[str, Any]
    synthetic: bool
    stamp: str
    scale: str = ""
    sample_note: str = ""
    terms: DataTerms | None = None
    trial_run: str
    transfer: dict[str, Any]
    metrics: tuple[str, ...]
    split_published: bool = False
    test_cases: str | None = None
    no_images: str | None = None
    other_images: str | None = None
    unavailable: str | None = None

    @property
    def of_cohort(self) -> CohortOutline:
        """What is told of its cohort's configuration."""
        return CohortOutline.model_validate(self.cohort)

    @property
    def of_transfer(self) -> TransferOutline:
        """What is told of its transfer."""
        return TransferOutline.model_validate(self.transfer)


class ObtainOutline(Outline):
    """Who hands an encoder over: a dotted path."""

    obtain: str = ""


class SubsetOutline(Outline):
    """By which rule labels are drawn, and from which seed."""

    rule: str = ""
    seed: int | None = None


class ItemOutline(Outline):
    """What is told of an item whoever's work it is; what its spec does not say, or says in another form, is empty.

    Attributes:
        method, task, cohort, label_fraction, metrics, encoder, subset, seeds: Of a trial; a cohort has its task too.
        phase: Of a phase its name, of a trial the id of the phase that made its encoder.
        parent: Of a phase the id of the one before it.
        uses: Of a phase: role → id of a phase that it reads.
    """

    method: Annotated[str | None, WrapValidator(_or_none)] = None
    task: Annotated[str | None, WrapValidator(_or_none)] = None
    cohort: Annotated[str | None, WrapValidator(_or_none)] = None
    label_fraction: Annotated[float | None, WrapValidator(_or_none)] = None
    metrics: Annotated[tuple[str, ...] | None, WrapValidator(_or_none)] = None
    encoder: Annotated[ObtainOutline | None, WrapValidator(_or_none)] = None
    subset: Annotated[SubsetOutline | None, WrapValidator(_or_none)] = None
    seeds: Annotated[dict[str, int] | None, WrapValidator(_or_none)] = None
    phase: Annotated[str | None, WrapValidator(_or_none)] = None
    parent: Annotated[str | None, WrapValidator(_or_none)] = None
    uses: Annotated[dict[str, str] | None, WrapValidator(_or_none)] = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing the runner executes.

    Attributes:
        kind: cohort, phase or trial.
        id: ``harness.identity.item_id(kind, spec)``, 64 hexadecimal digits.
        title: For people: ``dira_moco_v2 × chestxray14 · 100 % · repeat 3``.
        run: Dotted path of the work.
        spec: The explicit allowlist of what changes its numbers; JSON values only.
        needs: Ids of the items that must be done first; their folders reach the work as ``context.inputs``.
        cost: Expected seconds on one CPU slot, for "longest first" and the ETA; never identity.
    """

    kind: Kind
    id: str
    title: str
    run: str
    spec: dict[str, Any]
    needs: tuple[str, ...] = ()
    cost: float = 1.0

    @property
    def outline(self) -> ItemOutline:
        """What is told of its spec."""
        return ItemOutline.model_validate(self.spec)

    def dump(self) -> dict[str, JsonValue]:
        """Return it as JSON values."""
        return asdict(self)


RECORD_VERSION = 2


class Record(Frozen):
    """What one attempt left: the JSON file in the store.

    Attributes:
        schema_version: Format of this file; 1 is that of older versions, without a seal.
        kind, id, run, title, spec, needs: The item's.
        ordinal: Which attempt at the item, from 0.
        status: How it ended.
        values: Metric name → value (fractions, not percent); may hold NaN only for a metric that is undefined.
        facts: JSON values that are a function of the spec alone: hashes of the initial head, first batch and
            sample order, selected step, subset hash, number of scored classes, budget spent.
        files: Name → SHA-256 of what the attempt left in its folder.
        error: ``{"type", "message", "traceback"}`` when it did not end ok, and ``reason`` (``Ending``) where its
            process ended without a result.
        provenance: Everything that is not a function of the spec: start time, duration_seconds, host, device,
            device_class (``cpu`` or ``cuda``), executor, slot, workers, library versions, git state.
        seal: SHA-256 over all of the above as JSON (``harness.store.seals``): an edited record is known by it.
    """

    schema_version: int = RECORD_VERSION
    kind: Kind
    id: str
    ordinal: int
    run: str
    title: str
    spec: dict[str, Any]
    needs: tuple[str, ...] = ()
    status: Status
    values: dict[str, float] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    error: dict[str, str] | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    seal: str = ""

    @property
    def outline(self) -> ItemOutline:
        """What is told of its spec."""
        return ItemOutline.model_validate(self.spec)

    @property
    def ending(self) -> Ending | None:
        """Why its process ended, where that left no result; None of any other record, and of older ones."""
        said = (self.error or {}).get("reason")
        return Ending(said) if said in set(Ending) else None

    @field_validator("status")
    @classmethod
    def _an_end(cls, value: Status) -> Status:
        if not value.ends_an_attempt:
            endings = ", ".join(status for status in Status if status.ends_an_attempt)
            raise ValueError(f"found {value}; expected how an attempt ended: {endings}")
        return value


def percent(fraction: float) -> str:
    """Write a label fraction as people read it: ``0.01`` → ``1 %``."""
    return f"{fraction * 100:g} %"


def extras(entry: MethodEntry) -> Mapping[str, object]:
    """Return the keys of a method entry that belong to its recipe, not to every method."""
    return dict(entry.model_extra or {})
