"""The transfers' options, validated: every choice that paper and code leave open has a name here. No torch.

The values are in ``profiles.yaml``; what each means, and what it was in the authors' code, is in ``docs/protocol.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.kernels import Kernels
from harness.plateau import Counting, PlateauRule
from harness.spec import Frozen
from tasks.localization_options import Localization

Resize = Literal["area", "nearest"]  # of a cached image: tasks.cohorts.decode
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class Word(NamedTuple):
    """What a key is called in a dump, and what its values are, where that is another word than today's."""

    key: str
    values: Mapping[str, str] = {}


class Dumped(Frozen):
    """Options whose dump is part of ids, and so keeps the words that it began with; a file knows today's alone."""

    IN_A_DUMP: ClassVar[Mapping[str, Word]] = {}

    @classmethod
    def from_dump(cls, dump: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a dump says in the words of a file."""
        content = dict(dump)
        for name, word in cls.IN_A_DUMP.items():
            if word.key in content:
                value = content.pop(word.key)
                back = {old: new for new, old in word.values.items()}
                content[name] = back.get(value, value) if isinstance(value, str) else value
        return content

    @model_serializer(mode="wrap")
    def _dumped(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self._to_dump(handler(self))

    @classmethod
    def _to_dump(cls, content: dict[str, Any]) -> dict[str, Any]:
        for name, word in cls.IN_A_DUMP.items():
            if name in content:
                value = content.pop(name)
                content[word.key] = word.values.get(value, value) if isinstance(value, str) else value
        return content


class Optimiser(Dumped):
    """Adam or SGD over all parameters, encoder and head alike."""

    IN_A_DUMP: ClassVar[Mapping[str, Word]] = {"learning_rate": Word("lr")}

    name: Literal["adam", "sgd"]
    learning_rate: Positive
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(ge=0.0)


class Plateau(Frozen):
    """Multiply the learning rate by ``factor`` after more than ``patience`` evaluations without a better loss."""

    name: Literal["plateau"]
    factor: Fraction
    patience: int = Field(ge=0)
    threshold: float = Field(ge=0.0)

    def rule(self, counting: Counting) -> PlateauRule:
        """Return the rule; PyTorch's name of the share that a loss must fall is ``threshold``."""
        return PlateauRule(factor=self.factor, patience=self.patience, min_delta=self.threshold, counting=counting)


class VolumePlateau(Frozen):
    """Multiply the learning rate by ``factor`` after ``patience`` evaluations without a better loss.

    Attributes:
        min_delta: Least fall of the loss that counts as better; under ``counting: torch`` as a share of the best loss.
        min_lr: The rate never falls below it.
    """

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0.0, le=1.0)]
    patience: int = Field(ge=0)
    min_delta: float = Field(ge=0.0)
    min_lr: float = Field(ge=0.0)

    def rule(self, counting: Counting) -> PlateauRule:
        """Return the rule."""
        return PlateauRule(
            factor=self.factor, patience=self.patience, min_delta=self.min_delta, min_lr=self.min_lr, counting=counting
        )


class Cosine(Dumped):
    """Half a cosine down to 0, stepped after each epoch or each optimiser step."""

    IN_A_DUMP: ClassVar[Mapping[str, Word]] = {"per": Word("over", {"epoch": "epochs", "step": "steps"})}

    name: Literal["cosine"]
    per: Literal["epoch", "step"]


class Constant(Frozen):
    """The learning rate stays."""

    name: Literal["constant"]


Schedule = Plateau | VolumePlateau | Cosine | Constant


class CropAugmentation(Frozen):
    """Classification: a random resized crop, a horizontal flip, a rotation, in this order (0 beyond the border)."""

    crop_scale: tuple[Fraction, Fraction]
    crop_ratio: tuple[Positive, Positive]
    flip: Fraction
    rotation_degrees: float = Field(ge=0.0)


class DeformationAugmentation(Frozen):
    """Segmentation: the probabilities and strengths of the library's transforms, in this order."""

    intensity: Fraction
    deformation: Fraction
    sized_crop: Fraction
    brightness: Fraction
    contrast: Fraction
    gamma: tuple[Positive, Positive]
    elastic_alpha: Positive
    elastic_sigma: Annotated[float, Field(ge=1.0)]
    affine_px: float = Field(ge=0.0)
    grid_steps: int = Field(ge=1)
    grid_limit: Fraction
    optical_limit: float = Field(ge=0.0)
    optical_shift: float = Field(ge=0.0)
    crop_px: tuple[int, int]
    border: Literal["reflect", "constant"]


