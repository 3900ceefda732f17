"""Options of patches and of the transfers on volumes, validated. No torch.

The values are in ``tasks/profiles.yaml``; what paper and code say of each is in ``docs/protocol.md``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.plateau import Counting
from harness.spec import Frozen
from tasks.options import Constant, Cosine, Fraction, Positive, Training, VolumePlateau

Side = Annotated[int, Field(ge=8, multiple_of=8)]  # three halvings


class Patches(Frozen):
    """How patches are cut out of scans. A data set obeys the keys that apply to it; ``docs/datasets.md`` says which.

    Attributes:
        shape: Voxels of a patch, X, Y, Z.
        store: Type of the cached values: ``uint8`` keeps 255 levels of the window, ``float16`` at least 1,024.
        window: Hounsfield units that become 0 and 1; what lies outside is clipped. None where intensities have no unit:
            each scan's minimum and maximum.
        in_plane: Side to which each slice is resized first, whatever its spacing; None: as it is.
        spacing_mm: Spacing to which a scan is resampled first; None: as it is.
        crop: Voxels that are cut out and then resized to ``shape``; None: ``shape`` itself.
        foreground_share: Where no candidate or nodule says where patches lie: share of them whose middle is a random
            voxel of the foreground; the rest lie anywhere.
        seed: Of where they lie.
    """

    shape: tuple[Side, Side, Side]
    store: Literal["uint8", "float16"]
    window: tuple[float, float] | None = None
    in_plane: int | None = Field(default=None, ge=16)
    spacing_mm: Positive | None = None
    crop: tuple[int, int, int] | None = None
    foreground_share: Fraction = 0.5
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _window(self) -> Patches:
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"found window {list(self.window)}; expected the lower bound first")
        return self


class ScanStore(Frozen):
    """How whole scans are kept for self-supervised pretraining in 3D.

    Attributes:
        shape: To which each is resized; None: as it is.
    """

    shape: tuple[int, int, int] | None = None


class VolumeAugmentation(Frozen):
    """Probabilities of flip (of each axis), transposition and rotation in the plane, and noise.

    Attributes:
        noise_std: Standard deviations are drawn from 0 to this, in units of the window.
    """

    flip: Fraction
    transpose: Fraction
    rotate: Fraction
    noise: Fraction
    noise_std: float = Field(ge=0.0)


class VolumeClassificationHead(Frozen):
    """Mean over the coarsest feature map, a hidden linear layer and ReLU, a linear layer; Xavier-uniform, bias 0.

    Attributes:
        hidden: Width of the hidden layer; 0: none, a single linear layer.
    """

    hidden: int = Field(ge=0)


class VolumeHead(Frozen):
    """One 1×1×1 convolution from the decoder's channels to one logit a voxel."""

    kernel: Literal[1]


class _VolumeTransfer(Training):
    """What both transfers on volumes share.

    Attributes:
        counting: When a patience of the plateau or of early stopping is out: ``keras`` in the evaluation that fills it,
            ``torch`` in the next one (``harness.plateau``).
    """

    schedule: Annotated[VolumePlateau | Cosine | Constant, Field(discriminator="name")]
    counting: Counting
    augmentation: VolumeAugmentation
    augment_validation: Literal[False]
    normalisation: Literal["none"]
    test_time_augmentation: Literal["none"]

    @property
    def patience_counting(self) -> Counting:
        """How a patience is counted."""
        return self.counting


class VolumeClassificationTransfer(_VolumeTransfer):
    """Encoder → global average of the coarsest features → hidden layer → linear layer → sigmoid."""

    loss: Literal["binary_cross_entropy"]
    head: VolumeClassificationHead


class VolumeSegmentationTransfer(_VolumeTransfer):
    """Encoder → decoder → 1×1×1 convolution → sigmoid, one foreground.

    Attributes:
        dice_smooth: Added to numerator and denominator of the soft Dice over the whole batch.
        validation_dice: ``batches``: the validation loss is the mean of the soft Dice of batches as in training (as
            Keras does); ``whole``: one soft Dice of all validation patches.
    """

    loss: Literal["soft_dice"]
    head: VolumeHead
    dice_smooth: Positive
    validation_dice: Literal["batches", "whole"]
