"""Weights: an encoder (and decoder, if asked for) from a checkpoint that somebody else trained.

The plan has one phase, which trains nothing: it reads the file, checks it, and leaves the backbone in the store in our
own layout, so that a checkpoint that does not fit fails once and not in every trial. The content's SHA-256 is identity,
the file's place is not.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, field_validator, model_validator

from harness.errors import DiraBenchError, unknown
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from methods.architectures import ENTERING
from methods.key_layouts import AUTO, known_key_map
from methods.options import Network
from methods.profiles import load_profile, versions_of
from methods.weight_files import (
    checked_sha256,
    checked_weights,
    content_sha256,
    how_to_supply,
    locate,
    promised,
    published,
)

PUBLISHED_3D = {"transvw_keras", "transvw_pytorch"}


class WeightsOptions(Frozen):
    """Where this machine keeps the file.

    Attributes:
        path: The file; never identity.
        sha256: Its 64 digits, checked before anything is read.
    """

    path: str | None = None
    sha256: str | None = None

    @field_validator("sha256")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        return checked_sha256(value)


class WeightsRecipe(Frozen):
    """Keys of an entry with ``recipe: weights``.

    Attributes:
        weights: ``torchvision:ResNet50_Weights.IMAGENET1K_V1`` or a path.
        key_map: ``auto``, the name of a layout (``methods.key_layouts.LAYOUTS``), or a mapping prefix → replacement.
        sha256: The file's 64 digits; checked before anything is read.
        network: The backbone that the file holds, if it is not every profile's. In 3D, where the profile has one of
            TransVW's two published forms, the file's form takes its place.
        state: Which set of weights, where a file holds several that fit: the keys that lead to it, joined by dots
            (``model_ema``).
        parts: ``encoder``, or ``encoder_decoder`` for a U-Net whose decoder is wanted for segmentation too.
    """

    Options: ClassVar[type[BaseModel] | None] = WeightsOptions

    weights: str
    key_map: str | dict[str, str] = AUTO
    sha256: str | None = None
    network: Network | None = None
    state: str | None = None
    parts: Literal["encoder", "encoder_decoder"] = "encoder"

    @field_validator("weights")
    @classmethod
    def _known(cls, value: str) -> str:
        return checked_weights(value)

    @field_validator("sha256")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        return checked_sha256(value)

    @field_validator("network", mode="before")
    @classmethod
    def _buildable(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in get_args(Network):
            raise ValueError(f"{unknown('network', value, get_args(Network), 'network')} What can enter: {ENTERING}")
        return value

    @model_validator(mode="after")
    def _layout(self) -> WeightsRecipe:
        try:
            known_key_map(self.key_map)
        except DiraBenchError as error:
            raise ValueError(str(error)) from error
        return self

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return one phase that reads the file, or why there is none."""
        scale, known = load_profile(profile), published(self.weights)
        network = scale.network(entry.dimensions)
        if entry.dimensions == 3 and {self.network, network["name"]} <= PUBLISHED_3D:
            network["name"] = self.network  # two forms of one network: the file decides
        name = network["name"]
        uses_decoder = self.parts == "encoder_decoder" and entry.transfer == "encoder_decoder"
        encoder: dict[str, Any] = {
            "obtain": "methods.obtain:backbone",
            "network": network,
            "encoder": "trained",
            "decoder": "trained" if uses_decoder else "fresh",
            "versions": versions_of("networks", "recipes"),
        }
        if name is None:
            return MethodPlan(
                encoder=encoder, unavailable=f'profile "{profile}" has no network for {entry.dimensions} dimensions'
            )
        fits = known.network if known else self.network
        if fits is not None and fits != name:
            what = f"{known.trained_on} weights" if known else f"weights of {entry.label}"
            why = "" if known else f": its entry says that the file holds {fits.removeprefix('unet_')}"
            return MethodPlan(encoder=encoder, unavailable=f"no {what} for {name.removeprefix('unet_')}{why}")
        path = locate(entry.name, self.weights, entry.options)
        if path is None:
            return MethodPlan(
                encoder=encoder, unavailable=f"weights missing: {how_to_supply(entry.name, self.weights)}"
            )
        try:
            sha256 = content_sha256(path)
        except OSError as error:
            return MethodPlan(
                encoder=encoder, unavailable=f"weights missing: {path.name} is unreadable ({error.strerror})"
            )
        wrong = promised(self.weights, self.sha256 or entry.options.get("sha256"), sha256, path.name)
        if wrong:
            return MethodPlan(encoder=encoder, unavailable=f"wrong weights: {wrong}")
        phase = PhasePlan(
            name="import",
            run="methods.external:import_checkpoint",
            configuration={
                "network": network,
                "checkpoint_sha256": sha256,
                "key_map": self.key_map,
                "parts": self.parts,
                **({"state": self.state} if self.state is not None else {}),
                "versions": versions_of("networks", "external_weights"),
            },
        )
        return MethodPlan(
            phases=(phase,),
            encoder={**encoder, "checkpoint_sha256": sha256},
            budget={"rule": "weights from outside", "phases": [{"phase": "import", "images_seen": 0}]},
        )
