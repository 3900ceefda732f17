"""Visual words: the classification head and its loss (TransVW; DiRA §4.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import ConfigurationError
from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.networks.normalisation import constants_of
from methods.terms.bound import BoundTerm, Forward, Views
from methods.terms.visual_words import VisualWords


class BoundVisualWords(BoundTerm):
    """Mean over the batch of the cross-entropy between the word and what the head makes of the deformed cube.

    The softmax is inside the loss. Weights of the Keras head start Xavier-uniform with bias 0, the other's as torch
    starts them; its batch norm has the backbone's constants.
    """

    def __init__(self, configuration: VisualWords, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        if backbone.dimensions != 3:
            raise ConfigurationError(
                f"found visual_words on a {backbone.dimensions}D network; expected a 3D one; enter the method with "
                "dimensions: 3"
            )
        width = backbone.channels[-1]
        keras = configuration.head == "keras"
        channels = width if keras else 2 * width
        hidden = configuration.hidden or 2 * width
        with random_numbers_from(seed_of(seed, "head")):
            self.convolution = nn.Conv3d(width, channels, 3, padding=1)
            self.norm = nn.BatchNorm3d(channels, **constants_of(backbone))
            layers = [nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, configuration.words)]
            self.layers = nn.Sequential(*(layers if keras else [nn.Linear(channels, configuration.words)]))
            if keras:
                for layer in (self.convolution, *self.layers):
                    if isinstance(layer, nn.Conv3d | nn.Linear):
                        nn.init.xavier_uniform_(layer.weight)
                        nn.init.zeros_(layer.bias)

    def classify(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps to logits ``(B, words)``, float32."""
        head = F.relu(self.norm(self.convolution(features[-1])))
        return self.layers(head.mean(dim=(2, 3, 4))).float()

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the loss."""
        return F.cross_entropy(self.classify(forward.features), views.words)
