"""Weights: an encoder (and decoder, if asked for) from a checkpoint that somebody else trained.

The plan has one phase, which trains nothing: it reads the file, checks it, and leaves the backbone in the store in our
own layout, so that a checkpoint that does not fit fails once and not in every trial. The content's SHA-256 is identity,
the file's place is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, get_args

from pydantic import BaseModel, field_validator, model_validator

from harness.errors import DiraBenchError, unknown
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import read
from methods.architectures import ENTERING
from methods.key_layouts import AUTO, known_key_map
from methods.options import Network
from methods.phases import ImportConfiguration, NetworkSpec
from methods.profiles import load_profile, versions_of
from methods.recipes.parts import Decoder, handed_over, no_network
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
    def _buildable(cls, value: object) -> object:
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
        network = load_profile(profile).network(entry.dimensions)
        whole = self.parts == "encoder_decoder" and entry.transfer == "encoder_decoder"
        decoder: Decoder = "trained" if whole else "fresh"
        if network is None:
            return no_network(profile, entry.dimensions, decoder=decoder)
        if entry.dimensions == 3 and self.network is not None and {self.network, network.name} <= PUBLISHED_3D:
            network = network.model_copy(update={"name": self.network})  # two forms of one network: the file decides
        encoder = handed_over(network, decoder=decoder)
        found = self._misfit(entry, network) or self._file(entry)
        if isinstance(found, str):
            return MethodPlan(encoder=encoder.dump(), unavailable=found)
        sha256 = content_sha256(found)
        phase = PhasePlan(
            name="import",
            run="methods.external:import_checkpoint",
            configuration=self._configuration(network, sha256).dump(),
        )
        return MethodPlan(
            phases=(phase,),
            encoder=encoder.model_copy(update={"checkpoint_sha256": sha256}).dump(),
            budget={"rule": "weights from outside", "phases": [{"phase": "import", "images_seen": 0}]},
        )

    def _misfit(self, entry: MethodEntry, network: NetworkSpec) -> str:
        """Say why the file is not for the profile's network; empty if it may be."""
        known = published(self.weights)
        fits = known.network if known else self.network
        if fits is None or fits == network.name:
            return ""
        what = f"{known.trained_on} weights" if known else f"weights of {entry.label}"
        why = "" if known else f": its entry says that the file holds {fits.removeprefix('unet_')}"
        return f"no {what} for {network.name.removeprefix('unet_')}{why}"

    def _file(self, entry: MethodEntry) -> Path | str:
        """Return the file, or say why it cannot be used."""
        options = read(WeightsOptions, entry.options, "options.")
        path = locate(entry.name, self.weights, options.path)
        if path is None:
            return f"weights missing: {how_to_supply(entry.name, self.weights)}"
        try:
            sha256 = content_sha256(path)
        except OSError as error:
            return f"weights missing: {path.name} is unreadable ({error.strerror})"
        wrong = promised(self.weights, self.sha256 or options.sha256, sha256, path.name)
        return f"wrong weights: {wrong}" if wrong else path

    def _configuration(self, network: NetworkSpec, sha256: str) -> ImportConfiguration:
        made = ImportConfiguration(
            network=network,
            checkpoint_sha256=sha256,
            key_map=self.key_map,
            parts=self.parts,
            versions=versions_of("networks", "external_weights"),
        )
        return made if self.state is None else made.model_copy(update={"state": self.state})
