"""How many channels of each pretrained decoder are dead: ``python -m bench.dead_channels --profile radiographs``.

A channel is dead where the shift of its batch norm lies more than 2.5 scales below zero: behind it a ReLU passes fewer
than one value in 160, were they normally distributed. Reads the weights that the store holds; trains nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file

from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry

SCALES = 2.5
LAST = "decoder.blocks.4.conv2.1"  # batch norm of the decoder's last layer


def dead(weights: Path, layer: str = LAST) -> tuple[int, int]:
    """Count the dead channels of a layer and all of them.

    Args:
        weights: A file of an encoder with its decoder.
        layer: The batch norm's name.
    """
    state = load_file(weights)
    scale, shift = state[f"{layer}.weight"], state[f"{layer}.bias"]
    return int((shift + SCALES * scale.abs() < 0).sum()), len(shift)


def main() -> None:
    """Print the count of each phase whose weights are in the store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="radiographs")
    root = Path(__file__).resolve().parents[1]
    parameters = load_parameters(root, {"profile": parser.parse_args().profile})
    plan = make_plan(load_registry(root), parameters, load_families(root / "reports" / "families.yaml"))
    print(f"dead channels of {LAST}, phases whose weights are in the store")
    for chain in plan.phases.values():
        for phase in chain:
            folder = root / ".trials" / "phase" / phase.id[:2] / phase.id
            for file in sorted(folder.glob("*/encoder.safetensors")):
                closed, channels = dead(file)
                print(f"{phase.title:76} {closed} of {channels}")


if __name__ == "__main__":
    main()
