"""SimSiam's instance discrimination, as configuration (the trained part is ``bound_simsiam``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class SimSiam:
    """Negative cosine between one view's prediction and the other's projection (Chen and He 2021; DiRA Eq. 6–7).

    Attributes:
        dimension: Width of the projector's three layers; None takes the encoder's last width (2048 for ResNet-50).
        predictor: Width of the predictor's hidden layer; 512 for ResNet-50, a quarter of ``dimension``.
        predictor_rate: ``fixed``: the predictor's learning rate follows no schedule (the published run); ``scheduled``:
            it follows the others'.
    """

    dimension: int | None = None
    predictor: int = 512
    predictor_rate: str = "fixed"

    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    zero_init_residual: ClassVar[bool] = True
    bound: ClassVar[str] = "methods.terms.bound_simsiam:BoundSimSiam"
    component: ClassVar[str] = "term_simsiam"

    def __post_init__(self) -> None:
        """Refuse values with no meaning."""
        if self.predictor < 1 or (self.dimension is not None and self.dimension < 1):
            raise ConfigurationError(
                f"simsiam: found dimension {self.dimension}, predictor {self.predictor}; "
                "expected positive whole numbers"
            )
        if self.predictor_rate not in ("fixed", "scheduled"):
            raise ConfigurationError(
                f'simsiam: found predictor_rate "{self.predictor_rate}"; expected fixed or scheduled'
            )
