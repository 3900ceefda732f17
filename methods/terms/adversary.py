"""The adversary that judges restored images, as configuration (see ``bound_adversary``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Adversary:
    """A patch discriminator that tells clean crops from restored ones (DiRA Eq. 3–4, §4.1).

    Attributes:
        loss: ``lsgan`` (least squares, the authors' code), ``bce`` (non-saturating cross-entropy) or ``log``
            (the minimax form of Eq. 3–4 taken literally: the generator minimises log(1 − D)).
        layers: ``blocks_and_output``: four blocks and an output convolution (the authors' code); ``four``: four
            convolutions in all, the last one the output (the paper's words, §4.1).
        widths: Output channels of the blocks.
        learning_rate: Of the discriminator's own Adam.
        betas: Of the discriminator's own Adam.
    """

    loss: str = "lsgan"
    layers: str = "blocks_and_output"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    role: ClassVar[str] = "adversary"
    needs_decoder: ClassVar[bool] = True
    bound: ClassVar[str] = "methods.terms.bound_adversary:BoundAdversary"
    component: ClassVar[str] = "term_adversary"

    def __post_init__(self) -> None:
        """Keep tuples tuples (YAML gives lists) and refuse unknown forms."""
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "betas", tuple(self.betas))
        if self.loss not in ("lsgan", "bce", "log"):
            raise ConfigurationError(f'adversary: found loss "{self.loss}"; expected lsgan, bce or log')
        if self.layers not in ("blocks_and_output", "four"):
            raise ConfigurationError(f'adversary: found layers "{self.layers}"; expected blocks_and_output or four')
        if len(self.widths) != 4 or any(width < 1 for width in self.widths):
            raise ConfigurationError(f"adversary: found widths {list(self.widths)}; expected four positive numbers")
