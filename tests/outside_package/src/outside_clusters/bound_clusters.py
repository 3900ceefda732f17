"""What is trained for cluster discrimination: a head and the clusters' centres."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.backbone import random_numbers_from
from methods.terms.bound import BoundTerm, Forward, Views
from outside_clusters.clusters import ClusterDiscrimination


class BoundClusterDiscrimination(BoundTerm):
    """Cross-entropy from the key's sharpened assignment to the query's, minus the entropy of the mean assignment."""

    def __init__(self, configuration: ClusterDiscrimination, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        self.temperature = configuration.temperature
        with random_numbers_from(seed):
            self.head = nn.Linear(backbone.channels[-1], configuration.dimension)
            self.centres = nn.Linear(configuration.dimension, configuration.clusters, bias=False)

    def assign(self, features: Tensor, temperature: float) -> Tensor:
        """Map the coarsest feature map ``(B, C, h, w)`` to log-probabilities ``(B, K)``."""
        embedding = F.normalize(self.head(features.mean(dim=(2, 3))).float(), dim=1)
        return F.log_softmax(embedding @ F.normalize(self.centres.weight.float(), dim=1).T / temperature, dim=1)

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the loss; 0 at best: every pair agrees with certainty and every cluster is used alike."""
        query = self.assign(forward.features[-1], self.temperature)
        with torch.no_grad():
            key = self.assign(backbone.encode(views.key)[-1], self.temperature / 2).exp()
        mean = query.exp().mean(dim=0)
        entropy = -(mean * mean.clamp_min(1e-12).log()).sum()
        most = torch.log(torch.tensor(float(mean.numel()), device=mean.device))
        return -(key * query).sum(dim=1).mean() + (most - entropy)
