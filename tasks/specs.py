"""What a work of ``tasks/`` is given, typed: a trial and a cohort as the plan writes them into an identity. No torch.

A work begins with ``TrialSpec.model_validate(raw)`` or ``CohortSpec.model_validate(raw)``, and reads attributes from
there on. ``dump()`` returns the JSON values that identity is computed from: a key that was absent stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, JsonValue, Tag, TypeAdapter, model_validator

from harness.errors import DataError
from harness.spec import EncoderSpec, Frozen
from tasks.options import ClassificationTransfer, Resize, SegmentationTransfer, Split, Training
from tasks.patch_options import Patches, ScanStore, VolumeClassificationTransfer, VolumeSegmentationTransfer

LEFT_OUT = ("kernels", "localization", "scored_labels", "uncertain")  # no part of an id where nothing is said


class Resolved(Frozen):
    """What a resolved transfer says besides the options of its kind.

    Attributes:
        outputs: Logits of a case, or of a pixel.
        versions: Component → version of the code that its numbers come from.
    """

    outputs: int
    versions: dict[str, int]

    @model_validator(mode="before")
    @classmethod
    def _of_a_dump(cls, raw: object) -> object:
        return Training.from_dump(raw) if isinstance(raw, Mapping) else raw

    def dump(self) -> dict[str, JsonValue]:
        """Return the JSON values that are part of a trial's id."""
        absent = {name for name in LEFT_OUT if getattr(self, name, None) is None}
        content: dict[str, JsonValue] = self.model_dump(mode="json", exclude=absent)
        return content


class ImageClassification(Resolved, ClassificationTransfer):
    """Labels of images."""

    kind: Literal["classification"]
    dimensions: Literal[2]
    cache_px: int  # side of the cohort's images


class ImageSegmentation(Resolved, SegmentationTransfer):
    """A foreground of images.

    Attributes:
        augmentation_library: The numbers come from its sampling code, so its version is part of what they are.
    """

    kind: Literal["segmentation"]
    dimensions: Literal[2]
    cache_px: int
    augmentation_library: str


class PatchClassification(Resolved, VolumeClassificationTransfer):
    """Labels of patches of volumes: all are scored, none is uncertain, and no map of evidence is made."""

    scored_labels: ClassVar[None] = None
    uncertain: ClassVar[None] = None
    localization: ClassVar[None] = None

    kind: Literal["classification"]
    dimensions: Literal[3]


class PatchSegmentation(Resolved, VolumeSegmentationTransfer):
    """A foreground of patches of volumes."""

    kind: Literal["segmentation"]
    dimensions: Literal[3]


def _which(given: object) -> str:
    if isinstance(given, Mapping):
        return f"{given.get('kind')}_{given.get('dimensions')}d"
    return f"{getattr(given, 'kind', None)}_{getattr(given, 'dimensions', None)}d"


TransferSpec = Annotated[
    Annotated[ImageClassification, Tag("classification_2d")]
    | Annotated[ImageSegmentation, Tag("segmentation_2d")]
    | Annotated[PatchClassification, Tag("classification_3d")]
    | Annotated[PatchSegmentation, Tag("segmentation_3d")],
    Discriminator(_which),
]
ImageTransfer = ImageClassification | ImageSegmentation
PatchTransfer = PatchClassification | PatchSegmentation
ClassificationSpec = ImageClassification | PatchClassification
SegmentationSpec = ImageSegmentation | PatchSegmentation
_TRANSFER: TypeAdapter[ImageTransfer | PatchTransfer] = TypeAdapter(TransferSpec)


def read_transfer(raw: Mapping[str, object]) -> ImageTransfer | PatchTransfer:
    """Read a resolved transfer.

    Args:
        raw: ``TaskPlan.transfer`` of a built-in transfer.

    Raises:
        ValidationError: If it is none.
    """
    return _TRANSFER.validate_python(raw)


