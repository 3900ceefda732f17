"""What a phase of a pretraining is, typed: recipes fill it, works read it, its JSON is part of its id. No torch.

A key that is left out of a configuration stays out of its JSON (``Part.dump``): what a field means when it is absent is
its default here, and adding a field with a default moves no id.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from harness.kernels import Kernels
from harness.spec import EncoderSpec, Frozen
from harness.typed import Number, given
from methods.options import Autoencoder, Optimiser, Schedule, Shapes, Sides, Steps, Words
from methods.terms import Term, from_json, to_json

Unit = Literal["steps", "epochs"]
Role = Literal["discrimination", "restoration", "adversary"]
M = TypeVar("M", bound=BaseModel)


def without_nulls(model: M) -> M:
    """Return a model that says what the given one says, but for nulls: they say what silence says."""
    return type(model).model_validate(given(model))


class Part(Frozen):
    """A specification or a part of one."""

    def dump(self) -> dict[str, JsonValue]:
        """Return what was said, as JSON values: defaults that nobody wrote are left out, nulls that were stay."""
        return given(self, nulls=True)


class NetworkSpec(Part):
    """A backbone (``methods.networks.build``).

    Attributes:
        name: As ``methods.networks`` has it.
        in_channels: 3; in 3D 1.
        zero_init_residual: Whether the last batch norm of every residual block starts at γ = 0, as SimSiam and Barlow
            Twins have it; 2D alone.
    """

    name: str
    in_channels: int
    zero_init_residual: bool = False


class BackboneSpec(EncoderSpec):
    """What a trial says of an encoder that ``methods.obtain`` hands over.

    Attributes:
        network: The backbone.
        encoder: Loaded from the last phase, or drawn from the trial's seed.
        decoder: Likewise.
        versions: Component → version.
    """

    network: NetworkSpec
    encoder: Literal["trained", "random"]
    decoder: Literal["trained", "fresh"]
    versions: dict[str, int] = Field(default_factory=dict)


class Budget(Part):
    """How long a phase trains."""

    unit: Unit
    count: int


class ValidationSpec(Part):
    """When a phase is validated.

    Attributes:
        unit, every: So often.
        images: On the first so many validation images, or on all.
    """

    unit: Unit
    every: int
    images: int | None = None


class ImageViews(Part):
    """How views of a 2D image are made (``methods.view_parameters``).

    Attributes:
        image_px: Side of a view.
        distortion: Whether views are cut out or shuffled.
        outer_cutout: Whether that includes the outer cutout.
        target: What a distorted view is restored to: the crop as it was, or flipped with the view.
        pairs: Whether the key is a view of the same image, or of another one of its class.
        pair_class: The column of ``cases.csv`` that says the class.
    """

    image_px: int
    distortion: bool
    outer_cutout: bool = True
    target: Literal["unflip", "aligned"] = "unflip"
    pairs: Literal["same_image", "same_class"] = "same_image"
    pair_class: str = ""

    @property
    def smallest_side(self) -> int:
        """Smallest side of what the network sees."""
        return self.image_px


class CubeViews(Part):
    """How cubes are distorted (``methods.volumes.transforms``).

    Attributes:
        cube: Sides X, Y, Z.
        painting: As the Keras or as the PyTorch release paints.
    """

    cube: Sides
    painting: str

    @property
    def smallest_side(self) -> int:
        """Smallest side of what the network sees."""
        return min(self.cube)


class TermConfiguration(BaseModel):
    """A term's own configuration as ``methods.terms.to_json`` writes it: its type, and fields that it alone knows."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str

    def term(self) -> Term:
        """Return the term's own configuration."""
        return from_json(given(self, nulls=True))


class TermSpec(Part):
    """One weighted term of an objective; one of weight 0 is not built."""

    role: Role
    weight: Number
    configuration: TermConfiguration

    @classmethod
    def of(cls, role: Role, weight: float, term: Term) -> TermSpec:
        """Write a term down."""
        return cls(role=role, weight=weight, configuration=TermConfiguration.model_validate(to_json(term)))


class PhaseConfiguration(Part):
    """What every phase says of itself.

    Attributes:
        network: The backbone.
        versions: Component → version.
        entry_version: The entry's own, where code from outside this repository takes part.
    """

    network: NetworkSpec
    versions: dict[str, int] = Field(default_factory=dict)
    entry_version: int | None = None


