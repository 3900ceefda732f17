"""How other libraries name what we export; no torch here, so that a wrong name is refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import ConfigurationError, unknown


@dataclass(frozen=True)
class ExportLayout:
    """How another library names what we export.

    Attributes:
        name: What ``--layout`` says.
        dimensions: Of the networks it is for.
        names: Our prefix of a part → theirs; a part that is not here is left out.
        keys: One sentence about the names, for the card.
        loading: Network → Python that loads the file (``{file}`` is its name) into that library's model; "" is for any
            other network.
    """

    name: str
    dimensions: int
    names: Mapping[str, str]
    keys: str
    loading: Mapping[str, str]


OURS = """from pathlib import Path

from methods.external import load
from methods.networks import build
from methods.phases import NetworkSpec

network = {network}
state, facts = load(Path("{file}"), network, key_map="{key_map}", parts="{parts}")
backbone = build(network, 0)
backbone.load_state_dict(state, strict=False)  # what the file lacks stays as drawn"""

LAYOUTS = {
    layout.name: layout
    for layout in (
        ExportLayout(
            "torchvision",
            2,
            {"encoder.": ""},
            "torchvision's ResNet, without `fc`",
            {
                "unet_resnet50": """from safetensors.torch import load_file
from torchvision.models import resnet50

model = resnet50()
model.load_state_dict(load_file("{file}"), strict=False)  # misses fc.weight and fc.bias only""",
                "": "# torchvision's names, but no network of torchvision has these widths; load it into ours:\n"
                + OURS.replace("{key_map}", "torchvision"),
            },
        ),
        ExportLayout(
            "smp",
            2,
            {"encoder.": "encoder.", "decoder.": "decoder."},
            "segmentation-models-pytorch's `Unet`, without `segmentation_head`",
            {
                "unet_resnet50": """import segmentation_models_pytorch as smp
from safetensors.torch import load_file

model = smp.Unet("resnet50", encoder_weights=None, in_channels=3, classes=1)
model.load_state_dict(load_file("{file}"), strict=False)  # misses the head (and a decoder that is absent)""",
                "": "# the names of segmentation-models, which has no encoder of these widths; load it into ours:\n"
                + OURS.replace("{key_map}", "smp"),
            },
        ),
        ExportLayout(
            "monai",
            2,
            {"encoder.": ""},
            "MONAI's `ResNet` with two spatial dimensions, without `fc`",
            {
                "unet_resnet50": """from monai.networks.nets import resnet50
from safetensors.torch import load_file

# the two options below are not MONAI's defaults; without them it is another network
model = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False, feed_forward=False)
model.load_state_dict(load_file("{file}"))""",
                "unet_resnet_w16": """from monai.networks.nets.resnet import ResNet, ResNetBlock
from safetensors.torch import load_file

# conv1_t_stride and bias_downsample are not MONAI's defaults; without them it is another network
model = ResNet(ResNetBlock, [1, 1, 1, 1], [16, 32, 64, 128], spatial_dims=2, n_input_channels=3,
               conv1_t_stride=2, bias_downsample=False, feed_forward=False)
model.load_state_dict(load_file("{file}"))""",
            },
        ),
    )
}


def find_layout(name: str) -> ExportLayout:
    """Return the layout of a name.

    Raises:
        UnknownName: If there is none of that name, with near ones and all.
    """
    if name not in LAYOUTS:
        raise unknown("layout", name, LAYOUTS, "--layout")
    return LAYOUTS[name]


def layout_for(name: str, dimensions: int, network: str) -> ExportLayout:
    """Return a layout.

    Raises:
        UnknownName: If there is none of that name.
        ConfigurationError: If it is not for such networks.
    """
    layout = find_layout(name)
    if layout.dimensions != dimensions or not {network, ""} & layout.loading.keys():
        others = [o.name for o in LAYOUTS.values() if o.dimensions == dimensions and {network, ""} & o.loading.keys()]
        raise ConfigurationError(
            f"layout {name} has no names for {network} with {dimensions} dimensions; expected "
            f"{' or '.join(others) or 'a layout that is still to be written (methods/export_layouts.py)'}; "
            "export under that"
        )
    return layout
