"""The 3D side: distorting a cube and one DiRA (TransVW) step, ours beside the plain arrangement, at full size."""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor
from torch.nn import functional as F

from bench.measuring import finish, in_turn, one_thread, parser, plain_arrangement, ratio, synchronised_clock, words
from bench.trainings import configuration
from methods.options import Adam
from methods.phases import CubeConfiguration, CubeViews
from methods.terms.bound import Views
from methods.training.batches import memory_layout, place
from methods.training.objective import Objective
from methods.training.optimisers import build_optimiser
from methods.volumes import transforms
from methods.volumes.cubes import make_cubes

CUBE = (64, 64, 32)
CURVE_POINTS = 100_000  # the releases'


def reference_distort(cube: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort a cube the plain way: double precision, a third displacement multiplied by nothing, 100,000 points."""
    cube = cube.astype(np.float64)
    moves = [
        gaussian_filter(generator.random(cube.shape) * 2 - 1, transforms.SIGMA, mode="constant") * transforms.ALPHA
        for _ in range(3)
    ]
    x, y, z = np.meshgrid(*(np.arange(side) for side in cube.shape), indexing="ij")
    places = [np.reshape(axis, (-1, 1)) for axis in (x + moves[0], y + moves[1], z + 0 * moves[2])]
    moved = map_coordinates(cube, places, order=1, mode="reflect").reshape(cube.shape)
    kind = transforms.KINDS[generator.integers(len(transforms.KINDS))]
    if kind != "nonlinear":
        return transforms.change(moved, kind, generator, "keras")
    t = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
    controls = generator.random((2, 2))
    curve = 3 * t * (1 - t) ** 2 * controls[0] + 3 * t**2 * (1 - t) * controls[1] + t**3
    rises = generator.random() < 0.5
    bent: np.ndarray = np.interp(moved, np.sort(curve[:, 0]), np.sort(curve[:, 1]) if rises else curve[::-1, 1])
    return bent


def loading(cubes: int, repeats: int) -> dict[str, Any]:
    """Time distorted cubes with what they were, a core."""
    generator = np.random.Generator(np.random.PCG64(0))
    stored = (gaussian_filter(generator.random((cubes, *CUBE)), (0, 4, 4, 4)) * 255).astype(np.uint8)
    names, rows, epochs = np.zeros(cubes, np.int64), np.arange(cubes), iter(range(1_000_000))

    def reference() -> None:
        draws = np.random.Generator(np.random.PCG64(next(epochs)))
        for cube in stored:
            torch.from_numpy(reference_distort(cube / 255.0, draws)).float()

    variants = {
        "plain": reference,
        "ours": lambda: make_cubes(stored, names, rows, 7, next(epochs), CubeViews(cube=CUBE, painting="keras")),
    }
    seconds = in_turn(variants, repeats, time.process_time)
    each = {name: 1000 * statistics.median(taken) / cubes for name, taken in seconds.items()}
    found = {"ms_a_cube": each, "speed_up": ratio(seconds["plain"], seconds["ours"])}
    print(f"cubes of {CUBE}, one core: {each} ms; {words(found['speed_up'])} times as fast")
    return found


class PlainStep:
    """Self-classification, restoration and adversary with nothing spared.

    The decoder makes every enlarged map before it convolves it, the discriminator is not frozen while the backbone's
    loss passes through it, clean and restored cubes are judged in two passes, optimisers are not fused, and every loss
    is read off at once.
    """

    def __init__(self, objective: Objective, rate: float) -> None:
        self.objective = objective
        plain_arrangement(objective)
        adversary = objective.terms["adversary"]
        self.discriminator = adversary.discriminator
        self.optimiser = torch.optim.Adam(objective.own_parameters(), rate, foreach=False)
        self.opponent = torch.optim.Adam(self.discriminator.parameters(), 1e-3, (0.5, 0.999), foreach=False)

    def step(self, query: Tensor, target: Tensor, labels: Tensor) -> dict[str, float]:
        """Take one step; return the losses."""
        objective = self.objective
        features = objective.backbone.encode(query)
        restored = objective.terms["restoration"].restore(objective.backbone.decode(features))
        losses = {
            "discrimination": F.cross_entropy(objective.terms["discrimination"].classify(features), labels),
            "restoration": F.mse_loss(restored, target),
        }
        judged = self.discriminator(restored)
        losses["adversary"] = F.mse_loss(judged, torch.ones_like(judged))
        total = torch.stack([objective.weights[role] * loss for role, loss in losses.items()]).sum()
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        self.opponent.zero_grad()
        real, fake = self.discriminator(target), self.discriminator(restored.detach())
        losses["opponent"] = 0.5 * (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake)))
        losses["opponent"].backward()
        self.opponent.step()
        return {name: value.item() for name, value in losses.items()}


class OurStep:
    """The same step as ``methods.training.loop`` takes it."""

    def __init__(self, objective: Objective, rate: float) -> None:
        self.objective = objective
        self.adversary = objective.terms["adversary"]
        made = Adam(name="adam", learning_rate=rate, weight_decay=0)
        self.optimiser = build_optimiser(objective.own_parameters(), made, [])
        self.opponent = build_optimiser(self.adversary.opponent_parameters(), self.adversary.opponent_optimiser())

    def step(self, query: Tensor, target: Tensor, labels: Tensor) -> dict[str, float]:
        """Take one step; return the losses."""
        views = Views(query, query, target, 0, words=labels)
        total, losses, shared = self.objective(views)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.optimiser.step()
        loss = self.adversary.opponent_loss(views, shared)
        self.opponent.zero_grad(set_to_none=True)
        loss.backward()
        self.opponent.step()
        return {**{name: float(value.detach()) for name, value in losses.items()}, "opponent": float(loss.detach())}


def stepping(batch: int, repeats: int) -> dict[str, Any]:
    """Time one dis+res+adv step of the large network; hold the first losses of the two arrangements together."""
    made = configuration("dira_transvw", -1, "paper", precision="float32")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = memory_layout(3, channels_last=device == "cuda")  # as the trainer has it in float32
    objective = Objective(CubeConfiguration.model_validate(made), 0)
    place(objective, torch.device(device), layout)
    plain = PlainStep(copy.deepcopy(objective), 1e-3)
    ours = OurStep(objective, 1e-3)
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(batch, 1, *CUBE, generator=generator).to(device)
    query, labels = target.flip(-1), torch.arange(batch, device=device)
    ahead, behind = ours.step(query, target, labels), plain.step(query, target, labels)
    apart = max(abs(ahead[name] - value) / abs(value) for name, value in behind.items())
    variants = {
        "plain": lambda: plain.step(query, target, labels),
        "ours": lambda: ours.step(query, target, labels),
    }
    seconds = in_turn(variants, repeats, synchronised_clock if device == "cuda" else time.process_time)
    each = {name: statistics.median(taken) for name, taken in seconds.items()}
    found = {
        "network": made["network"]["name"],
        "batch": batch,
        "seconds": each,
        "speed_up": ratio(seconds["plain"], seconds["ours"]),
        "relative_difference_of_losses": apart,
    }
    print(
        f"{found['network']}, {CUBE}, batch {batch}, float32: {each} s a step; {words(found['speed_up'])} times as fast"
    )
    print(f"losses of the first step, relative difference: {apart:.1e}")
    return found


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=3)
    options.add_argument("--cubes", type=int, default=12)
    options.add_argument("--batch", type=int, default=2)
    asked = options.parse_args()
    one_thread()
    result = {
        "bench": "volumes",
        "clock": "wall, synchronised" if torch.cuda.is_available() else "process time, 1 thread",
        "repeats": asked.repeats,
        "loading": loading(asked.cubes, asked.repeats),
        "step": stepping(asked.batch, asked.repeats),
    }
    finish(result, asked.out)


if __name__ == "__main__":
    main()