class Subset(Frozen):
    """Which labels of a fraction are kept.

    Attributes:
        rule: ``fixed``, or ``per_repeat``: drawn anew for each repeat.
        seed: Of the draw.
    """

    rule: Literal["fixed", "per_repeat"]
    seed: int


class Seeds(Frozen):
    """Where the randomness of a trial comes from: the head, the order of samples, their augmentation."""

    init: int
    order: int
    augment: int


class TrialSpec(Frozen):
    """One trial of a built-in transfer, as the plan writes it; see ``docs/architecture.md``, Identity.

    Attributes:
        encoder: The method's own: passed to what hands the encoder over.
        phase: Id of the phase whose weights are the encoder's, or None.
        cohort: Id of the task's cohort.
        metrics: What the trial must return, the primary metric first.
    """

    method: str
    method_version: int
    task: str
    task_version: int
    encoder: EncoderSpec
    phase: str | None
    cohort: str
    transfer: TransferSpec
    metrics: tuple[str, ...]
    label_fraction: float
    subset: Subset
    pretrain_seed: int
    repeat: int
    seeds: Seeds
    resample_seed: int


class CohortConfiguration(Frozen):
    """Everything that makes a task's images what they are.

    Attributes:
        source: ``phantom``: made by a program; ``data_root``: the real files.
        adapter: Short name or dotted path of what reads the layout on disk.
        split: How cases are divided.
        versions: Component → version of the code that it comes from.
        cache_px: Side of the cached images; None in 3D.
        resize: How they become that size; None in 3D.
        patches: How patches are cut out of scans; None in 2D.
        scans: How whole scans are kept for pretraining in 3D; None: they are not.
        adapter_options: The adapter's own.
        lists: Split → list of the user's own: its path, or once the data root is known also its digest.
        generator: Short name or dotted path of what makes the phantom; None for real files.
        generator_options: The generator's own.
        sources: Digests of the files out of packages that the generator reads.
        fingerprint: Digest of paths and sizes of the real files.
        stamp: Of a phantom that is given as a data root.
    """

    source: Literal["phantom", "data_root"]
    adapter: str
    split: Split
    versions: dict[str, int]
    cache_px: int | None = None
    resize: Resize | None = None
    patches: Patches | None = None
    scans: ScanStore | None = None
    adapter_options: dict[str, JsonValue] | None = None
    lists: dict[str, str | dict[str, str]] | None = None
    generator: str | None = None
    generator_options: dict[str, JsonValue] | None = None
    sources: dict[str, str] | None = None
    fingerprint: str | None = None
    stamp: str | None = None

    @property
    def is_phantom(self) -> bool:
        """Whether a program makes its images."""
        return self.source == "phantom"

    @property
    def square(self) -> tuple[int, Resize]:
        """Side of the cached images, and how they become that size.

        Raises:
            DataError: In 3D, where there are none.
        """
        if self.cache_px is None or self.resize is None:
            raise DataError("the cohort has no cache_px and no resize; expected both in 2D; plan it anew")
        return self.cache_px, self.resize

    @property
    def has_own_test(self) -> bool:
        """Whether a list of the user's own says who is tested."""
        return "test" in (self.lists or {})

    def dump(self) -> dict[str, JsonValue]:
        """Return the JSON values that are part of a cohort's id: what was said, and no default."""
        content: dict[str, JsonValue] = self.model_dump(mode="json", exclude_unset=True)
        return content


def described_list(given: str | dict[str, str]) -> dict[str, str]:
    """Return a list by path and digest, as a plan of real files has it.

    Raises:
        DataError: If the plan has its path alone: no data root is known.
    """
    if isinstance(given, str):
        raise DataError(f"the list {given} has no digest; expected a plan made with its data root; give one")
    return given


class CohortSpec(Frozen):
    """One cohort, as the plan writes it."""

    task: str
    configuration: CohortConfiguration
