"""SimSiam: projector, predictor and loss (Chen and He 2021, Alg. 1; DiRA Eq. 6–7)."""

from __future__ import annotations

import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.terms.bound import BoundTerm, Forward, Views
from methods.terms.simsiam import SimSiam


class BoundSimSiam(BoundTerm):
    """½ D(p₁, z₂) + ½ D(p₂, z₁), D the negative cosine and no gradient through z.

    DiRA writes D(z₁, stopgrad(y₂)) with y₂ the encoder's own output; the original compares a *prediction* with the
    other view's *projection*, and so does this. Both views pass the same encoder, one after the other. The projector's
    layers have no bias (each is followed by a batch norm, the last without affine part); the predictor's last has one.
    """

    def __init__(self, configuration: SimSiam, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        width = backbone.channels[-1]
        dimension = configuration.dimension or width
        with random_numbers_from(seed_of(seed, "projector")):
            self.projector = nn.Sequential(
                nn.Linear(width, dimension, bias=False),
                nn.BatchNorm1d(dimension),
                nn.ReLU(inplace=True),
                nn.Linear(dimension, dimension, bias=False),
                nn.BatchNorm1d(dimension),
                nn.ReLU(inplace=True),
                nn.Linear(dimension, dimension, bias=False),
                nn.BatchNorm1d(dimension, affine=False),
            )
        with random_numbers_from(seed_of(seed, "predictor")):
            self.predictor = nn.Sequential(
                nn.Linear(dimension, configuration.predictor, bias=False),
                nn.BatchNorm1d(configuration.predictor),
                nn.ReLU(inplace=True),
                nn.Linear(configuration.predictor, dimension),
            )
        self.distance = NegativeCosineSimilarity()
        self.fixed = configuration.predictor_rate == "fixed"

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the symmetric loss, mean over the batch, in [−1, 1]."""
        features = (forward.features[-1], backbone.encode(views.key)[-1])
        projected = [self.projector(feature.mean(dim=(2, 3))) for feature in features]  # z₁, z₂: (B, D)
        predicted = [self.predictor(projection) for projection in projected]  # p₁, p₂: (B, D)
        with torch.autocast(views.query.device.type, enabled=False):
            return self.symmetric(predicted, [projection.detach() for projection in projected])

    def embeddings(
        self, views: Views, features: tuple[Tensor, ...], backbone: nn.Module
    ) -> tuple[Tensor, Tensor] | None:
        """Return the projections of both views."""
        both = (features[-1], backbone.encode(views.key)[-1])
        query, key = (self.projector(feature.mean(dim=(2, 3))).float() for feature in both)
        return query, key

    def symmetric(self, predicted: list[Tensor], target: list[Tensor]) -> Tensor:
        """Return ½ D(p₁, z₂) + ½ D(p₂, z₁) in float32 of two pairs of ``(B, D)``."""
        (one, two), (of_one, of_two) = predicted, target
        there = self.distance(one.float(), of_two.float())
        back = self.distance(two.float(), of_one.float())
        return 0.5 * there + 0.5 * back

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Return the predictor's parameters: their learning rate is fixed."""
        return list(self.predictor.parameters()) if self.fixed else []
