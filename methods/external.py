"""Checkpoints from outside: read safely, named as ours, refused in one sentence if they are not what is needed."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import JsonValue
from torch import Tensor

from harness.contracts import Context, Outcome
from harness.errors import CheckpointError, unknown
from harness.identity import file_sha256
from harness.registry import load_registry
from harness.spec import extras
from methods.architectures import ENTERING, architecture
from methods.key_layouts import COUNTER, PARTS, Match, best_match, missing
from methods.networks import build
from methods.phases import ImportSpec, NetworkSpec
from methods.training.checkpoints import ENCODER, save_encoder
from methods.weight_files import content_sha256, locate
from methods.weight_forms import other_form
from methods.weight_states import states
from methods.weight_values import as_weight

SHOWN = 10  # left-over names in a record


def import_checkpoint(raw: Mapping[str, object], context: Context) -> Outcome:
    """Bring the checkpoint of a method into the store (``harness.contracts.Work``); trains nothing.

    Args:
        raw: ``methods.phases.ImportSpec``, dumped. The file is found by its content among those the registered methods
            name.
        context: The folder gets ``encoder.safetensors``: the parts that were asked for.

    Returns:
        Facts: the layout, and what was matched, missing and left over.

    Raises:
        CheckpointError: If no method names the file any more, or it cannot be used.
    """
    spec = ImportSpec.model_validate(raw)
    configuration = spec.configuration
    path = find(configuration.checkpoint_sha256)
    state, facts = load(
        path,
        configuration.network,
        configuration.key_map,
        configuration.parts,
        configuration.checkpoint_sha256,
        configuration.state,
    )
    network = configuration.network.dump()
    about: dict[str, JsonValue] = {"format": 1, "network": network, "phase": spec.phase, "selected_step": 0}
    save_encoder(context.folder / ENCODER, state, about)
    written = {"phase": spec.phase, "images_seen": 0, "weights_sha256": file_sha256(context.folder / ENCODER)}
    return Outcome(facts={**facts, **written})


def find(sha256: str) -> Path:
    """Return the weight file of a registered method that has this content.

    Raises:
        CheckpointError: If there is none.
    """
    for entry in load_registry().methods:
        weights, place = extras(entry).get("weights"), entry.options.get("path")
        if not isinstance(weights, str):
            continue
        path = locate(entry.name, weights, place if isinstance(place, str) else None)
        if path is not None and content_sha256(path) == sha256:
            return path
    raise CheckpointError(
        f"no registered method names a file with SHA-256 {sha256[:12]}…; expected the one the plan was made with; "
        "put it back or plan again"
    )


def load(
    path: Path,
    network: NetworkSpec,
    key_map: str | Mapping[str, str] = "auto",
    parts: str = "encoder",
    sha256: str | None = None,
    state: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, JsonValue]]:
    """Read a checkpoint from outside as a state of one of our backbones.

    Args:
        path: safetensors, or what ``torch.save`` wrote, if it holds tensors and plain values only.
        network: See ``methods.networks.build``.
        key_map: ``auto``, the name of a layout (``methods.key_layouts``), or a mapping prefix → replacement.
        parts: ``encoder`` or ``encoder_decoder``.
        sha256: The digest it must have, or None.
        state: Which of several sets of weights in the file (``model_ema``), or None if one alone fits.

    Returns:
        Our names → tensors, of the parts asked for, complete; and facts: ``state``, ``layout``, ``rule``, ``matched``
        by part, ``missing`` (of the parts asked for: counters only, or it would be refused) and ``left_over`` (count
        and first names).

    Raises:
        CheckpointError: If the file is missing, not the promised one, damaged, no checkpoint, holds code, fills less
            than the parts asked for, holds several sets that fit, is of another architecture, or its numbers are no
            trained weights.
        UnknownName: If it has no set of the name that ``state`` gives.
    """
    with torch.device("meta"):
        wanted = build(network, 0).state_dict()
    asked = PARTS if parts == "encoder_decoder" else PARTS[:1]
    chosen, found, taken = _choose(path, read_states(path, sha256), wanted, key_map, state)
    _complete(path, found, wanted, taken, asked, network.name)
    loaded: dict[str, Tensor] = {}
    for name, like in wanted.items():
        if name.split(".")[0] not in asked:
            continue
        if name not in taken.sources:  # a counter of batches, which old files lack
            loaded[name] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        loaded[name] = as_weight(found[taken.sources[name]], taken.sources[name], like, path)
    return loaded, _facts(chosen, taken, loaded)


def _facts(state: str, taken: Match, loaded: Collection[str]) -> dict[str, JsonValue]:
    """Return what a record says of the names that were loaded from a set of weights."""
    unused = sorted(taken.left_over + [s for n, s in taken.sources.items() if n not in loaded])
    absent = sorted(name for name in loaded if name not in taken.sources)
    return {
        "state": state,
        "layout": taken.layout,
        "rule": dict(taken.rule),
        "matched": {part: sum(name.startswith(part + ".") for name in taken.sources) for part in PARTS},
        "missing": {"count": len(absent), "first": [*absent[:SHOWN]]},
        "left_over": {"count": len(unused), "first": [*unused[:SHOWN]]},
    }


def _choose(
    path: Path,
    sets: Mapping[str, dict[str, Tensor]],
    wanted: Mapping[str, Tensor],
    key_map: str | Mapping[str, str],
    state: str | None,
) -> tuple[str, dict[str, Tensor], Match]:
    """Return the set of weights that is meant: the one named, or the only one that fits, or the nearest to that."""
    if state is not None:
        if state not in sets:
            raise unknown("state", state, sets, path.name)
        sets = {state: sets[state]}
    matches = {name: best_match(found, wanted, key_map) for name, found in sets.items()}
    whole = [name for name, taken in matches.items() if not missing(taken, wanted, PARTS[:1])]
    if len(whole) > 1:
        raise CheckpointError(
            f"{path} holds {len(whole)} sets of weights that fit: {', '.join(whole)}; expected to be told which; write "
            f"state: {whole[0]} (or another of them) into the entry"
        )
    chosen = max(whole or matches, key=lambda name: (matches[name].filled("encoder"), len(sets[name])))
    rivals = matches[chosen].rivals
    if rivals:
        shown = ", ".join(f'"{prefix}"' for prefix in rivals)
        raise CheckpointError(
            f"{path} holds {len(rivals)} encoders that fit, under {shown}; expected to be told which; write "
            f'key_map: {{"{rivals[-1]}": "encoder."}} (or another of them) into the entry'
        )
    return chosen, sets[chosen], matches[chosen]


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
            raise _incomplete(path, found, wanted, absent, part, network)
    reshaped = [n for n, s in taken.sources.items() if n.split(".")[0] in asked and found[s].shape != wanted[n].shape]
    if reshaped:
        raise _reshaped(path, found[taken.sources[reshaped[0]]], wanted[reshaped[0]], taken.sources, reshaped, network)
    strangers = [name for name in taken.strangers if "decoder" in asked or "decoder." not in name]
    if strangers:
        what = architecture(found)
        raise CheckpointError(
            f"{path} holds {strangers[0]} and {len(strangers)} tensors in all that {network} has no place for: it is "
            f"of another architecture{f' ({what})' if what else ''}; expected that network; give a checkpoint of it"
        )


def _incomplete(
    path: Path,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    absent: list[str],
    part: str,
    network: str,
) -> CheckpointError:
    tensors = sum(name.startswith(part + ".") and not name.endswith(COUNTER) for name in wanted)
    what = architecture(found)
    if part == "encoder" and what and what != architecture(wanted) and "a ResNet of" not in what:
        return CheckpointError(
            f"{path} holds {what} ({', '.join(sorted(found)[:2])}, …), which no key_map turns into {network}; expected "
            f"{ENTERING}; give a checkpoint of that network"
        )
    return CheckpointError(
        f"{path} fills {tensors - len(absent)} of {tensors} {part} tensors of {network} (missing: "
        f"{absent[0]}, …; its names begin with {_beginnings(found)}); expected all of them; give a checkpoint of that "
        "network or a key_map for its names"
    )


def _reshaped(
    path: Path, first: Tensor, like: Tensor, sources: Mapping[str, str], reshaped: list[str], network: str
) -> CheckpointError:
    said = (
        f"{path} holds {sources[reshaped[0]]} as {tuple(first.shape)}, and {len(reshaped)} tensors in all of other "
        f"shapes than {network}; expected {tuple(like.shape)}"
    )
    if len(reshaped) == 1 and first.dim() == like.dim() > 1 and first.shape[1] != like.shape[1]:
        return CheckpointError(
            f"{said}: its first layer takes {first.shape[1]} channels and ours {like.shape[1]}; save it with that "
            "layer made to fit (one channel for three: repeat it three times and divide by three)"
        )
    return CheckpointError(f"{said}; give a checkpoint of that network")


def _beginnings(names: Iterable[str]) -> str:
    """Return what all names begin with, in whole words, or the first words of some."""
    words = [name.split(".")[:-1] for name in names]
    common = [column[0] for column in itertools.takewhile(lambda c: len(set(c)) == 1, zip(*words, strict=False))]
    if common:
        return f'"{".".join(common)}."'
    return ", ".join(sorted({name.split(".")[0] for name in names})[:4])


def read_states(path: Path, sha256: str | None = None) -> dict[str, dict[str, Tensor]]:
    """Read every set of named tensors of a file, running no code that is in it.

    Args:
        path: safetensors or ``torch.save``'s format, told apart by content, not by name.
        sha256: The digest it must have, or None.

    Raises:
        CheckpointError: If it is missing, not the promised one, damaged, something else, holds code, or holds no
            tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no file {path}; expected a checkpoint; correct the path or fetch the file")
    if sha256 is not None and (actual := file_sha256(path)) != sha256:
        raise CheckpointError(
            f"{path} has SHA-256 {actual[:12]}…; expected {sha256[:12]}…; fetch it again or correct sha256"
        )
    form = other_form(path)
    if form:
        raise CheckpointError(
            f"{path} is {form.what}; expected a state dict of torch.save or safetensors; {form.remedy}"
        )
    loaded = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    sets = states(loaded)
    if not sets:
        raise CheckpointError(
            f"{path} holds no named tensors but {_told(loaded)}; expected a state dict, alone or under a name such as "
            "state_dict or model; save model.state_dict()"
        )
    return sets


def _told(loaded: object) -> str:
    """Say in a few words what was read."""
    if isinstance(loaded, Mapping):
        return f"the keys {', '.join(sorted(map(str, loaded))[:4])}" if loaded else "an empty mapping"
    return f"a {type(loaded).__name__}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = safetensors.torch.load_file(path)
        return loaded
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({_first(error)}); expected whole safetensors; fetch it again"
        ) from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
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
