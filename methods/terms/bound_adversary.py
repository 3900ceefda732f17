"""The adversary: a patch discriminator and both sides of its game (DiRA §3.3, Eq. 3–4, §4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import ConfigurationError
from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.options import Adam
from methods.terms.adversary import Adversary
from methods.terms.bound import BoundTerm, Forward, Views


def discriminator(configuration: Adversary, dimensions: int = 2) -> nn.Sequential:
    """Build the discriminator: 1-channel image to a map of logits, one per patch (no sigmoid).

    Four blocks of 3×3 convolution (strides 2, 2, 2, 1), instance norm except in the first (no affine part, no running
    statistics), LeakyReLU 0.2; then a fifth 3×3 convolution to one channel: 224 px give 28 × 28. ``layers: four``
    leaves out the fourth block, so that there are four convolutions in all. Weights N(0, 0.02). In 3D the same of 3×3×3
    convolutions (DiRA §4.1 says no more; no code was released): 64 × 64 × 32 voxels give 8 × 8 × 4.
    """
    widths = configuration.widths if configuration.layers == "blocks_and_output" else configuration.widths[:3]
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimensions]
    layers: list[nn.Module] = []
    before = 1
    for position, width in enumerate(widths):
        layers.append(convolution(before, width, 3, stride=2 if position < 3 else 1, padding=1))
        if position > 0:
            layers.append(norm(width))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        before = width
    layers.append(convolution(before, 1, 3, padding=1))
    for layer in layers:
        if isinstance(layer, convolution):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return nn.Sequential(*layers)


class Judged(torch.autograd.Function):
    """Logits of restored images whose way back to the images leaves the discriminator's weights alone.

    The discriminator's own graph outlives the generator's backward pass, so that its loss can be taken from the same
    logits and the images need not be judged a second time.
    """

    @staticmethod
    def forward(context: Any, restored: Tensor, discriminator: nn.Module, kept: list[Tensor]) -> Tensor:
        """Judge ``(B, 1, *S)``; append the logits with the discriminator's own graph to ``kept``."""
        with torch.enable_grad():
            images = restored.detach().requires_grad_()
            logits = discriminator(images.view_as(images))  # who counts its operations can follow no leaf
        context.images, context.logits = images, logits
        kept.append(logits)
        return logits.detach()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the images; none is computed for the discriminator, whose graph is kept."""
        (found,) = torch.autograd.grad(context.logits, context.images, gradient, retain_graph=True)
        context.images = context.logits = None
        return found, None, None


class BoundAdversary(BoundTerm):
    """The generator's side as a term of the backbone, the discriminator's side as its opponent.

    In the generator's step the discriminator is frozen: gradients pass through it and none is computed for it. Its
    own step follows on the same restored images, one for one.

    The discriminator does not change between the two, so at full size restored images are judged once a step for both
    (``Judged``). A network that keeps the order of sums of its committed numbers judges them twice.
    """

    def __init__(self, configuration: Adversary, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        least = {2: 32, 3: 8}[backbone.dimensions]  # a map of 4 × 4; of 2 × 2 × 1, if the other sides are twice as long
        if image_px < least:
            raise ConfigurationError(
                f"found {image_px}-px images; expected at least {least} px, for instance norm to have pixels to average"
            )
        self.configuration = configuration
        with random_numbers_from(seed_of(seed, "discriminator")):
            self.discriminator = discriminator(configuration, backbone.dimensions)
        self._judges_once = bool(backbone.folds)
        self._judged: dict[int | None, Tensor] = {}  # first row of a micro-batch → logits of its restored images

    def before_step(self, views: Views) -> None:
        """Forget what a step before this one judged."""
        self._judged.clear()

    def placed(self, backbone: nn.Module) -> None:
        """Lay the discriminator's channels first on a CPU, beside a network that folds (``methods.networks``).

        Its images have one channel and its norms bring channels to the front, so nothing of it gains from channels
        last there. A network that does not fold keeps the order of sums of its committed numbers.
        """
        if backbone.folds and next(self.parameters()).device.type == "cpu":
            self.discriminator.to(memory_format=torch.contiguous_format)

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return what the backbone minimises: how well the discriminator sees through its restored images."""
        if self._judges_once and self.training and forward.image.requires_grad:
            kept: list[Tensor] = []
            logits = Judged.apply(forward.image, self.discriminator, kept)
            self._judged[views.rows.start] = kept[0]
            return generator_loss(logits.float(), self.configuration.loss)
        self.discriminator.requires_grad_(False)
        try:
            logits = self.discriminator(forward.image).float()
        finally:
            self.discriminator.requires_grad_(True)
        return generator_loss(logits, self.configuration.loss)

    def opponent_parameters(self) -> list[nn.Parameter]:
        """Return the discriminator's parameters."""
        return list(self.discriminator.parameters())

    def opponent_optimiser(self) -> Adam:
        """Return the discriminator's Adam."""
        rate, betas = self.configuration.learning_rate, self.configuration.betas
        return Adam(name="adam", learning_rate=rate, betas=betas, weight_decay=0.0)

    def opponent_loss(self, views: Views, forward: Forward) -> Tensor:
        """Return the discriminator's loss; what was not judged yet passes in one batch (norms are per image)."""
        judged = self._judged.pop(views.rows.start, None)
        if judged is not None:
            return discriminator_loss(self.discriminator(views.target).float(), judged.float(), self.configuration.loss)
        both = torch.cat([views.target, forward.image.detach()])
        real, fake = self.discriminator(both).float().chunk(2)
        return discriminator_loss(real, fake, self.configuration.loss)

    def judged(self, clean: Tensor, restored: Tensor) -> Tensor:
        """Return which patches of clean and restored images the discriminator tells rightly, 0 or 1, one row."""
        between = 0.5 if self.configuration.loss == "lsgan" else 0.0  # halfway between what the two sides aim at
        real, fake = self.discriminator(torch.cat([clean, restored])).float().chunk(2)
        return torch.cat([(real > between).flatten(), (fake <= between).flatten()]).float()


def generator_loss(fake: Tensor, form: str) -> Tensor:
    """Return the generator's loss on the logits of restored images, mean over patches.

    ``lsgan``: (D − 1)²; ``bce``: −log σ(D); ``log``: log(1 − σ(D)), the saturating form of Eq. 4.
    """
    if form == "lsgan":
        return F.mse_loss(fake, torch.ones_like(fake))
    return F.softplus(-fake).mean() if form == "bce" else -F.softplus(fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor, form: str) -> Tensor:
    """Return the discriminator's loss on the logits of clean and restored images, half the sum of the two means.

    ``lsgan``: (D(x) − 1)² and D(x̂)²; otherwise −log σ(D(x)) and −log(1 − σ(D(x̂))), Eq. 3 with the sign turned.
    """
    if form == "lsgan":
        return 0.5 * (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake)))
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
