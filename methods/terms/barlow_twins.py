"""Barlow Twins' redundancy reduction, as configuration (the trained part is ``bound_barlow_twins``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class BarlowTwins:
    """Cross-correlation of both views' embeddings, pulled towards the identity (Zbontar 2021; DiRA Eq. 8, App. C.1).

    Attributes:
        hidden: Width of the projector's two hidden layers; 8192 for ResNet-50, four times the encoder's last width.
        dimension: Width of the embedding.
        off_diagonal: λ of Eq. 8, the weight of the off-diagonal entries. DiRA gives none; 0.0051 is the original's
            (lightly's default is 0.005).
    """

    hidden: int = 8192
    dimension: int = 8192
    off_diagonal: float = 0.0051

    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    zero_init_residual: ClassVar[bool] = True
    bound: ClassVar[str] = "methods.terms.bound_barlow_twins:BoundBarlowTwins"
    component: ClassVar[str] = "term_barlow_twins"

    def __post_init__(self) -> None:
        """Refuse values with no meaning."""
        if self.hidden < 1 or self.dimension < 2:
            raise ConfigurationError(
                f"barlow_twins: found hidden {self.hidden}, dimension {self.dimension}; "
                "expected a positive width and an embedding of at least two numbers, to have an off-diagonal"
            )
        if not self.off_diagonal > 0:
            raise ConfigurationError(
                f"barlow_twins: found off_diagonal {self.off_diagonal}; expected a weight above 0, as 0.0051"
            )
