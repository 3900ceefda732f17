"""Under which names published checkpoints keep an encoder and a decoder, and how they become ours. Imports no torch.

Ours: ``encoder.`` before torchvision's names, ``decoder.`` before those of segmentation-models' U-Net decoder. A
layout is a list of prefixes under which a part is found; a new one is a line in ``LAYOUTS``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from harness.errors import CheckpointError, unknown

PARTS = ("encoder", "decoder")
COUNTER = "num_batches_tracked"  # files older than torch 0.4.1 lack it; it changes no number


@dataclass(frozen=True)
class Layout:
    """One published way to name the tensors.

    Attributes:
        name: What ``key_map`` says.
        source: Who writes it.
        prefixes: What may stand before the part's own names.
        unet: Whether ``encoder.`` and ``decoder.`` follow the prefix; else the encoder's names do.
        modules: The names of the file's modules, each with ours, where no name is shared.
    """

    name: str
    source: str
    prefixes: tuple[str, ...]
    unet: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)

    def rules(self) -> Iterable[dict[str, str]]:
        """Yield the mappings prefix → replacement to try, the likeliest first."""
        for prefix in self.prefixes:
            if self.modules:
                yield {prefix + name: ours for name, ours in self.modules.items()}
                continue
            yield {prefix + part + ".": part + "." for part in PARTS} if self.unet else {prefix: "encoder."}


def _models_genesis() -> dict[str, str]:
    """Return the modules of Models Genesis' 3D U-Net: ``down_tr64`` … ``down_tr512``, ``up_tr256`` … ``up_tr64``."""
    blocks = {f"down_tr{64 << level}.": f"encoder.levels.{level}." for level in range(4)}
    blocks |= {f"up_tr{256 >> step}.": f"decoder.steps.{step}.convs." for step in range(3)}
    modules = {
        f"{theirs}ops.{position}.{part}1.": f"{ours}{position}.{part.replace('bn', 'norm')}."
        for theirs, ours in blocks.items()
        for position in range(2)
        for part in ("conv", "bn")
    }
    return modules | {f"up_tr{256 >> step}.up_conv.": f"decoder.steps.{step}.up." for step in range(3)}


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("torchvision", "torchvision's classifiers, alone or in DataParallel", ("", "module.")),
        Layout("moco", "MoCo: the query encoder, never the key encoder", ("module.encoder_q.", "encoder_q.")),
        Layout("simsiam", "SimSiam", ("module.encoder.", "encoder.")),
        Layout("barlow_twins", "Barlow Twins: whole, or the bare backbone", ("module.backbone.", "backbone.", "")),
        Layout("smp", "segmentation-models' U-Net", ("", "module."), unet=True),
        Layout(
            "dira",
            "the authors' DiRA U-Net, alone or inside MoCo",
            (
                "module.",
                "backbone.",
                "module.backbone.",
                "",
                "module.encoder_q.",
                "module.encoder_q.backbone.",
                "encoder_q.",
                "encoder_q.backbone.",
            ),
            unet=True,
        ),
        Layout(
            "models_genesis",
            "the PyTorch releases of Models Genesis and TransVW",
            ("module.", "", "module.encoder.", "encoder."),
            modules=_models_genesis(),
        ),
    )
}  # fmt: skip
AUTO = "auto"


@dataclass
class Match:
    """Which tensor of a file becomes which of ours.

    Attributes:
        layout: Name of the layout, or ``explicit``.
        rule: The mapping prefix → replacement that was used.
        sources: Our name → the file's name, for wanted names only.
        left_over: Names of the file that were not used, sorted.
        strangers: Left-over names that became a part of the encoder or decoder that the network does not have.
    """

    layout: str
    rule: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def filled(self, part: str) -> int:
        """Return how many tensors of a part were found."""
        return sum(name.startswith(part + ".") for name in self.sources)


def known_key_map(key_map: str | Mapping[str, str]) -> None:
    """Check a ``key_map``.

    Raises:
        UnknownName: For a name that is no layout, with near names.
        CheckpointError: For a mapping that leads nowhere.
    """
    if isinstance(key_map, str):
        if key_map not in (AUTO, *LAYOUTS):
            raise unknown("layout", key_map, (AUTO, *LAYOUTS), "key_map")
    elif not any(target.startswith("encoder.") for target in key_map.values()):
        raise CheckpointError(
            f"key_map {dict(key_map)} has no replacement that begins with encoder.; expected where the encoder's "
            'names begin, as in {"module.net.": "encoder."}; correct it'
        )


def best_match(names: Collection[str], wanted: Collection[str], key_map: str | Mapping[str, str]) -> Match:
    """Try every rule that ``key_map`` allows and return the one that fills most, the encoder first.

    Args:
        names: The file's.
        wanted: Ours: ``encoder.…`` and ``decoder.…``.
        key_map: ``auto``, the name of a layout, or a mapping prefix → replacement (the longest prefix wins).

    Raises:
        UnknownName: For a name that is no layout.
        CheckpointError: If an explicit mapping sends two names to one.
    """
    known_key_map(key_map)
    if isinstance(key_map, str):
        layouts = LAYOUTS.values() if key_map == AUTO else (LAYOUTS[key_map],)
        tries = [match(names, wanted, layout.name, rule) for layout in layouts for rule in layout.rules()]
        return max(tries, key=lambda found: (found.filled("encoder"), found.filled("decoder")))  # the first of equals
    return match(names, wanted, "explicit", dict(key_map))


def match(names: Collection[str], wanted: Collection[str], layout: str, rule: dict[str, str]) -> Match:
    """Apply one rule to the names of a file.

    Raises:
        CheckpointError: If two names become one.
    """
    found = Match(layout, rule)
    ours = set(wanted)
    modules = {".".join(name.split(".")[:2]) for name in ours}  # encoder.conv1, …, decoder.blocks
    for name in sorted(names):
        prefix = max((p for p in rule if name.startswith(p)), key=len, default=None)
        target = None if prefix is None else rule[prefix] + name.removeprefix(prefix)
        if target is None or target not in ours:
            found.left_over.append(name)
            if target is not None and ".".join(target.split(".")[:2]) in modules:
                found.strangers.append(name)
        elif target in found.sources:
            raise CheckpointError(
                f"key_map sends {found.sources[target]} and {name} to one tensor, {target}; expected one source "
                "each; make the prefixes longer"
            )
        else:
            found.sources[target] = name
    return found


def missing(found: Match, wanted: Iterable[str], parts: Collection[str]) -> list[str]:
    """Return the wanted names of some parts that were not found, counters of batches left out, sorted."""
    return sorted(
        name
        for name in wanted
        if name.split(".")[0] in parts and name not in found.sources and not name.endswith(COUNTER)
    )
