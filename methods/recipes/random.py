"""Random: an untrained backbone, drawn anew for every repeat."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from harness.spec import Frozen, MethodEntry, MethodPlan
from methods.profiles import load_profile
from methods.recipes.parts import handed_over, no_network


class NoOptions(Frozen):
    """A recipe without options."""


class RandomRecipe(Frozen):
    """The network of the profile with its published initialisation, from the trial's ``init`` seed."""

    Options: ClassVar[type[BaseModel] | None] = NoOptions

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return a plan without phases."""
        network = load_profile(profile).network(entry.dimensions)
        if network is None:
            return no_network(profile, entry.dimensions, encoder="random").model_copy(update={"reinitialised": True})
        return MethodPlan(encoder=handed_over(network, encoder="random").dump(), reinitialised=True)