class ScoreProtocol(Frozen):
    """How predictions become numbers.

    Attributes:
        threshold: Probability from which on a pixel counts as foreground.
        empty_score: Dice of an image whose mask and prediction are both empty.
        resamples: Patient resamples of the primary metric.
        spacing_mm: Millimetres between neighbouring pixels along each axis, for a metric in millimetres; None: no such
            metric, or patches whose own spacing is known.
    """

    threshold: Fraction
    empty_score: Fraction = 1.0
    resamples: int = Field(ge=2)
    spacing_mm: tuple[Positive, ...] | None = Field(default=None, min_length=2, max_length=3)

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Leave ``spacing_mm`` out where nobody says it: identities without millimetres are what they were."""
        content = handler(self)
        said = {key: value for key, value in content.items() if key != "spacing_mm" or value is not None}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}


class ClassificationHead(Frozen):
    """Global average pool, then one linear layer: weights N(0, ``initial_std``), bias 0."""

    initial_std: Positive


class SegmentationHead(Frozen):
    """One convolution from the decoder's channels to one logit a pixel."""

    kernel: Literal[1, 3]


class Length(Frozen):
    """How long a transfer trains: so many epochs, or so many optimiser steps."""

    unit: Literal["epochs", "steps"]
    count: int = Field(ge=1)


