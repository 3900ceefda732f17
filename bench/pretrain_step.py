"""One DiRA step: ours beside the usual arrangement (``bench.reference``), in time, losses, gradients and FLOPs."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.ladder import Pace, bandwidth, climb
from bench.measuring import finish, in_turn, one_thread, parser, ratio, synchronised_clock, words
from bench.pictures import write_cohort
from bench.reference import MOMENTUM, ReferenceStep
from bench.trainings import configuration, training
from methods.training.images import ImageTraining

PHASES = {"dis": 0, "dis+res": 1, "dis+res+adv": 2}


def prepared(phase: str, px: int, batch: int, folder: Path, device: str) -> tuple[ImageTraining, ReferenceStep, Any]:
    """Build our phase, the reference with the same weights, and a batch of views."""
    made = configuration(
        "dira_moco_v2",
        PHASES[phase],
        "paper",
        batch=batch,
        precision="float32",
        norm_splits=1,
        channels_last=True,
        budget={"unit": "steps", "count": 10**6},
        schedule={"name": "constant", "per": "step"},
        validation={"unit": "steps", "every": 10**6, "images": None},
    )
    made["views"]["image_px"] = px
    for term in made["terms"]:
        if term["role"] == "discrimination":
            term["configuration"]["momentum"] = MOMENTUM
    cohort = write_cohort(folder / "cohort", train=4 * batch, validation=0, px=px + 32)
    ours = training(made, cohort, folder, device)
    views = next(iter(ours._batches()))
    return ours, ReferenceStep(ours.objective, made["optimiser"]["learning_rate"]), views


def in_double(ours: ImageTraining, reference: ReferenceStep) -> None:
    """Let both networks go on in double precision; heads end in float32, and so losses do.

    A fresh ResNet-50 on a small batch is ill-conditioned: in float32 either arrangement is some 5 % away from the
    gradients in float64, and two orders of sums may be as far from each other. In float64 they must agree.
    """
    reference.double()
    discrimination = ours.objective.terms["discrimination"]
    modules = [ours.objective.backbone, discrimination.head, discrimination.key_head, discrimination.key_encoder]
    if "restoration" in ours.objective.terms:
        modules.append(ours.objective.terms["restoration"].head)
    if "adversary" in ours.objective.terms:
        discriminator = ours.objective.terms["adversary"].discriminator
        discriminator.register_forward_pre_hook(lambda layer, given: (given[0].double(),))
        modules.append(discriminator)
    for module in modules:
        module.double()


def agreement(ours: ImageTraining, reference: ReferenceStep, views: tuple[Tensor, ...]) -> dict[str, float]:
    """Take one step of each in double precision from the same weights; return the largest relative differences."""
    in_double(ours, reference)
    query, key = (view.double() for view in views[:2])
    theirs = reference.step(ours.objective.as_input(query), ours.objective.as_input(key), views[2].double())
    ours._take_step((query, key, views[2]))
    mine = ours.losses.means()
    losses = max(abs(mine[name] - value) / abs(value) for name, value in theirs.items())
    pairs = [
        (ours.objective.backbone, reference.backbone),
        (ours.objective.terms["discrimination"].head, reference.head),
    ]
    if reference.discriminator is not None:
        pairs.append((ours.objective.terms["adversary"].discriminator, reference.discriminator))
    return {"losses": losses, "gradients": max(apart(a, b) for a, b in pairs)}


def apart(one: nn.Module, other: nn.Module) -> float:
    """Return the largest relative difference between the gradients of two modules' parameters.

    A bias under instance norm has no gradient but rounding: what is a millionth of the largest does not count, and
    what is a thousandth of it is compared with that thousandth.
    """
    found = [(p.grad, q.grad) for p, q in zip(one.parameters(), other.parameters(), strict=True)]
    both = [(p.double(), q.double()) for p, q in found if p is not None and q is not None]
    largest = max(float(q.norm()) for _, q in both)
    counting = [(p, q) for p, q in both if float(q.norm()) > 1e-6 * largest]
    return max(float((p - q).norm()) / max(float(q.norm()), 1e-3 * largest) for p, q in counting)


def flops(call: Any) -> int:
    """Count the floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=3)
    options.add_argument("--phase", choices=list(PHASES), default="dis+res+adv")
    options.add_argument("--px", type=int, default=224)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--compile", action="store_true", help="time torch.compile and CUDA graphs, too (GPU)")
    asked = options.parse_args()
    one_thread()
    cuda = torch.cuda.is_available()
    result: dict[str, Any] = {"bench": "pretrain_step", "phase": asked.phase, "px": asked.px, "batch": asked.batch}
    with tempfile.TemporaryDirectory() as name:
        ours, reference, views = prepared(asked.phase, asked.px, asked.batch, Path(name), "cuda" if cuda else "cpu")
        query, key = (ours.objective.as_input(view) for view in views[:2])
        result["relative_difference"] = agreement(
            *prepared(asked.phase, asked.px, asked.batch, Path(name), "cuda" if cuda else "cpu")
        )
        counted = {
            "reference": flops(lambda: reference.step(query, key, views[2])),
            "ours": flops(lambda: ours._take_step(views)),
        }
        result["flops"] = {**counted, "ratio": counted["ours"] / counted["reference"]}
        variants = {"reference": lambda: reference.step(query, key, views[2]), "ours": lambda: ours._take_step(views)}
        seconds = in_turn(variants, asked.repeats, synchronised_clock if cuda else time.process_time)
        result["seconds"] = {name: statistics.median(taken) for name, taken in seconds.items()}
        result["speed_up"] = ratio(seconds["reference"], seconds["ours"])
        result["clock"] = "wall, synchronised" if cuda else "process time, 1 thread"
        result["repeats"] = asked.repeats
        print(f"{asked.phase}, ResNet-50 U-Net, {asked.px} px, batch {asked.batch}, float32")
        print(f"relative difference of losses and gradients: {result['relative_difference']}")
        print(f"FLOPs, ours / reference: {result['flops']['ratio']:.4f}")
        print(f"seconds a step: {result['seconds']}; times as fast: {words(result['speed_up'])}")
        if cuda:
            del ours, reference
            cohort = write_cohort(Path(name) / "ladder", train=2048, validation=0, px=512)
            pace = Pace("cuda", steps=100, seconds=40.0, bandwidth=bandwidth())
            result["ladder"] = climb("dira_moco_v2", -1, cohort, Path(name), pace, compiled=asked.compile)
    finish(result, asked.out)


if __name__ == "__main__":
    main()
