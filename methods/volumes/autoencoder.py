"""What makes two scans alike: the features of an autoencoder (TransVW, self-discovery).

The autoencoder is the U-Net itself, skip connections included, as released: whole scans, resized, are to be restored as
they are. Its feature of a scan is the mean over the coarsest feature map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from harness.checkpoints import Checkpoints
from harness.contracts import Context
from harness.identity import digest
from harness.plateau import Plateau, PlateauRule
from harness.seeding import seed as seed_of
from harness.typed import given
from methods.networks import build
from methods.networks.backbone import random_numbers_from
from methods.phases import DiscoveryConfiguration, NetworkSpec
from methods.training.checkpoints import FORM
from methods.volumes.words import Volumes, unit


class Autoencoder(nn.Module):
    """The backbone and a 1×1×1 convolution with a sigmoid."""

    def __init__(self, network: NetworkSpec, init_seed: int) -> None:
        super().__init__()
        self.backbone = build(network, seed_of(init_seed, "backbone"))
        with random_numbers_from(seed_of(init_seed, "head")):
            self.head = nn.Conv3d(self.backbone.decoder_channels, 1, 1)
            nn.init.xavier_uniform_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, scans: Tensor) -> Tensor:
        """Map ``(B, 1, X, Y, Z)`` to itself, as well as it can."""
        return torch.sigmoid(self.head(self.backbone(scans)))

    def features(self, scans: Tensor) -> Tensor:
        """Map ``(B, 1, X, Y, Z)`` to ``(B, F)``."""
        return self.backbone.encode(scans)[-1].mean(dim=(2, 3, 4))


def shrink(scan: np.ndarray, shape: Sequence[int]) -> Tensor:
    """Resize a whole scan to ``shape``; float16 ``(1, X, Y, Z)`` in [0, 1].

    As scikit-image resizes, which the code takes: where a side shrinks to 1/f, a Gaussian of σ = (f − 1) / 2 voxels
    smooths first, lest single voxels decide; then trilinear.
    """
    whole = unit(np.asarray(scan))
    sigmas = [max(0.0, (side / wanted - 1) / 2) for side, wanted in zip(whole.shape, shape, strict=True)]
    smooth = torch.from_numpy(gaussian_filter(whole, sigmas, mode="mirror"))[None, None]
    return F.interpolate(smooth, size=tuple(shape), mode="trilinear", align_corners=False)[0].half()


@dataclass
class _Progress:
    """What a training has come to.

    Attributes:
        kept: The best weights, on the CPU; None before the first epoch.
        best: Their validation loss.
        since: Epochs without a better one.
        curve: A row an epoch.
        epoch: Epochs done.
    """

    kept: dict[str, Tensor] | None = None
    best: float = math.inf
    since: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    epoch: int = 0

    def take(self, model: nn.Module, trained: float, found: float) -> None:
        """Take note of an epoch: its mean loss, the loss on validation scans, and the weights if that is the best."""
        self.epoch, self.since = self.epoch + 1, self.since + 1
        self.curve.append({"step": self.epoch, "train_autoencoder": trained, "validation_autoencoder": found})
        if found < self.best:
            self.kept = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            self.best, self.since = found, 0


def learn_features(
    scans: Volumes,
    training: np.ndarray,
    validation: np.ndarray,
    configuration: DiscoveryConfiguration,
    seed: int,
    context: Context,
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Train the autoencoder and return the feature of every scan.

    Args:
        scans: ``scans[row]`` gives a scan.
        training: Rows it is trained on.
        validation: Rows that decide on learning rate, stop and best weights.
        configuration: ``network`` and ``autoencoder``.
        seed: Everything is drawn from it.
        context: Device, progress, and where an interrupted training goes on.

    Raises:
        Preempted: If the attempt was asked to leave; the checkpoint is whole.

    Returns:
        float32 ``(M, F)`` for rows 0 … M − 1, zeros for rows of no split; and the curve, a row an epoch.
    """
    how, device = configuration.autoencoder, torch.device(context.device)
    model = Autoencoder(configuration.network, seed_of(seed, "init")).to(device)
    rows = np.concatenate([training, validation])
    small = {int(row): shrink(scans[row], how.shape) for row in rows}
    optimiser = torch.optim.Adam(model.parameters(), lr=how.learning_rate)
    plateau = Plateau(how.learning_rate, PlateauRule.of(given(how.plateau)))
    marks: dict[str, str | int] = {"form": FORM, "marks": digest({"configuration": configuration.dump(), "seed": seed})}
    checkpoints = Checkpoints(context, marks, "autoencoder.pt")
    now = _resumed(checkpoints, model, optimiser, plateau)
    while now.epoch < how.epochs and now.since < how.stop_after:
        order = np.random.Generator(np.random.PCG64(seed_of(seed, "order", now.epoch))).permutation(training)
        trained = _train(model, optimiser, small, _parts(order, how.batch), device)
        found = _loss(model, small, validation, how.batch, device)
        now.take(model, trained / len(training), found)
        for group in optimiser.param_groups:
            group["lr"] = how.learning_rate * plateau.factor_after(found)
        context.report(now.epoch, how.epochs, "autoencoder")
        leaving = checkpoints.leaving
        if leaving or checkpoints.due:
            _save(checkpoints, model, optimiser, plateau, now)
        if leaving:
            checkpoints.leave()
    if now.kept is not None:
        model.load_state_dict(now.kept)
    return _features(model, small, how.batch, device), now.curve


def _train(
    model: Autoencoder,
    optimiser: torch.optim.Optimizer,
    small: Mapping[int, Tensor],
    parts: list[np.ndarray],
    device: torch.device,
) -> float:
    """Take an epoch's steps and return the sum of the losses over scans."""
    model.train()
    summed = 0.0
    for part in parts:
        batch = torch.stack([small[int(row)] for row in part]).to(device).float()
        loss = F.mse_loss(model(batch), batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        summed += float(loss.detach()) * len(part)
    return summed


def _parts(rows: np.ndarray, batch: int) -> list[np.ndarray]:
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]


@torch.no_grad()
def _loss(model: Autoencoder, small: Mapping[int, Tensor], rows: np.ndarray, batch: int, device: torch.device) -> float:
    model.eval()
    summed = 0.0
    for part in _parts(rows, batch):
        volumes = torch.stack([small[int(row)] for row in part]).to(device).float()
        summed += float(F.mse_loss(model(volumes), volumes)) * len(part)
    return summed / len(rows)


@torch.no_grad()
def _features(model: Autoencoder, small: Mapping[int, Tensor], batch: int, device: torch.device) -> np.ndarray:
    model.eval()
    features = np.zeros((max(small) + 1, model.backbone.channels[-1]), np.float32)
    for part in _parts(np.array(sorted(small)), batch):
        volumes = torch.stack([small[int(row)] for row in part]).to(device).float()
        features[part] = model.features(volumes).cpu().numpy()
    return features


def _save(
    checkpoints: Checkpoints, model: Autoencoder, optimiser: torch.optim.Optimizer, plateau: Plateau, now: _Progress
) -> None:
    """Write what ``_resumed`` reads."""
    states = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "plateau": plateau.state()}
    checkpoints.save({**states, "progress": vars(now)})


def _resumed(
    checkpoints: Checkpoints, model: Autoencoder, optimiser: torch.optim.Optimizer, plateau: Plateau
) -> _Progress:
    """Carry on from an interrupted training of this very configuration, if there is one."""
    state = checkpoints.load()
    if state is None:
        return _Progress()
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    plateau.load(state["plateau"])
    return _Progress(**state["progress"])
