"""Restoration of the clean crop from the distorted view, as configuration (see ``bound_restoration``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Restoration:
    """Mean distance over pixels between the restored query and its clean crop (DiRA Eq. 2, §3.2).

    The paper offers L1 and L2 and takes L2.

    Attributes:
        distance: ``l2`` (mean squared error) or ``l1`` (mean absolute error).
    """

    distance: str = "l2"

    role: ClassVar[str] = "restoration"
    needs_decoder: ClassVar[bool] = True
    bound: ClassVar[str] = "methods.terms.bound_restoration:BoundRestoration"
    component: ClassVar[str] = "term_restoration"

    def __post_init__(self) -> None:
        """Refuse another distance."""
        if self.distance not in ("l1", "l2"):
            raise ConfigurationError(f'restoration: found distance "{self.distance}"; expected l2 or l1')
