"""Checkpoints from outside: read safely, named as ours, refused in one sentence if they are not what is needed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from harness.contracts import Context, Outcome
from harness.errors import CheckpointError
from harness.identity import file_sha256
from harness.registry import load_registry
from harness.spec import extras
from methods.key_layouts import COUNTER, PARTS, Match, best_match, missing
from methods.networks import build
from methods.training.checkpoints import ENCODER, save_encoder
from methods.weight_files import content_sha256, locate

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net")
SHOWN = 10  # left-over names in a record


def import_checkpoint(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Bring the checkpoint of a method into the store (``harness.contracts.Work``); trains nothing.

    Args:
        spec: ``configuration``: ``network``, ``checkpoint_sha256``, ``key_map`` and ``parts``
            (``methods.recipes.weights``). The file is found by its content among those the registered methods name.
        context: The folder gets ``encoder.safetensors``: the parts that were asked for.

    Returns:
        Facts: the layout, and what was matched, missing and left over.

    Raises:
        CheckpointError: If no method names the file any more, or it cannot be used.
    """
    configuration = spec["configuration"]
    path = find(configuration["checkpoint_sha256"])
    state, facts = load(
        path,
        configuration["network"],
        configuration["key_map"],
        configuration["parts"],
        configuration["checkpoint_sha256"],
    )
    about = {"format": 1, "network": configuration["network"], "phase": spec["phase"], "selected_step": 0}
    save_encoder(context.folder / ENCODER, state, about)
    facts |= {"phase": spec["phase"], "images_seen": 0, "weights_sha256": file_sha256(context.folder / ENCODER)}
    return Outcome(facts=facts)


def find(sha256: str) -> Path:
    """Return the weight file of a registered method that has this content.

    Raises:
        CheckpointError: If there is none.
    """
    for entry in load_registry().methods:
        weights = extras(entry).get("weights")
        if not isinstance(weights, str):
            continue
        path = locate(entry.name, weights, entry.options)
        if path is not None and content_sha256(path) == sha256:
            return path
    raise CheckpointError(
        f"no registered method names a file with SHA-256 {sha256[:12]}…; expected the one the plan was made with; "
        "put it back or plan again"
    )


