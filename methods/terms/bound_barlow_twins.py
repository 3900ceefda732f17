"""Barlow Twins: projector and loss (Zbontar 2021, Alg. 1; DiRA Eq. 8)."""

from __future__ import annotations

from itertools import pairwise

import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from harness.errors import DataError
from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.terms.barlow_twins import BarlowTwins
from methods.terms.bound import BoundTerm, Forward, Views


class BoundBarlowTwins(BoundTerm):
    """Σ (1 − C_ii)² + λ Σ C_ij², C the cross-correlation of both views' embeddings over the global batch.

    Both views pass the same encoder and projector, one after the other, so each has batch statistics of its own. The
    projector has no biases (lightly's ends in a layer with one); its closing batch norm without affine part belongs to
    the loss, which takes the batch's statistics in ``eval`` as well: a validation loss stays comparable between steps
    at an equal batch.
    """

    def __init__(self, configuration: BarlowTwins, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        widths = (backbone.channels[-1], configuration.hidden, configuration.hidden)
        layers: list[nn.Module] = []
        with random_numbers_from(seed_of(seed, "projector")):
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
            layers.append(nn.Linear(widths[-1], configuration.dimension, bias=False))
        self.projector = nn.Sequential(*layers)
        self.correlate = BarlowTwinsLoss(lambda_param=configuration.off_diagonal)

    def project(self, features: Tensor) -> Tensor:
        """Map the coarsest feature map ``(B, C, h, w)`` to embeddings ``(B, D)`` in float32, not yet standardised."""
        return self.projector(features.mean(dim=(2, 3))).float()

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the loss of the global batch.

        Raises:
            DataError: If the batch is a single image, which has no correlation.
        """
        if len(views.query) < 2:
            raise DataError("found a batch of 1 image; Barlow Twins correlates over a batch; give it at least 2")
        query = self.project(forward.features[-1])
        key = self.project(backbone.encode(views.key)[-1])
        with torch.autocast(query.device.type, enabled=False):
            return self.correlate(over_all_processes(query), over_all_processes(key))

    def embeddings(
        self, views: Views, features: tuple[Tensor, ...], backbone: nn.Module
    ) -> tuple[Tensor, Tensor] | None:
        """Return the projections of both views, not yet standardised."""
        return self.project(features[-1]), self.project(backbone.encode(views.key)[-1])


def over_all_processes(embeddings: Tensor) -> Tensor:
    """Return the embeddings of every process ``(B · processes, D)``; with one process, what was given.

    Every process then computes the same loss. The gradient of the gathering sums over processes and data-parallel
    training averages over them, so that together they give the gradient of one process with the whole batch.
    """
    alone = not torch.distributed.is_available() or not torch.distributed.is_initialized()
    if alone or torch.distributed.get_world_size() == 1:
        return embeddings
    return torch.cat(all_gather(embeddings.contiguous()))
