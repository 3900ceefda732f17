"""Cluster discrimination, as configuration; no torch here."""

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class ClusterDiscrimination:
    """Both views are to fall into the same of K learnt clusters, and all clusters are to be used.

    Attributes:
        clusters: K.
        dimension: Width of the embedding.
        temperature: Of the query's assignment; the key's is twice as sharp.
    """

    clusters: int = 8
    dimension: int = 32
    temperature: float = 0.2

    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    bound: ClassVar[str] = "outside_clusters.bound_clusters:BoundClusterDiscrimination"
    component: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse values with no meaning."""
        if self.clusters < 2 or self.dimension < 1 or not self.temperature > 0:
            raise ConfigurationError(
                f"clusters: found {self.clusters} clusters, dimension {self.dimension}, temperature {self.temperature}; "
                "expected at least 2, 1 and above 0"
            )
