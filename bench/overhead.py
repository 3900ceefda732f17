"""The trainer beside a bare loop of the same maths: what checkpoints, reports, loading and bookkeeping cost."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.measuring import finish, in_turn, one_thread, parser, ratio, words
from bench.pictures import write_cohort
from bench.trainings import configuration, training
from methods.phases import ImageViews
from methods.terms.bound import Views
from methods.training.images import ImageTraining
from methods.views import make_views


def bare(like: ImageTraining, made: dict[str, Any], steps: int) -> None:
    """Train ``steps`` steps of DiRA over MoCo-v2 with nothing around the maths."""
    objective = like.objective
    own = torch.optim.SGD(objective.own_parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4, fused=True)
    adversary = objective.terms["adversary"]
    opponent = torch.optim.Adam(adversary.opponent_parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    for step in range(steps):
        epoch, rows = like.order.batch(step)
        raw = make_views(like._images, rows, like.augment_seed, epoch, ImageViews.model_validate(made["views"]))
        query, key, target = (torch.from_numpy(view).unsqueeze(1).float().div_(255) for view in raw)
        views = Views(query.expand(-1, 3, -1, -1).contiguous(), key.expand(-1, 3, -1, -1).contiguous(), target, step)
        total, _, shared = objective(views)
        own.zero_grad()
        total.backward()
        own.step()
        loss = adversary.opponent_loss(views, shared)
        opponent.zero_grad()
        loss.backward()
        opponent.step()
        objective.after_step()
        float(total.detach())


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=5)
    options.add_argument("--steps", type=int, default=15)
    asked = options.parse_args()
    one_thread()
    made = configuration("dira_moco_v2", 2, "miniature")
    made["budget"] = {"unit": "steps", "count": asked.steps}
    made["validation"] = {"unit": "steps", "every": asked.steps, "images": None}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = write_cohort(folder / "cohort", train=512, validation=0, px=32)

        def fresh() -> ImageTraining:
            return training(made, cohort, folder)

        waiting = {
            "trainer": [fresh() for _ in range(asked.repeats + 1)],
            "bare": [fresh() for _ in range(asked.repeats + 1)],
        }
        variants = {
            "trainer": lambda: waiting["trainer"].pop().run(),
            "bare loop": lambda: bare(waiting["bare"].pop(), made, asked.steps),
        }
        seconds = in_turn(variants, asked.repeats, time.process_time)
    result = {
        "bench": "overhead",
        "clock": "process time, 1 thread",
        "repeats": asked.repeats,
        "what": f"miniature, dis+res+adv, {asked.steps} steps, no validation images",
        "ms_a_step": {name: 1000 * statistics.median(taken) / asked.steps for name, taken in seconds.items()},
        "trainer_over_bare": ratio(seconds["trainer"], seconds["bare loop"]),
    }
    print(f"ms a step: {result['ms_a_step']}; trainer over bare loop: {words(result['trainer_over_bare'])}")
    finish(result, asked.out)


if __name__ == "__main__":
    main()
