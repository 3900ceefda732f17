"""From a head's options to a model: the backbone with that head."""

from __future__ import annotations

import torch
from torch import nn

from tasks.heads.images import Classifier, Segmenter
from tasks.heads.patches import VolumeClassifier, VolumeSegmenter
from tasks.specs import ClassificationSpec, ImageClassification, ImageSegmentation, SegmentationSpec


def make_classifier(
    transfer: ClassificationSpec, backbone: nn.Module, outputs: int, generator: torch.Generator
) -> nn.Module:
    """Return a model with one logit a label."""
    if isinstance(transfer, ImageClassification):
        return Classifier(backbone, outputs, transfer.head.initial_std, generator)
    return VolumeClassifier(backbone, outputs, transfer.head.hidden, generator)


def make_segmenter(transfer: SegmentationSpec, backbone: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a model with one logit a pixel or voxel."""
    if isinstance(transfer, ImageSegmentation):
        return Segmenter(backbone, transfer.outputs, transfer.head.kernel, generator)
    return VolumeSegmenter(backbone, transfer.outputs, generator)