class TrainedConfiguration(PhaseConfiguration):
    """A phase that ``methods.training`` trains.

    Attributes:
        budget: How long.
        batch: Images in one optimiser step, over all processes and micro-batches.
        optimiser: Of backbone and heads, at this batch.
        schedule: Its rate's.
        validation: When.
        selection: Which weights are kept: those of the lowest validation loss, or of the last validation.
        precision: Of the passes.
        norm_splits: Batch norm over so many equal parts of the batch.
        channels_last: Whether float32 on a CPU keeps images channels last in memory.
        threads_on_cpu: Threads that made the numbers.
        kernels: What a GPU may compute with (``harness.kernels``).
    """

    budget: Budget
    batch: Steps
    optimiser: Optimiser
    schedule: Schedule
    validation: ValidationSpec
    selection: Literal["lowest_total_validation_loss", "lowest_validation_loss", "last"]
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    norm_splits: int = 1
    channels_last: bool = False
    threads_on_cpu: int = 1
    kernels: Kernels = "reproducible"


class PretextConfiguration(TrainedConfiguration):
    """A phase that learns from images alone.

    Attributes:
        normalisation: What the network's input is normalised with.
        views: How its input is made.
        terms: Its objective.
        start: From nothing, or from the parent's last or best state.
    """

    normalisation: Literal["none", "imagenet"] = "none"
    views: ImageViews | CubeViews
    terms: tuple[TermSpec, ...]
    start: Literal["fresh", "last", "best"] = "fresh"


class ImageConfiguration(PretextConfiguration):
    """A pretext phase on views of images."""

    views: ImageViews


class CubeConfiguration(PretextConfiguration):
    """A pretext phase on cubes."""

    views: CubeViews


class LabelConfiguration(TrainedConfiguration):
    """A phase that learns labels (``methods.supervised``).

    Attributes:
        image_px: Side of a view.
        generator: What is drawn to learn from; None: the labels of a cohort.
        loss: Of classes, or of findings.
    """

    image_px: int
    generator: Shapes | None
    loss: Literal["cross_entropy", "binary_cross_entropy"]


class WordRules(Words):
    """``Words`` with what is looked for.

    Attributes:
        cube: Sides X, Y, Z.
        words: How many.
    """

    cube: Sides
    words: int


class DiscoveryConfiguration(PhaseConfiguration):
    """The discovery of visual words (``methods.volumes.discovery``)."""

    autoencoder: Autoencoder
    words: WordRules
    budget: Budget | None = None
    threads_on_cpu: int = 1


class ImportConfiguration(PhaseConfiguration):
    """Weights that somebody else trained (``methods.external``).

    Attributes:
        checkpoint_sha256: The file.
        key_map: How its names become ours.
        parts: What is taken.
        state: Which set of weights, where it holds several.
    """

    checkpoint_sha256: str
    key_map: str | dict[str, str]
    parts: Literal["encoder", "encoder_decoder"]
    state: str | None = None


class PhaseSpec(Part):
    """What the work of a phase is given; the plan writes it.

    Attributes:
        phase: Its name.
        configuration: See the classes above.
        cohort: Id of the cohort item it trains on, or None.
        parent: Id of the phase item before it, or None.
        base_seed, pretrain_seed: What ``seed`` was made of.
        seed: Everything is drawn from it.
        uses: Name of an earlier phase → its id, for those whose folders it reads.
    """

    phase: str
    configuration: PhaseConfiguration
    cohort: str | None = None
    parent: str | None = None
    base_seed: int = 0
    pretrain_seed: int = 0
    seed: int
    uses: dict[str, str] = Field(default_factory=dict)


class TrainedSpec(PhaseSpec):
    """A phase that ``methods.training`` trains."""

    configuration: TrainedConfiguration


class PretextSpec(TrainedSpec):
    """A phase that learns from images or cubes alone."""

    configuration: PretextConfiguration


class ImageSpec(PretextSpec):
    """A pretext phase on images: of the cohort ``cohort``."""

    configuration: ImageConfiguration
    cohort: str


class CubeSpec(PretextSpec):
    """A pretext phase on cubes: those of the phase ``uses["discovery"]``."""

    configuration: CubeConfiguration


class LabelSpec(TrainedSpec):
    """A phase that learns labels."""

    configuration: LabelConfiguration


class DiscoverySpec(PhaseSpec):
    """The discovery of visual words in the scans of the cohort ``cohort``."""

    configuration: DiscoveryConfiguration
    cohort: str


class ImportSpec(PhaseSpec):
    """Weights that somebody else trained."""

    configuration: ImportConfiguration
