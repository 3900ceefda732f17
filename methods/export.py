"""Take what was pretrained elsewhere: safetensors under the names of other libraries, a digest and a card.

Values are untouched, only names change, so an export read back gives the same network. A new layout (a 3D one, say) is
an entry in ``methods.export_layouts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from torch import Tensor

from harness.errors import CheckpointError, ConfigurationError
from harness.identity import file_sha256
from harness.whole_files import write_whole
from methods.export_card import ExportedMethod, WrittenWeights, card
from methods.export_layouts import layout_for
from methods.phases import NetworkSpec
from methods.training.checkpoints import ENCODER, load_encoder, save_encoder


@dataclass(frozen=True)
class Exported:
    """The files of an export.

    Attributes:
        weights: safetensors. digest: its SHA-256, as ``sha256sum --check`` reads it. card: Markdown.
        sha256: Of the weights.
        tensors: How many.
        parts: Which parts are in it.
    """

    weights: Path
    digest: Path
    card: Path
    sha256: str
    tensors: int
    parts: tuple[str, ...]


def export(phase: Path, layout: str, out: Path, about: ExportedMethod) -> Exported:
    """Write weights, digest and card; the same pretraining gives the same bytes.

    Args:
        phase: Folder of the method's last phase.
        layout: Name of a layout.
        out: Folder for the files; made if need be.
        about: What the card says of the method.

    Raises:
        UnknownName, ConfigurationError: If the layout does not exist or does not fit, or ``out`` cannot be written.
        CheckpointError: If the phase's weights are missing or damaged.
    """
    weights, described = load_encoder(Path(phase) / ENCODER)
    network = NetworkSpec.model_validate(described["network"])
    names = layout_for(layout, about.dimensions, network.name)
    parts = ["encoder", *(["decoder"] if about.decoder_trained and "decoder." in names.names else [])]
    tensors = renamed(weights, {part + ".": names.names[part + "."] for part in parts})
    if not tensors:
        raise CheckpointError(
            f"{phase} holds no {' or '.join(parts)} tensors; expected a trained backbone; rerun the pretraining"
        )
    stem = f"{about.method}-{about.profile}-seed{about.pretrain_seed}-{layout}"
    target, digest_file, card_file = (
        Path(out) / f"{stem}{end}" for end in (".safetensors", ".safetensors.sha256", ".md")
    )
    stated: dict[str, JsonValue] = {"layout": layout, "network": network.dump(), "parts": [*parts]}
    told = about.model_dump(include={"method", "profile", "pretrain_seed", "phase_id", "stamp"})
    loading = names.loading.get(network.name, names.loading.get("", ""))
    loading = loading.replace("{file}", target.name).replace("{network}", repr(network))
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        save_encoder(target, tensors, {**stated, **told})
        sha256 = file_sha256(target)
        written = WrittenWeights(
            network=network, file=target.name, sha256=sha256, layout=layout, keys=names.keys, parts=tuple(parts),
            tensors=len(tensors), parameters=parameters(tensors), loading=loading.replace("{parts}", "_".join(parts)),
        )  # fmt: skip
        _write(digest_file, f"{sha256}  {target.name}\n")
        _write(card_file, card(about, written))
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {out} ({error.strerror}); expected a folder that can be written; give another --out"
        ) from error
    return Exported(target, digest_file, card_file, sha256, len(tensors), tuple(parts))


def renamed(weights: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors under the given prefixes with those replaced, and nothing else."""
    return {
        new + name.removeprefix(old): value
        for name, value in weights.items()
        for old, new in prefixes.items()
        if name.startswith(old)
    }


def parameters(tensors: Mapping[str, Tensor]) -> int:
    """Count what is trained: batch norm's running statistics and counters are not."""
    running = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for name, value in tensors.items() if not name.endswith(running))


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode())
