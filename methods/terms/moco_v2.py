"""MoCo-v2's instance discrimination, as configuration (the trained part is ``bound_moco_v2``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class MocoV2:
    """InfoNCE over a queue of keys from a momentum encoder (He 2020; Chen 2020; DiRA Eq. 5 and App. C.1).

    Attributes:
        queue: Number of remembered keys, a multiple of the batch.
        temperature: τ; 0.2 in MoCo-v2 (lightly's default is 0.5).
        momentum: Share of the old key encoder kept at each step; parameters only, batch-norm buffers are its own.
        hidden: Width of the projection head's hidden layer; None takes the encoder's last width (2048 for ResNet-50).
        dimension: Width of the embedding.
    """

    queue: int = 65536
    temperature: float = 0.2
    momentum: float = 0.999
    hidden: int | None = None
    dimension: int = 128

    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    bound: ClassVar[str] = "methods.terms.bound_moco_v2:BoundMocoV2"
    component: ClassVar[str] = "term_moco_v2"

    def __post_init__(self) -> None:
        """Refuse values with no meaning."""
        if self.queue < 1 or self.dimension < 1 or (self.hidden is not None and self.hidden < 1):
            raise ConfigurationError(
                f"moco_v2: found queue {self.queue}, hidden {self.hidden}, dimension {self.dimension}; "
                "expected positive whole numbers"
            )
        if not self.temperature > 0 or not 0 <= self.momentum < 1:
            raise ConfigurationError(
                f"moco_v2: found temperature {self.temperature}, momentum {self.momentum}; "
                "expected a temperature above 0 and a momentum in [0, 1)"
            )
