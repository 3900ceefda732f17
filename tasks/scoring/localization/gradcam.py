"""Grad-CAM (Selvaraju et al. 2017) of a classifier, by captum, at any level of any backbone.

The map of a class is Σₖ αₖ Aₖ, where Aₖ are the channels of one feature map and αₖ the mean over places of the gradient
of the class's logit (before the sigmoid) with respect to Aₖ. What is returned is signed; ReLU follows where boxes are
made, so that the sign is not lost from what is stored.
"""

from __future__ import annotations

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from harness.errors import ConfigurationError

BATCH = 64  # maps at once: the graph of a backward pass is held for each


class _Watched(nn.Module):
    """A classifier whose one feature map passes through a module of its own, which captum can hook.

    ``watched`` hands on the very tensor that the rest of the encoder goes on from, whatever the backbone's layers are.
    """

    def __init__(self, classifier: nn.Module, level: int) -> None:
        super().__init__()
        self.classifier, self.level, self.watched = classifier, level, nn.Identity()
        self.last: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        features = self.classifier.features(images)
        self.watched(features[self.level])
        logits: Tensor = self.classifier.logits(features)
        self.last = logits.detach().float()
        return logits


def choose_level(sides: list[int], asked: str | int, least_side: int) -> int:
    """Return which feature map is looked at.

    Args:
        sides: Side of each feature map in pixels, finest first.
        asked: An index, or ``auto``: the coarsest of at least ``least_side``.
        least_side: In pixels.

    Raises:
        ConfigurationError: If there is none.
    """
    if asked == "auto":
        fine = [level for level, side in enumerate(sides) if side >= least_side]
        if not fine:
            raise ConfigurationError(
                f"the backbone's feature maps have sides {sides}; localization expects one of at least {least_side}; "
                "use larger images or set localization.least_side"
            )
        return fine[-1]
    if not isinstance(asked, int) or asked >= len(sides):
        raise ConfigurationError(
            f"localization.cam_level is {asked}; the backbone has levels 0 to {len(sides) - 1}; choose one or auto"
        )
    return asked


def grad_cam(classifier: nn.Module, images: Tensor, classes: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Return the evidence maps of one class for each image.

    Args:
        classifier: A ``tasks.heads.images.Classifier`` in evaluation mode; its parameters and their gradients stay as
            they were.
        images: Normalised, ``(B, 1 or channels, S, S)``.
        classes: The class to explain, int64 ``(B,)``.
        level: Which feature map.

    Returns:
        Signed maps ``(B, h, w)`` and the logits ``(B, outputs)``, float32, on the images' device.
    """
    watched = _Watched(classifier, level).eval()
    method = LayerGradCam(watched, watched.watched)
    maps, logits = [], []
    for part, targets in zip(images.split(BATCH), classes.split(BATCH), strict=True):
        with torch.enable_grad():
            found = method.attribute(part, target=targets, relu_attributions=False)
        maps.append(found.detach()[:, 0].float())
        logits.append(watched.last)
    return torch.cat(maps), torch.cat(logits)
