"""MoCo-v2: projection heads, momentum encoder and queue (He 2020, Alg. 1; Chen 2020; DiRA Eq. 5)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.packed import to_device
from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.networks.normalisation import SplitBatchNorm2d
from methods.terms.bound import BoundTerm, Forward, Views
from methods.terms.moco_v2 import MocoV2
from methods.training.processes import joined


class BoundMocoV2(BoundTerm):
    """InfoNCE of query against its key and a queue of earlier keys.

    The key encoder is a copy of the *encoder* and its head, never of the decoder: the authors' key decoder is run and
    thrown away. The queue is updated after the step, not inside the forward pass, so it needs no copy; and it is a
    persistent buffer (lightly's loses it on saving). Nothing changes in ``eval`` mode: the authors' validation
    advances the key encoder and enqueues validation keys.

    With split batch norm the keys are shuffled over the parts and put back, as MoCo does over devices; with plain
    batch norm on one device there is no shuffle, and statistics are those of the whole batch.
    """

    def __init__(self, configuration: MocoV2, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        self.configuration = configuration
        width = backbone.channels[-1]
        hidden = configuration.hidden or width
        with random_numbers_from(seed_of(seed, "head")):
            self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, configuration.dimension))
        self.key_encoder = copy.deepcopy(backbone.encoder).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        generator = torch.Generator().manual_seed(seed_of(seed, "queue"))
        start = torch.randn(configuration.queue, configuration.dimension, generator=generator)
        self.register_buffer("queue", F.normalize(start, dim=1))  # (K, D), unit rows
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self._keys: Tensor | None = None  # of all processes, waiting for the queue
        self._own: Tensor | None = None  # of this process's batch

    @torch.no_grad()
    def before_step(self, views: Views) -> None:
        """Embed the keys of the whole batch: the shuffle reaches over micro-batches and processes."""
        self._own, self._keys = self._embed_keys(views)

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the mean over the batch of −log softmax of the positive among 1 + K similarities over τ."""
        query = embed(self.head, forward.features[-1])  # (B, D)
        if self.training and self._own is not None:
            key = self._own[views.rows]  # (B, D)
        else:
            with torch.no_grad():
                key, keys = self._embed_keys(views)
            if self.training:
                self._keys = keys
        # Under autocast the negatives' products alone would be rounded to bf16, and the positive's not.
        with torch.autocast(query.device.type, enabled=False):
            return info_nce(query, key, self.queue, self.configuration.temperature)

    def embeddings(
        self, views: Views, features: tuple[Tensor, ...], backbone: nn.Module
    ) -> tuple[Tensor, Tensor] | None:
        """Return unit embeddings: the query's, and the key's by the momentum encoder."""
        return embed(self.head, features[-1]), embed(self.key_head, self.key_encoder(views.key)[-1])

    def _embed_keys(self, views: Views) -> tuple[Tensor, Tensor]:
        """Return the keys of this process's batch, and in training those of all processes."""
        processes = joined()
        shuffles = self.training and any(isinstance(m, SplitBatchNorm2d) for m in self.key_encoder.modules())
        if not shuffles:
            own = embed(self.key_head, self.key_encoder(views.key)[-1])
            return own, processes.gather(own) if self.training else own
        images = processes.gather(views.key)
        generator = torch.Generator().manual_seed(views.step_seed)
        (order,) = to_device([torch.randperm(len(images), generator=generator).numpy()], images.device)
        shuffled = embed(self.key_head, self.key_encoder(images[processes.part(order)])[-1])
        keys = processes.gather(shuffled)[torch.argsort(order)]
        return processes.part(keys), keys

    @torch.no_grad()
    def after_step(self, backbone: nn.Module) -> None:
        """Move the key encoder and its head towards the query's, then enqueue this step's keys.

        Parameters only: batch-norm statistics of the key encoder are its own (as in MoCo).
        """
        followers = [*self.key_encoder.parameters(), *self.key_head.parameters()]
        leaders = [*backbone.encoder.parameters(), *self.head.parameters()]
        torch._foreach_lerp_(followers, leaders, 1.0 - self.configuration.momentum)
        if self._keys is None:
            return
        size = self.queue.shape[0]
        keys = self._keys[-size:]
        rows = (torch.arange(len(keys), device=keys.device) + self.position) % size
        self.queue[rows] = keys
        self.position.copy_((self.position + len(keys)) % size)
        self._keys = self._own = None


def embed(head: nn.Module, features: Tensor) -> Tensor:
    """Map the coarsest feature map ``(B, C, h, w)`` to unit embeddings ``(B, D)`` in float32."""
    return F.normalize(head(features.mean(dim=(2, 3))).float(), dim=1)


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE with a queue of negatives (DiRA Eq. 5; He 2020 Eq. 1), mean over the batch.

    The sum runs over the positive and the K negatives, as in MoCo.

    Args:
        query: Unit rows ``(B, D)``.
        key: Unit rows ``(B, D)``; row i is the positive of row i of ``query``.
        queue: Unit rows ``(K, D)``: the negatives.
        temperature: τ.
    """
    positive = (query * key).sum(dim=1, keepdim=True)  # (B, 1)
    negative = query @ queue.T  # (B, K)
    logits = torch.cat([positive, negative], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
