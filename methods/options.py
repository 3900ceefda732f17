"""What profiles and entries of methods can say, typed: every mapping has a model here, or is a term's own. No torch.

A number stays as the file has it (``harness.typed.Number``), because what a phase is made of enters its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.errors import ConfigurationError, unknown
from harness.kernels import Kernels
from harness.plateau import Counting
from harness.spec import Frozen
from harness.typed import NotNegative, Number, Rate
from methods.terms import TERMS, term_class

NO_TERM = "none"  # stands for the discrimination term of a method without one
# Names of backbones (``methods.networks``), here without torch.
Network = Literal["unet_resnet50", "unet_resnet_w16", "transvw_keras", "transvw_pytorch", "transvw_keras_w4"]
Share = Annotated[Number, Field(ge=0.0, lt=1.0)]
Steps = Annotated[int, Field(ge=1)]
Sides = tuple[Steps, Steps, Steps]


def _discrimination(name: str) -> str:
    """Check a key that stands for a discrimination term; one from outside is a dotted path."""
    if name == NO_TERM or ":" in name:
        return name
    try:
        term_class(name, "discrimination")
    except ConfigurationError:
        known = [short for short in TERMS if short not in ("restoration", "adversary")]
        raise ValueError(str(unknown("discrimination term", name, [*known, NO_TERM], "the profile"))) from None
    return name


def _term(name: str) -> str:
    if ":" not in name and name not in TERMS:
        raise ValueError(str(unknown("term", name, TERMS, "the profile")))
    return name


Base = Annotated[str, AfterValidator(_discrimination)]
TermName = Annotated[str, AfterValidator(_term)]


class _Optimiser(Frozen):
    """What every optimiser has.

    Attributes:
        learning_rate: Before the schedule.
        weight_decay: Of all parameters that decay.
        per_batch: The rates are those of a batch of this size and grow in proportion to the batch; left out: they are
            the batch's own.
    """

    learning_rate: Rate
    weight_decay: NotNegative
    per_batch: Steps | None = None


class Sgd(_Optimiser):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    momentum: Share


class Adam(_Optimiser):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"]
    betas: tuple[Share, Share] = (0.9, 0.999)


class Lars(_Optimiser):
    """Layer-wise adaptive rates (You 2017).

    Attributes:
        one_dimensional_rate: Learning rate of biases and norms.
        trust: Trust coefficient η.
    """

    name: Literal["lars"]
    one_dimensional_rate: Rate
    momentum: Share
    trust: Rate


Optimiser = Annotated[Sgd | Adam | Lars, Field(discriminator="name")]


class WarmUp(Frozen):
    """How long the rate rises linearly from 0: so many epochs, or a share of the phase."""

    epochs: Steps | None = None
    share: Annotated[Number, Field(gt=0.0, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> WarmUp:
        if (self.epochs is None) == (self.share is None):
            raise ValueError(f"found epochs {self.epochs} and share {self.share}; expected exactly one of them")
        return self


class _Schedule(Frozen):
    """What every schedule has.

    Attributes:
        per: Whether the rate changes with each ``step`` or each ``epoch``.
        warm_up: The rise before it, if there is one.
    """

    per: Literal["step", "epoch"]
    warm_up: WarmUp | None = None


class Cosine(_Schedule):
    """Half a cosine down to ``final`` of the learning rate."""

    name: Literal["cosine"]
    final: Annotated[Number, Field(ge=0.0, le=1.0)] | None = None


class Constant(_Schedule):
    """The learning rate stays."""

    name: Literal["constant"]


class _Fall(Frozen):
    """When a rate falls on a validation loss that does not; see ``harness.plateau.PlateauRule``."""

    factor: Annotated[Number, Field(gt=0.0, le=1.0)]
    patience: Annotated[int, Field(ge=0)]
    min_delta: NotNegative | None = None
    min_lr: NotNegative | None = None
    counting: Counting | None = None


class Plateau(_Schedule, _Fall):
    """Multiply the learning rate by ``factor`` when the validation loss no longer falls."""

    name: Literal["plateau"]


Schedule = Annotated[Cosine | Constant | Plateau, Field(discriminator="name")]


def without_effect(options: Mapping[str, object], needs: Mapping[str, tuple[str, bool]]) -> list[str]:
    """Write a sentence for each option of an entry that changes nothing there.

    Args:
        options: The entry's own.
        needs: Option → what it needs, in words, and whether the entry has that.
    """
    return [
        f"options.{name}: has no effect without {what}; remove it, or add that."
        for name, (what, present) in needs.items()
        if name in options and not present
    ]


class Shapes(Frozen):
    """How many pictures of shapes are drawn (``methods.shapes``), how large, and from which seed."""

    seed: Annotated[int, Field(ge=0)]
    train: Steps
    validation: Steps
    px: Annotated[int, Field(ge=8)]


class Autoencoder(Frozen):
    """How the features are learnt that say which scans are alike (``methods.volumes.autoencoder``).

    Attributes:
        shape: To which a whole scan is resized, X, Y, Z.
        batch: Scans in one optimiser step.
        epochs: At most.
        learning_rate: Of Adam.
        plateau: When it falls.
        stop_after: So many epochs without a better validation loss end it.
    """

    shape: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]]
    batch: Steps
    epochs: Steps
    learning_rate: Rate
    plateau: _Fall
    stop_after: Steps


class Words(Frozen):
    """Where and how visual words are drawn (``methods.volumes.words``).

    Attributes:
        border: Voxels left out around (X and Y) and at the ends (Z).
        apart: Least distance of two corners in a scan, in voxels.
        tissue_hu: What is denser, in Hounsfield units, is tissue.
        tissue_share: At most so much of a cube is tissue.
        tries: Places tried in a scan.
        nearest_training: So many training scans that look alike have the word.
        nearest_validation: Likewise of validation scans.
        more_resolutions: Besides a cube's own.
    """

    border: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    apart: NotNegative
    tissue_hu: Number
    tissue_share: Annotated[Number, Field(ge=0.0, le=1.0)]
    tries: Steps
    nearest_training: Steps
    nearest_validation: Steps
    more_resolutions: Annotated[int, Field(ge=0)]


class PretextOptions(Frozen):
    """Choices that paper and authors' code leave open or answer differently; each moves numbers.

    Attributes:
        budget: Overrides the profile's way to share the training among phases (``matched``, ``as_paper``, ``code``);
            the profile must hold the amounts it needs.
        adversarial_loss: ``lsgan`` (code), ``bce`` or ``log`` (paper Eq. 3).
        discriminator: ``blocks_and_output`` (code) or ``four`` (paper §4.1).
        adversary_batch: Batch of the phase with the adversary; the authors' code has 16, at an unchanged learning
            rate. None keeps the profile's batch.
        restoration_distance: ``l2`` or ``l1``.
        restoration_target: ``unflip``: the target is the crop before the flip, so the flip must be undone (code; Eq.
            2 agrees); ``aligned``: the target is flipped with the view.
        outer_cutout: Whether the distortion includes the outer cutout (code) or not (paper's text).
        distortion: In which phases views are distorted: ``with_restoration`` (code), ``always`` (the control that
            "only varies the loss", §6) or ``never``.
        start_from: State of the phase before: ``last`` (code) or ``best`` (its backbone of the lowest validation
            loss, the rest from the last).
        selection: ``lowest_total_validation_loss`` (paper and code) or ``last``. A loss against a queue is not
            comparable between steps (a young queue is easy), so the lowest may be an early one.
        norm_splits: Batch norm over so many equal parts of the batch, with keys shuffled (the authors train on 4
            GPUs without synchronised batch norm); 1 is plain batch norm over the batch on one device.
        normalisation: ``none`` (code) or ``imagenet`` mean and standard deviation at the network's input.
        precision: ``float32``, or ``bf16`` or ``fp16`` (autocast; fp16 with a loss scale that adapts).
        channels_last: Whether float32 on a CPU keeps images channels last in memory, which is faster there and sums in
            another order; a GPU and half precision always do.
        kernels: ``reproducible`` or ``fastest``: what a GPU may compute with (``harness.kernels``).
        learning_rate: Overrides the optimiser's.
        term: Fields of the discrimination term's configuration (``queue``, ``temperature``, …).
        pairs: ``same_image``: query and key are two views of one image (every base of the paper); ``same_class``: the
            key is a view of another image of the same class, which §3.1 allows ("two samples from the same cluster").
        pair_class: For ``same_class``, the column of the cohort's ``cases.csv`` that says the class: a pseudo-label
            (``cluster`` or ``word``), or a label, which the entry must own up to in ``saw_labels_of``.
        optimiser: Overrides the profile's; needed for a term that the profile does not know.
        schedule: Likewise.
        cohort: Task whose training images are pretrained on; None: the profile's.
        own_length: Length of the base's own schedule in the profile's unit, under ``as_paper`` and ``code``; likewise.
    """

    budget: Literal["matched", "as_paper", "code"] | None = None
    adversarial_loss: Literal["lsgan", "bce", "log"] = "lsgan"
    discriminator: Literal["blocks_and_output", "four"] = "blocks_and_output"
    adversary_batch: int | None = Field(default=None, ge=2)
    restoration_distance: Literal["l2", "l1"] = "l2"
    restoration_target: Literal["unflip", "aligned"] = "unflip"
    outer_cutout: bool = True
    distortion: Literal["with_restoration", "always", "never"] = "with_restoration"
    start_from: Literal["last", "best"] = "last"
    selection: Literal["lowest_total_validation_loss", "last"] = "lowest_total_validation_loss"
    norm_splits: int = Field(default=1, ge=1)
    normalisation: Literal["none", "imagenet"] = "none"
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    channels_last: bool = False
    kernels: Kernels = "reproducible"
    learning_rate: float | None = Field(default=None, gt=0)
    term: dict[str, Any] = Field(default_factory=dict)
    pairs: Literal["same_image", "same_class"] = "same_image"
    pair_class: str = Field(default="cluster", min_length=1)
    optimiser: Optimiser | None = None
    schedule: Schedule | None = None
    cohort: str | None = Field(default=None, min_length=1)
    own_length: int | None = Field(default=None, ge=1)


class VolumesOptions(Frozen):
    """Choices that paper and code leave open or answer differently; each moves numbers.

    Attributes:
        network: ``transvw_keras`` or ``transvw_pytorch``, where the profile has one of these two.
        head: Of the classification: ``keras`` or ``pytorch``; None takes the network's release's.
        painting: ``keras`` (one constant) or ``pytorch`` (noise, other sizes); None takes the network's release's.
        words: How many visual words.
        adversarial_loss: ``lsgan``, ``bce`` or ``log``.
        adversary_rate: Learning rate of the discriminator; the paper has 1e-3 in 3D.
        learning_rate: Of backbone and heads; None takes the profile's.
        precision: ``float32``, ``bf16`` or, where a card has no bf16, ``fp16``.
        kernels: ``reproducible`` or ``fastest``: what a GPU may compute with (``harness.kernels``).
        selection: ``lowest_total_validation_loss`` or ``last``.
    """

    network: Literal["transvw_keras", "transvw_pytorch"] | None = None
    head: Literal["keras", "pytorch"] | None = None
    painting: Literal["keras", "pytorch"] | None = None
    words: int | None = Field(default=None, ge=2)
    adversarial_loss: Literal["lsgan", "bce", "log"] = "lsgan"
    adversary_rate: float = Field(default=1e-3, gt=0)
    learning_rate: float | None = Field(default=None, gt=0)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    kernels: Kernels = "reproducible"
    selection: Literal["lowest_total_validation_loss", "last"] = "lowest_total_validation_loss"