def load(
    path: Path,
    network: Mapping[str, Any],
    key_map: str | Mapping[str, str] = "auto",
    parts: str = "encoder",
    sha256: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint from outside as a state of one of our backbones.

    Args:
        path: safetensors, or what ``torch.save`` wrote, if it holds tensors and plain values only.
        network: See ``methods.networks.build``.
        key_map: ``auto``, the name of a layout (``methods.key_layouts``), or a mapping prefix → replacement.
        parts: ``encoder`` or ``encoder_decoder``.
        sha256: The digest it must have, or None.

    Returns:
        Our names → tensors, of the parts asked for, complete; and facts: ``layout``, ``rule``, ``matched`` by part,
        ``missing`` (of the parts asked for: counters only, or it would be refused) and ``left_over`` (count and first
        names).

    Raises:
        CheckpointError: If the file is missing, not the promised one, damaged, holds code, fills less than the parts
            asked for, or is of another architecture.
    """
    found = read_tensors(path, sha256)
    with torch.device("meta"):
        wanted = build(network, 0).state_dict()
    taken = best_match(found, wanted, key_map)
    asked = PARTS if parts == "encoder_decoder" else PARTS[:1]
    _complete(path, found, wanted, taken, asked, network["name"])
    state: dict[str, Tensor] = {}
    for name, like in wanted.items():
        if name.split(".")[0] not in asked:
            continue
        if name not in taken.sources:  # a counter of batches, which old files lack
            state[name] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        value = found[taken.sources[name]]
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path} holds numbers that are not finite in {taken.sources[name]}; expected trained weights; take "
                "another checkpoint"
            )
        state[name] = value.to(like.dtype).contiguous().clone()
    unused = sorted(taken.left_over + [s for n, s in taken.sources.items() if n not in state])
    absent = sorted(name for name in state if name not in taken.sources)
    return state, {
        "layout": taken.layout,
        "rule": taken.rule,
        "matched": {part: sum(name.startswith(part + ".") for name in taken.sources) for part in PARTS},
        "missing": {"count": len(absent), "first": absent[:SHOWN]},
        "left_over": {"count": len(unused), "first": unused[:SHOWN]},
    }


def _complete(
    path: Path,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    taken: Match,
    asked: tuple[str, ...],
    network: str,
) -> None:
    """Refuse what fills less than the parts asked for, or is another architecture."""
    for part in asked:
        absent = missing(taken, wanted, (part,))
        if absent:
            tensors = sum(name.startswith(part + ".") and not name.endswith(COUNTER) for name in wanted)
            begins = ", ".join(sorted({name.split(".")[0] for name in found})[:4])
            raise CheckpointError(
                f"{path} fills {tensors - len(absent)} of {tensors} {part} tensors of {network} (missing: "
                f"{absent[0]}, …; its names begin with {begins}); expected all of them; give a checkpoint of that "
                "network or a key_map for its names"
            )
    reshaped = [n for n, s in taken.sources.items() if n.split(".")[0] in asked and found[s].shape != wanted[n].shape]
    if reshaped:
        source = taken.sources[reshaped[0]]
        raise CheckpointError(
            f"{path} holds {source} as {tuple(found[source].shape)}, and {len(reshaped)} tensors in all of other "
            f"shapes than {network}; expected {tuple(wanted[reshaped[0]].shape)}; give a checkpoint of that network"
        )
    strangers = [name for name in taken.strangers if "decoder" in asked or "decoder." not in name]
    if strangers:
        raise CheckpointError(
            f"{path} holds {strangers[0]} and {len(strangers)} tensors in all that {network} has no place for: it is "
            "of another architecture; expected that network; give a checkpoint of it"
        )


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read every tensor of a file, running no code that is in it.

    Args:
        path: safetensors or ``torch.save``'s format, told apart by content, not by name.
        sha256: The digest it must have, or None.

    Raises:
        CheckpointError: If it is missing, not the promised one, damaged, holds code, or holds no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no file {path}; expected a checkpoint; correct the path or fetch the file")
    if sha256 is not None and (actual := file_sha256(path)) != sha256:
        raise CheckpointError(
            f"{path} has SHA-256 {actual[:12]}…; expected {sha256[:12]}…; fetch it again or correct sha256"
        )
    if _is_safetensors(path):
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is damaged ({_first(error)}); expected whole safetensors; fetch it again"
            ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        called = re.search(r"(?:GLOBAL|global|class|function)\s+`?([A-Za-z_][\w.]*\.[\w.]+)", str(error))
        if called is None and "nsupported" not in str(error):
            raise _damaged(path, error) from error
        what = f"holds code ({called.group(1)})" if called else "is no checkpoint or holds code"
        raise CheckpointError(
            f"{path} {what} beside tensors, and reading it could run that; expected weights alone; ask its authors for "
            "safetensors, or convert it where you trust it"
        ) from error
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise _damaged(path, error) from error
    tensors = _tensors(loaded)
    if not tensors:
        raise CheckpointError(
            f"{path} holds no named tensors; expected a state dict, alone or under one of {', '.join(CONTAINERS)}; "
            "save model.state_dict()"
        )
    return tensors


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or no checkpoint ({type(error).__name__}: {_first(error)}); expected a whole file of "
        "torch.save or safetensors; fetch it again"
    )


def _first(error: Exception) -> str:
    """Return the beginning of an error's text, in one line."""
    return " ".join(str(error).split())[:100] or "no reason given"


def _is_safetensors(path: Path) -> bool:
    """A safetensors file begins with the length of its header, eight bytes, and a brace."""
    with path.open("rb") as stream:
        return stream.read(9)[8:] == b"{"


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """Return the named tensors of what was read: its own, or those one or two containers down."""
    for _ in range(3):
        if not isinstance(loaded, Mapping):
            return {}
        tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        loaded = next((loaded[name] for name in CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
    return {}
