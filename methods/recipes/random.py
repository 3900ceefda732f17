"""Random: an untrained backbone, drawn anew for every repeat."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from harness.spec import Frozen, MethodEntry, MethodPlan
from methods.profiles import load_profile, versions_of


class NoOptions(Frozen):
    """A recipe without options."""


class RandomRecipe(Frozen):
    """The network of the profile with its published initialisation, from the trial's ``init`` seed."""

    Options: ClassVar[type[BaseModel] | None] = NoOptions

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return a plan without phases."""
        network = load_profile(profile).network(entry.dimensions)
        encoder = {
            "obtain": "methods.obtain:backbone",
            "network": network,
            "encoder": "random",
            "decoder": "fresh",
            "versions": versions_of("networks", "recipes"),
        }
        missing = None if network["name"] else f'profile "{profile}" has no network for {entry.dimensions} dimensions'
        return MethodPlan(encoder=encoder, reinitialised=True, unavailable=missing)
