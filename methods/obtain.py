"""How a trial obtains the backbone: drawn, or loaded from a finished phase."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import CheckpointError
from methods.networks import NetworkBackbone, build
from methods.phases import BackboneSpec, NetworkSpec
from methods.training.checkpoints import ENCODER, load_encoder, state_sha256


def backbone(
    encoder: Mapping[str, object], phase: Path | None, init_seed: int
) -> tuple[NetworkBackbone, dict[str, str]]:
    """Build a backbone on the CPU for a trial (``harness.contracts.Obtain``).

    Args:
        encoder: ``methods.phases.BackboneSpec``, dumped.
        phase: Folder of the done last phase; needed for anything trained.
        init_seed: Draws whatever is not loaded. A fresh decoder is the same for every method under one seed.

    Returns:
        The backbone, and facts: ``encoder_sha256``, ``decoder_sha256`` (hashes of the tensors as handed over).

    Raises:
        CheckpointError: If the weights are missing, damaged, foreign or of another network.
    """
    spec = BackboneSpec.model_validate(encoder)
    built = build(spec.network, init_seed)
    parts = [part for part, state in (("encoder", spec.encoder), ("decoder", spec.decoder)) if state == "trained"]
    if parts:
        if phase is None:
            raise CheckpointError(
                "found no folder of a pretraining; expected that of the method's last phase; run the pretraining first"
            )
        _load(built, Path(phase) / ENCODER, spec.network, parts)
    return built, {
        "encoder_sha256": state_sha256(built.encoder.state_dict()),
        "decoder_sha256": state_sha256(built.decoder.state_dict()),
    }


def _load(built: NetworkBackbone, path: Path, network: NetworkSpec, parts: list[str]) -> None:
    weights, about = load_encoder(path)
    held, wanted = about.get("network"), network.dump()
    if held != wanted:
        raise CheckpointError(f"{path} holds network {held}; expected {wanted}; rerun the pretraining")
    _load_parts(built, weights, path, network, parts)


def _load_parts(
    built: NetworkBackbone, weights: Mapping[str, Tensor], path: Path, network: NetworkSpec, parts: list[str]
) -> None:
    for part in parts:
        wanted = getattr(built, part).state_dict()
        prefix = part + "."
        loaded = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if loaded.keys() != wanted.keys() or any(loaded[name].shape != wanted[name].shape for name in wanted):
            raise CheckpointError(
                f"{path} holds {len(loaded)} {part} tensors that do not fit the {len(wanted)} of "
                f"{network.name}; expected the weights of that network; rerun the pretraining"
            )
        if any(value.is_floating_point() and not torch.isfinite(value).all() for value in loaded.values()):
            raise CheckpointError(
                f"{path} holds {part} weights that are not finite; expected numbers; rerun the pretraining"
            )
        getattr(built, part).load_state_dict(loaded)
