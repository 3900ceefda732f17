"""Entries for ``dira_bench.methods``: a mapping, or a function that returns one."""

from typing import Any

# An optimiser and a schedule of one's own: DiRA-Bench's profiles know nothing of this term.
OPTIONS = {
    "optimiser": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "per_batch": 64},
    "schedule": {"name": "cosine", "per": "step"},
    "own_length": 200,
    "pairs": "same_class",  # DiRA §3.1: "two samples from the same cluster"
    "pair_class": "cluster",
}

CLUSTERS: dict[str, Any] = {
    "label": "Clusters",
    "dimensions": 2,
    "recipe": "pretext",
    "discrimination": "outside_clusters.clusters:ClusterDiscrimination",
    "options": OPTIONS,
    "version": 1,
    "source": "an outside package",
}


def dira_clusters() -> dict[str, Any]:
    """Return the same base under DiRA."""
    return {
        **CLUSTERS,
        "label": "DiRA (Clusters)",
        "restoration": 10,
        "adversary": 0.001,
        "compare_with": ["outside_clusters"],
    }
