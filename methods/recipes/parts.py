"""What every built-in recipe says alike: what trials start from, the optimiser at a batch, a line of the budget."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from harness.spec import MethodPlan
from harness.typed import given
from methods.options import Optimiser
from methods.phases import BackboneSpec, Budget, NetworkSpec
from methods.profiles import IN_CHANNELS, versions_of

OBTAIN = "methods.obtain:backbone"
State = Literal["trained", "random"]
Decoder = Literal["trained", "fresh"]


def handed_over(network: NetworkSpec, *, encoder: State = "trained", decoder: Decoder = "fresh") -> BackboneSpec:
    """Return what trials are told of a backbone that ``methods.obtain`` makes."""
    return BackboneSpec(
        obtain=OBTAIN, network=network, encoder=encoder, decoder=decoder, versions=versions_of("networks", "recipes")
    )


def no_network(profile: str, dimensions: int, *, encoder: State = "trained", decoder: Decoder = "fresh") -> MethodPlan:
    """Return the plan of a method that has no network under a profile; it says what it would have handed over."""
    nameless: dict[str, JsonValue] = {
        "name": None,
        "in_channels": IN_CHANNELS[dimensions],
        "zero_init_residual": False,
    }
    versions = versions_of("networks", "recipes")
    return MethodPlan(
        encoder={"obtain": OBTAIN, "network": nameless, "encoder": encoder, "decoder": decoder, "versions": versions},
        unavailable=f'profile "{profile}" has no network for {dimensions} dimensions',
    )


def at_batch(optimiser: Optimiser, batch: int, learning_rate: float | None = None) -> Optimiser:
    """Return the optimiser for a batch: rates stated ``per_batch`` grow in proportion (Goyal 2017), others stay.

    Args:
        optimiser: As a profile or an entry states it.
        batch: Images in one optimiser step.
        learning_rate: Takes the place of the one that comes of this.
    """
    resolved = {key: value for key, value in given(optimiser).items() if key != "per_batch"}
    if optimiser.per_batch is not None:
        for rate in ("learning_rate", "one_dimensional_rate"):
            if rate in resolved:
                resolved[rate] = resolved[rate] * batch / optimiser.per_batch
    if learning_rate is not None:
        resolved["learning_rate"] = learning_rate
    return type(optimiser).model_validate(resolved)


def budget_row(phase: str, budget: Budget, batch: int) -> dict[str, JsonValue]:
    """Return what the budget says of a phase: its length, its batch, and the images it sees where it counts steps."""
    row: dict[str, JsonValue] = {"phase": phase, budget.unit: budget.count, "batch": batch}
    if budget.unit == "steps":
        row["images_seen"] = budget.count * batch
    return row