class Training(Dumped):
    """How long and how fast, what is kept, and how it is scored: the same for every transfer.

    Attributes:
        validation_every: Steps between two evaluations; None evaluates after each epoch.
        early_stopping: Evaluations without a better validation loss that end it; None: none do.
        selection: Which evaluation's weights are kept.
        validation_labels: Whether a label fraction leaves validation ``full`` (as the paper seems to: 753 labels to
            train on beside 11,212 to choose by), or thins it by the ``same_fraction``.
        augment_validation: Augment the validation images once and for all (segmentation alone).
        precision: Of the passes: ``bf16`` and ``fp16`` compute in half where PyTorch holds it safe; ``fp16``, for a GPU
            that has no bf16, with a loss scale that adapts.
        kernels: ``reproducible`` (None means that, and is no part of an id) or ``fastest``: what a GPU may compute
            with (``harness.kernels``).
    """

    IN_A_DUMP: ClassVar[Mapping[str, Word]] = {
        "validation_every": Word("evaluate_every"),
        "selection": Word(
            "selection",
            {"lowest_validation_loss": "validation_loss", "highest_validation_metric": "validation_metric"},
        ),
        "precision": Word("precision", {"bf16": "bfloat16"}),
    }

    optimiser: Optimiser
    schedule: Schedule  # narrowed by each transfer
    batch: int = Field(ge=1)
    length: Length
    validation_every: int | None = Field(default=None, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    selection: Literal["lowest_validation_loss", "highest_validation_metric"]
    augment_validation: bool
    validation_labels: Literal["full", "same_fraction"] = "full"
    precision: Literal["float32", "bf16", "fp16"]
    kernels: Kernels | None = None
    subset_unit: Literal["image", "patient"]
    metric: ScoreProtocol
    threads: int = Field(ge=1)

    @property
    def patience_counting(self) -> Counting:
        """How a patience is counted; in 2D the benchmark's own loop counts as PyTorch does."""
        return "torch"

    @property
    def steps(self) -> int | None:
        """Its length in steps; None where that is in epochs."""
        return self.length.count if self.length.unit == "steps" else None

    @property
    def epochs(self) -> int | None:
        """Its length in epochs; None where that is in steps."""
        return self.length.count if self.length.unit == "epochs" else None

    @classmethod
    def from_dump(cls, dump: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a dump says in the words of a file: there a length is two keys, one of them null."""
        content = super().from_dump(dump)
        lengths = {unit: content.pop(unit, None) for unit in ("epochs", "steps")}
        given = [{"unit": unit, "count": count} for unit, count in lengths.items() if count is not None]
        if len(given) == 1:
            content["length"] = given[0]
        for name, model in (("optimiser", Optimiser), ("schedule", Cosine)):
            if isinstance(content.get(name), Mapping):
                content[name] = model.from_dump(content[name])
        return content

    @classmethod
    def _to_dump(cls, content: dict[str, Any]) -> dict[str, Any]:
        length = content.pop("length", None)
        if length is not None:
            content |= {"epochs": None, "steps": None, length["unit"]: length["count"]}
        return super()._to_dump(content)

    @model_validator(mode="after")
    def _length(self) -> Training:
        if self.steps is not None and self.validation_every is None:
            raise ValueError("found a length in steps without validation_every; it has no epochs to evaluate after")
        if self.steps is None and isinstance(self.schedule, Cosine) and self.schedule.per == "step":
            raise ValueError("found a cosine per step for a length in epochs; write per: epoch")
        return self


class _Transfer(Training):
    schedule: Annotated[Plateau | Cosine | Constant, Field(discriminator="name")]
    image_px: int = Field(ge=32, multiple_of=32)  # five halvings


class ClassificationTransfer(_Transfer):
    """Encoder → average pool → linear layer → sigmoid, multi-label.

    Attributes:
        resize_px: Side to which an image is resized before it is cropped to ``image_px`` for validation and test.
        uncertain: What an uncertain label stands for (``tasks.transfer.labels``); None where a data set has none.
        scored_labels: Classes whose mean is the metric; None: all. With as many ``outputs``, they alone are trained.
        normalisation: ``imagenet`` mean and std, ``chestxray`` (.5056, .252) or ``none``.
        test_time_augmentation: ``ten_crop``: mean of ten sigmoid outputs; ``centre_crop``; ``none``: as validation.
        localization: How evidence maps are scored against real boxes, on the whole label set; None: they are not made.
    """

    resize_px: int = Field(ge=8)
    normalisation: Literal["imagenet", "chestxray", "none"]
    augmentation: CropAugmentation
    loss: Literal["binary_cross_entropy"]
    head: ClassificationHead
    uncertain: Literal["ones", "zeros", "lsr_ones", "lsr_zeros", "ignore"] | None = None
    scored_labels: tuple[str, ...] | None = None
    augment_validation: Literal[False]
    test_time_augmentation: Literal["ten_crop", "centre_crop", "none"]
    localization: Localization | None = None

    @model_validator(mode="after")
    def _sizes(self) -> ClassificationTransfer:
        if self.resize_px < self.image_px:
            raise ValueError(f"found resize_px {self.resize_px} below image_px {self.image_px}; crops cannot be larger")
        return self


class SegmentationTransfer(_Transfer):
    """Encoder → decoder → convolution → sigmoid, one foreground.

    Attributes:
        dice_smooth: Added to numerator and denominator of the soft Dice over the whole batch.
        validation_dice: ``batches``: the validation loss is the mean of the soft Dice of batches as in training (the
            authors' code); ``whole``: one soft Dice of all validation images.
    """

    normalisation: Literal["imagenet", "chestxray", "none"]
    augmentation: DeformationAugmentation
    loss: Literal["soft_dice"]
    head: SegmentationHead
    dice_smooth: Positive
    validation_dice: Literal["batches", "whole"]
    test_time_augmentation: Literal["none"]


class Split(Frozen):
    """How cases are divided; always by patient.

    Attributes:
        rule: ``official``: the data set's own test list; ``random``: drawn with ``seed``.
        test_fraction: Under ``random``: share of all patients held out for test.
        validation_fraction: Share of what is not test held out for validation, where no published list says which.
        seed: Of the draw.
        sample: The entry's ``sample``: only a part of the data set is meant to be there. Listed cases that are absent
            are left out with a note, and the test cases never count as the published ones.
    """

    rule: Literal["official", "random"]
    test_fraction: Fraction | None = None
    validation_fraction: float = Field(gt=0.0, lt=1.0)
    seed: int = Field(ge=0)
    sample: bool = False

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Leave ``sample`` out where it is false: a whole data set is what it was before there were samples."""
        content: dict[str, JsonValue] = handler(self)
        return content if self.sample else {key: value for key, value in content.items() if key != "sample"}

    @model_validator(mode="after")
    def _rule(self) -> Split:
        if self.rule == "random" and not self.test_fraction:
            raise ValueError("rule random needs test_fraction above 0")
        return self
