"""What a phase writes: the encoder for trials, and the whole state for the next phase."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import JsonValue
from torch import Tensor

from harness.errors import CheckpointError
from harness.whole_files import replacing

ENCODER = "encoder.safetensors"
LAST = "last.pt"
FORM = 2  # of what an interrupted training leaves; another form is left aside and training restarts


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the hash of a state: names, types, shapes and bytes, in the order of the names."""
    whole = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        whole.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def save_encoder(path: Path, backbone: Mapping[str, Tensor], about: Mapping[str, JsonValue]) -> None:
    """Write a backbone's weights with what they are; the same weights give the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in backbone.items()}
    metadata = {"dira_bench": json.dumps(about, sort_keys=True)}  # one key: the order of several is not fixed
    with replacing(path, durable=False) as partial:
        safetensors.torch.save_file(tensors, partial, metadata=metadata)


def load_encoder(path: Path) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
    """Read weights and what they are.

    Raises:
        CheckpointError: If the file is missing, damaged or was not written by ``save_encoder``.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})["dira_bench"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, about  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(
            f"no {path.name} in {path.parent}; expected the folder of a finished phase; rerun the pretraining"
        ) from error
    except KeyError as error:
        raise CheckpointError(
            f"{path} holds no description of its network; expected a file this harness wrote; rerun the pretraining"
        ) from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); expected whole safetensors; delete it and rerun the pretraining"
        ) from error
