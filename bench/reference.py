"""The usual arrangement of a DiRA step over MoCo-v2, written from its description, with what it does in vain.

* the key network is the whole U-Net: its decoder runs and its output is thrown away, and its average follows, too,
  parameter by parameter into new tensors;
* the discriminator is not frozen while the backbone's loss passes through it, so its gradients are computed and zeroed;
* it judges clean and restored images in two passes;
* keys enter the queue before the backward pass, so the logits need a copy of it;
* losses are read off the device one by one, every step, and optimisers are not fused;
* channels come first in memory, and the decoder makes every enlarged map before it convolves it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.measuring import plain_arrangement
from methods.training.objective import Objective

MOMENTUM, TEMPERATURE, RESTORATION, ADVERSARY = 0.999, 0.2, 10.0, 0.001


class ReferenceStep:
    """Owns copies of an objective's networks, so that both take the same first step.

    Args:
        objective: A phase with MoCo-v2, and restoration and adversary or not.
        learning_rate: Of the backbone's SGD.
    """

    def __init__(self, objective: Objective, learning_rate: float) -> None:
        terms = objective.terms
        dis = terms["discrimination"]
        self.backbone = copy.deepcopy(objective.backbone)
        self.head, self.key_head = copy.deepcopy(dis.head), copy.deepcopy(dis.key_head)
        self.key_backbone = copy.deepcopy(objective.backbone).requires_grad_(False)
        self.queue, self.pointer = dis.queue.T.clone(), 0
        self.restore = copy.deepcopy(terms["restoration"].head) if "restoration" in terms else None
        self.key_restore = copy.deepcopy(self.restore)
        self.discriminator = copy.deepcopy(terms["adversary"].discriminator) if "adversary" in terms else None
        plain_arrangement(*self._modules())
        trained = [m for m in (self.backbone, self.head, self.restore) if m is not None]
        self.parameters = [p for m in trained for p in m.parameters()]
        self.optimiser = torch.optim.SGD(self.parameters, learning_rate, momentum=0.9, weight_decay=1e-4, foreach=False)
        if self.discriminator is not None:
            self.opponent = torch.optim.Adam(self.discriminator.parameters(), 2e-4, (0.5, 0.999), foreach=False)

    def _modules(self) -> list[nn.Module]:
        """Return every network that there is."""
        both = (self.backbone, self.head, self.key_backbone, self.key_head)
        other = (self.restore, self.key_restore, self.discriminator)
        return [*both, *(module for module in other if module is not None)]

    def double(self) -> None:
        """Go on in double precision, in which two orders of sums agree to far more digits."""
        for module in self._modules():
            module.double()
        self.queue = self.queue.double()

    def step(self, query: Tensor, key: Tensor, target: Tensor) -> dict[str, float]:
        """Take one step on network inputs ``(B, 3, P, P)`` and clean crops ``(B, 1, P, P)``; return the losses."""
        features = self.backbone.encode(query)
        embedded = F.normalize(self.head(features[-1].mean((2, 3))), dim=1)
        restored = None
        if self.restore is not None:
            restored = torch.sigmoid(self.restore(self.backbone.decode(features)))
        with torch.no_grad():
            self._follow()
            key_features = self.key_backbone.encode(key)
            keys = F.normalize(self.key_head(key_features[-1].mean((2, 3))), dim=1)
            if self.key_restore is not None:
                torch.sigmoid(self.key_restore(self.key_backbone.decode(key_features)))
        positive = (embedded * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, embedded @ self.queue.clone().detach()], 1) / TEMPERATURE
        self.queue[:, self.pointer : self.pointer + len(keys)] = keys.T
        self.pointer = (self.pointer + len(keys)) % self.queue.shape[1]
        losses = {
            "discrimination": F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        }
        total = losses["discrimination"]
        if restored is not None:
            losses["restoration"] = F.mse_loss(restored, target)
            total = total + RESTORATION * losses["restoration"]
        if self.discriminator is not None:
            judged = self.discriminator(restored)
            losses["adversary"] = F.mse_loss(judged, torch.ones_like(judged))
            total = total + ADVERSARY * losses["adversary"]
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        if self.discriminator is not None and restored is not None:
            self.opponent.zero_grad()
            real, fake = self.discriminator(target), self.discriminator(restored.detach())
            losses["opponent"] = 0.5 * (
                F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))
            )
            losses["opponent"].backward()
            self.opponent.step()
        return {name: value.item() for name, value in losses.items()}

    def _follow(self) -> None:
        pairs: list[tuple[nn.Module | None, nn.Module | None]] = [
            (self.backbone, self.key_backbone),
            (self.head, self.key_head),
            (self.restore, self.key_restore),
        ]
        for leader, follower in pairs:
            if leader is not None and follower is not None:
                for ahead, behind in zip(leader.parameters(), follower.parameters(), strict=True):
                    behind.data = behind.data * MOMENTUM + ahead.data * (1.0 - MOMENTUM)
