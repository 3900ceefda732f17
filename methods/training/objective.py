"""An objective: a backbone and the weighted terms that train it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.seeding import seed as seed_of
from methods.networks import build
from methods.networks.normalisation import split_batch_norm
from methods.phases import PretextConfiguration
from methods.terms import load
from methods.terms.bound import BoundTerm, Forward, Views
from methods.training.processes import joined
from methods.training.trained import Trained

# Mean and standard deviation of ImageNet's channels, as torchvision's weights expect them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Objective(Trained):
    """Σ weight × term, with one forward pass of the backbone for all terms.

    Terms of weight 0 are not built. State-dict keys begin with ``backbone.`` or ``terms.<role>.``, so that a phase
    takes over what the one before has, and what is new starts fresh from its own seed: no term's start depends on
    which others there are.
    """

    def __init__(self, configuration: PretextConfiguration, init_seed: int) -> None:
        super().__init__(build(configuration.network, seed_of(init_seed, "backbone")))
        split_batch_norm(self.backbone, configuration.norm_splits, joined().count)
        self.weights: dict[str, float] = {}
        self.needs_decoder = False
        self.terms = nn.ModuleDict()
        for planned in configuration.terms:
            if planned.weight == 0:
                continue
            role, term = planned.role, planned.configuration.term()
            self.weights[role] = planned.weight
            self.needs_decoder |= term.needs_decoder
            self.terms[role] = load(term.bound)(
                term, self.backbone, seed_of(init_seed, "term", role), configuration.views.smallest_side
            )
        self.normalises = configuration.normalisation == "imagenet"
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def as_input(self, grey: Tensor) -> Tensor:
        """Expand a grey batch ``(B, 1, *S)`` in [0, 1] to the network's channels, normalised if asked."""
        images = super().as_input(grey)
        return (images - self.mean) / self.deviation if self.normalises else images

    def forward(self, views: Views) -> tuple[Tensor, dict[str, Tensor], Forward]:
        """Return the weighted sum, each term's unweighted loss by role, and what was computed on the way."""
        features = self.backbone.encode(views.query)
        restored = None
        if self.needs_decoder:
            restored = self.terms["restoration"].restore(self.backbone.decode(features))
        shared = Forward(features, restored)
        losses = {role: term(views, shared, self.backbone) for role, term in self.terms.items()}
        total = torch.stack([self.weights[role] * loss for role, loss in losses.items()]).sum()
        return total, losses, shared

    def own_parameters(self) -> list[nn.Parameter]:
        """Return what the backbone's optimiser trains: backbone and heads, no opponent, no momentum encoder."""
        opponents = {id(p) for term in self.bound_terms() for p in term.opponent_parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in opponents]

    def computed_parameters(self) -> list[nn.Parameter]:
        """Return those of ``own_parameters`` that the phase's loss depends on: without a decoder that nobody needs."""
        unused = set() if self.needs_decoder else {id(p) for p in self.backbone.decoder.parameters()}
        return [p for p in self.own_parameters() if id(p) not in unused]

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Return those of ``own_parameters`` whose learning rate follows no schedule."""
        return [p for term in self.bound_terms() for p in term.constant_rate_parameters()]

    def bound_terms(self) -> list[BoundTerm]:
        """Return the terms in the order of the phase."""
        return list(self.terms.values())

    def before_step(self, views: Views) -> None:
        """Let every term compute what needs the whole batch."""
        for term in self.bound_terms():
            term.before_step(views)

    def after_step(self) -> None:
        """Let every term follow the backbone."""
        for term in self.bound_terms():
            term.after_step(self.backbone)
