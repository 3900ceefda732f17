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


def _sequential() -> dict[str, str]:
    """Return the children of torchvision's ResNet in order, as ``nn.Sequential(*children)`` numbers them."""
    children = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}
    return {f"{position}.": f"encoder.{name}." for position, name in children.items()}


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
            "moco_v3",
            "MoCo v3: the base encoder, never the momentum encoder",
            ("module.base_encoder.", "base_encoder."),
        ),
        Layout(
            "sequential",
            "a ResNet cut into nn.Sequential, as lightly's examples do",
            ("backbone.", "", "module.", "module.backbone."),
            modules=_sequential(),
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
PREFIX = "prefix"  # the layout of a match under a prefix that no layout lists
# The copies that follow another encoder of the same file; the methods' own evaluation takes the other one.
FOLLOWERS = frozenset({
    *("encoder_k", "key_encoder", "momentum_encoder", "backbone_momentum", "target_encoder", "target_network"),
    *("target_net", "target"),
})  # fmt: skip


@dataclass
class Match:
    """Which tensor of a file becomes which of ours.

    Attributes:
        layout: Name of the layout, or ``explicit``.
        rule: The mapping prefix → replacement that was used.
        sources: Our name → the file's name, for wanted names only.
        left_over: Names of the file that were not used, sorted.
        strangers: Left-over names that became a part of the encoder or decoder that the network does not have.
        rivals: Prefixes under which another encoder of the file is as complete, where nothing says which is meant.
    """

    layout: str
    rule: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    rivals: list[str] = field(default_factory=list)

    def filled(self, part: str) -> int:
        """Return how many tensors of a part were found."""
        return sum(name.startswith(part + ".") for name in self.sources)

    @property
    def encoder_sources(self) -> frozenset[str]:
        """The file's names that fill the encoder."""
        return frozenset(source for name, source in self.sources.items() if name.startswith("encoder."))


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
        elsewhere = _under_any_prefix(names, wanted) if key_map == AUTO else []
        every = tries + elsewhere
        best = max(every, key=lambda found: (found.filled("encoder"), found.filled("decoder")))  # the first of equals
        best.rivals = _rivals(best, elsewhere, wanted)
        return best
    return match(names, wanted, "explicit", dict(key_map))


def _under_any_prefix(names: Collection[str], wanted: Collection[str]) -> list[Match]:
    """Match under every prefix that stands before the deepest of the encoder's names, copies that follow left out."""
    deepest = max((n for n in wanted if n.startswith("encoder.")), key=lambda n: (n.count("."), n))
    found = []
    for modules in ({"": "encoder."}, *(layout.modules for layout in LAYOUTS.values() if layout.modules)):
        theirs = next(
            (their + deepest.removeprefix(our) for their, our in modules.items() if deepest.startswith(our)), None
        )
        ends = [n for n in names if theirs and (n == theirs or n.endswith("." + theirs))]
        for prefix in sorted(n[: -len(theirs or "")] for n in ends):
            if FOLLOWERS.isdisjoint(prefix.split(".")):
                found.append(match(names, wanted, PREFIX, _rule(prefix, modules)))
    return found


def _rule(prefix: str, modules: Mapping[str, str]) -> dict[str, str]:
    rule = {prefix + theirs: ours for theirs, ours in modules.items()}
    if "" in modules and prefix.endswith("encoder."):
        rule[prefix.removesuffix("encoder.") + "decoder."] = "decoder."
    return rule


def _rivals(best: Match, others: Iterable[Match], wanted: Collection[str]) -> list[str]:
    """Return the prefixes of all complete encoders if there are several, the chosen one's first."""
    complete = {
        next(iter(other.rule)): other.encoder_sources
        for other in others
        if not missing(other, wanted, ("encoder",)) and other.encoder_sources != best.encoder_sources
    }
    return [next(iter(best.rule)), *complete] if complete else []


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
