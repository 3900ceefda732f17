"""Which architecture a checkpoint's names belong to, so that a refusal can say it. Imports no torch.

The marks are names of tensors as torchvision, timm, the transformers library and the authors' own code spell them.
"""

from __future__ import annotations

import re
from collections.abc import Collection

ENTERING = (
    "a ResNet-50 as torchvision spells it, alone or as the encoder of a U-Net, and in 3D the U-Net of TransVW "
    "and Models Genesis (docs/checkpoints.md)"
)
# The first that fits wins: what is told by its own parts stands before what is told by common ones.
MARKS: tuple[tuple[str, str], ...] = (
    (r"relative_position_bias_table", "a Swin transformer"),
    (r"(^|\.)(cls_token|class_token|pos_embed|pos_embedding)$", "a vision transformer (ViT)"),
    (r"patch_embed(dings)?\.|attn\.qkv\.|attention\.self\.query", "a vision transformer (ViT)"),
    (r"(^|\.)blocks\.\d+\.\d+\.(conv_pw|conv_dw|se)\b|_blocks\.\d+\._depthwise_conv", "an EfficientNet"),
    (r"features\.\d+\.\d+\.block\.\d+\.\d+\.", "an EfficientNet or a MobileNetV3"),
    (r"features\.\d+\.conv\.\d+\.\d+\.weight", "a MobileNetV2"),
    (r"denseblock\d+\.denselayer\d+", "a DenseNet"),
    (r"layer_scale$|\.gamma$|downsample_layers\.\d+", "a ConvNeXt"),
    (r"Mixed_\d[a-d]\.|inception\d[a-e]\.", "an Inception network"),
    (r"layer\d\.\d+\.se(_module)?\.", "a ResNet with squeeze and excitation"),
    (r"^(?!.*decoder\.)(.*\.)?conv1\.0\.weight$", "a ResNet with a deep stem (timm's resnet50d and the like)"),
    (r"down_tr64\.|up_tr64\.", "the 3D U-Net of Models Genesis"),
    (r"double_conv\.|encoder\.stages\.\d+|conv_blocks_context|seg_outputs|model\.\d+\.submodule", "another U-Net"),
)


def architecture(names: Collection[str]) -> str | None:
    """Return what a file's names say it is, in words, or None if they say nothing."""
    for pattern, what in MARKS:
        if any(re.search(pattern, name) for name in names):
            return what
    return _resnet(names) or _plain(names)


def _resnet(names: Collection[str]) -> str | None:
    blocks = {
        match.groups() for name in names if (match := re.search(r"(?:^|\.)layer([1-4])\.(\d+)\.conv1\.weight$", name))
    }
    if not blocks:
        return None
    counts = tuple(sum(stage == wanted for stage, _ in blocks) for wanted in "1234")
    deep = any(re.search(r"layer1\.0\.conv3\.weight$", name) for name in names)
    known = {
        (False, (2, 2, 2, 2)): "a ResNet-18",
        (False, (3, 4, 6, 3)): "a ResNet-34",
        (True, (3, 4, 6, 3)): "a ResNet-50 or a network of its form",
        (True, (3, 4, 23, 3)): "a ResNet-101",
        (True, (3, 8, 36, 3)): "a ResNet-152",
    }
    return known.get((deep, counts), f"a ResNet of {'+'.join(map(str, counts))} blocks")


def _plain(names: Collection[str]) -> str | None:
    if any(re.search(r"features\.0\.weight$", n) for n in names) and any("classifier." in n for n in names):
        return "a VGG or an AlexNet"
    return None
