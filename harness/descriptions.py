"""What ``results/`` tells of a cohort and of a pretraining, as its readers see it.

The files hold more than this. What a file does not say is empty; ``whole`` keeps all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from harness.spec import Outline, PhaseOutline


class Told(Outline):
    """Something whose every key may be absent; what a file says in another form is as if it said nothing."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_nothing(cls, value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        try:
            return check(value)
        except ValueError:
            return cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)


class Whole(Outline):
    """A file of which only a part has a type.

    Attributes:
        whole: All that it says, for a page that shows it.
    """

    whole: Mapping[str, object] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _keep(cls, given: object) -> object:
        return {**given, "whole": given} if isinstance(given, Mapping) else given


class SplitDescription(Told):
    """How a cohort was divided: whether it is a declared sample of its data set."""

    sample: bool = False


class CohortConfigurationDescription(Told):
    """What is told of the configuration of a cohort."""

    split: SplitDescription = SplitDescription()


class CohortCounts(Told):
    """How much a cohort holds: its images, its annotated boxes, the images that have one, and the boxes by class."""

    images: int | None = None
    boxes: int = 0
    boxed_images: int = 0
    boxes_by_class: Mapping[str, int] = Field(default_factory=dict)


class AlwaysEmpty(Told):
    """What a model scores that never finds anything.

    Attributes:
        empty_masks, test_images: How many of the test images have an empty mask.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)

    empty_masks: int = 0
    test_images: int = 0

    @property
    def scores(self) -> Mapping[str, float]:
        """Metric → its value, a fraction."""
        return self.__pydantic_extra__


class CohortDescription(Whole, Told):
    """What is told of a cohort in ``cohorts/<task>.json``.

    Attributes:
        synthetic: Whether a program made its images.
        scale: How small the experiment is, where images are real and the profile is smaller than the paper.
        sample_note: How a sample was chosen.
        image_px: Side in pixels, or the shape of a patch.
        validation_units: How many labels there are to choose an epoch by.
        validation_labels: ``same_fraction`` where these are thinned as the training labels.
        facts: What the adapter counted while it read the files.
    """

    synthetic: bool = False
    scale: str = ""
    sample_note: str = ""
    image_px: int | tuple[int, ...] | None = None
    validation_units: int | None = None
    validation_labels: str = "full"
    configuration: CohortConfigurationDescription = CohortConfigurationDescription()
    counts: CohortCounts = CohortCounts()
    always_empty: AlwaysEmpty = AlwaysEmpty()
    facts: Mapping[str, JsonValue] = Field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Why numbers on its real images are not the paper's: ``64 px, sample of 1,000``; empty where nothing differs.

        ``scale`` is there where the profile is smaller than the paper; the cohort's own side in pixels says how small.
        """
        parts = []
        if self.scale:
            parts.append(f"{self.image_px} px" if isinstance(self.image_px, int) else self.scale)
        if self.configuration.split.sample:
            images = self.counts.images
            parts.append("a sample" if images is None else f"sample of {images:,}")
        return ", ".join(parts)


class PhaseDescription(Outline):
    """What is told of a phase.

    Attributes:
        status: How it ended, in the words of ``harness.spec.Status``.
        configuration: As the method gave it, whoever's it is.
        measurements: What it measured on held-out images; ``harness.gates`` checks them.
    """

    name: str
    id: str = ""
    status: str = "ok"
    configuration: Mapping[str, JsonValue] = Field(default_factory=dict)
    measurements: object = ()

    @property
    def outline(self) -> PhaseOutline:
        """What is told of its configuration."""
        return PhaseOutline.model_validate(self.configuration)


class ChainDescription(Outline):
    """The phases that one pretraining seed went through, in order."""

    pretrain_seed: int
    phases: tuple[PhaseDescription, ...]


class PretrainingDescription(Whole):
    """What is told of a method in ``pretraining/<method>.json``.

    Attributes:
        cohorts: Tasks whose training images it saw.
        pretraining_seeds: A chain of phases a seed.
    """

    method: str
    cohorts: tuple[str, ...] = ()
    pretraining_seeds: tuple[ChainDescription, ...]

    @property
    def phases(self) -> tuple[PhaseDescription, ...]:
        """The phases of the first seed; none where nothing was pretrained."""
        return self.pretraining_seeds[0].phases if self.pretraining_seeds else ()
