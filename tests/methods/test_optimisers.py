import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.typed import Mistakes, read
from methods.configuration import resolve
from methods.options import Cosine, Lars, WarmUp
from methods.phases import TrainedConfiguration
from methods.training.objective import Objective
from methods.training.optimisers import build_optimiser, rate_factor, set_rates
from tests.methods.conftest import registered
from tests.methods.pretraining import configurations, typed

LARS = Lars(name="lars", learning_rate=0.2, one_dimensional_rate=0.0048, momentum=0.9, weight_decay=1e-2, trust=0.001)


def small_network():
    network = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3, bias=False))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return network


def lars_of_the_paper(weights, gradients, velocities, rate_factor):
    """You 2017, Alg. 1, with Barlow Twins' rates and exclusions, in NumPy."""
    for name, weight in weights.items():
        step, rate = gradients[name], 0.0048
        if weight.ndim > 1:
            norm, slope = np.linalg.norm(weight), np.linalg.norm(gradients[name])
            local = 0.001 * norm / (slope + 1e-2 * norm)
            step, rate = local * (gradients[name] + 1e-2 * weight), 0.2
        velocities[name] = 0.9 * velocities[name] + step
        weights[name] = weight - rate * rate_factor * velocities[name]


def test_lars_equals_the_papers_after_five_steps_under_a_schedule():
    network = small_network()
    optimiser = build_optimiser(list(network.parameters()), LARS)
    weights = {name: p.detach().double().numpy().copy() for name, p in network.named_parameters()}
    velocities = {name: np.zeros_like(value) for name, value in weights.items()}
    generator = torch.Generator().manual_seed(1)
    for step in range(5):
        factor = 1 / (1 + step)
        set_rates(optimiser, factor)
        loss = network(torch.randn(8, 5, generator=generator)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        gradients = {name: p.grad.double().numpy().copy() for name, p in network.named_parameters()}
        lars_of_the_paper(weights, gradients, velocities, factor)
        optimiser.step()
    for name, p in network.named_parameters():
        assert np.allclose(p.detach().numpy(), weights[name], rtol=1e-5, atol=1e-7), name


def test_one_dimensional_parameters_have_neither_decay_nor_adaptation():
    bias, weight = nn.Parameter(torch.full((3,), 2.0)), nn.Parameter(torch.full((3, 3), 2.0))
    optimiser = build_optimiser([bias, weight], LARS)
    set_rates(optimiser, 1.0)
    bias.grad, weight.grad = torch.full((3,), 1.0), torch.full((3, 3), 1.0)
    optimiser.step()
    assert torch.allclose(bias, torch.full((3,), 2.0 - 0.0048))
    adapted = 0.2 * 0.001 * 6 / (3 + 0.01 * 6) * (1 + 0.01 * 2)  # norms 6 and 3
    assert torch.allclose(weight, torch.full((3, 3), 2.0 - adapted))


def test_a_zero_weight_is_stepped_without_adaptation():
    weight = nn.Parameter(torch.zeros(2, 2))
    optimiser = build_optimiser([weight], LARS)
    set_rates(optimiser, 1.0)
    weight.grad = torch.ones(2, 2)
    optimiser.step()
    assert torch.allclose(weight, torch.full((2, 2), -0.2))


def test_the_published_rates_are_those_of_the_profile_at_its_batch():
    def optimiser(method, profile, phase=0):
        return resolve(registered()[method], profile).phases[phase].configuration["optimiser"]

    twins = optimiser("barlow_twins", "paper")
    assert (twins["learning_rate"], twins["one_dimensional_rate"]) == (0.2, 0.0048)
    assert (twins["momentum"], twins["weight_decay"], twins["trust"]) == (0.9, 1e-6, 0.001)
    assert optimiser("simsiam", "paper") == {
        "name": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }
    assert optimiser("moco_v2", "paper")["learning_rate"] == 0.03
    # the small batch of the authors' last phase: rates stated per batch shrink, MoCo's stays as in the code
    last = {
        base: optimiser(f"dira_{base}", "code", -1)["learning_rate"] for base in ("barlow_twins", "simsiam", "moco_v2")
    }
    assert last == {"barlow_twins": 0.2 / 16, "simsiam": 0.05 / 16, "moco_v2": 0.03}


def test_simsiams_predictor_keeps_its_rate_while_the_rest_follow_the_cosine():
    configuration = typed(configurations(discrimination="simsiam", adversary=0)["dis+res"])
    objective = Objective(configuration, 0)
    optimiser = build_optimiser(
        objective.own_parameters(), configuration.optimiser, objective.constant_rate_parameters()
    )
    set_rates(optimiser, 0.25)
    rate = configuration.optimiser.learning_rate
    predictor = {id(p) for p in objective.terms["discrimination"].predictor.parameters()}
    seen = {}
    for group in optimiser.param_groups:
        for p in group["params"]:
            seen[id(p)] = group["lr"]
    assert seen.keys() == {id(p) for p in objective.own_parameters()}
    assert {seen[i] for i in predictor} == {rate}
    assert {value for i, value in seen.items() if i not in predictor} == {0.25 * rate}


def test_barlow_twins_warms_up_for_ten_epochs_and_ends_at_a_thousandth():
    schedule = typed(resolve(registered()["barlow_twins"], "paper").phases[0].configuration).schedule
    steps = 1000 * 294  # epochs × steps an epoch

    def at(epoch):
        return rate_factor(schedule, round(epoch * 294), steps, 294)

    assert at(0) == 0 and math.isclose(at(5), 0.5) and math.isclose(at(10), 1.0)
    assert math.isclose(at(505), 0.5 * (1 + 0.001), rel_tol=1e-6)  # half of the 990 epochs after the warm-up
    assert math.isclose(rate_factor(schedule, steps, steps, 294), 0.001, rel_tol=1e-6)
    rising = [at(epoch) for epoch in np.linspace(0, 10, 50)]
    falling = [at(epoch) for epoch in np.linspace(10, 999, 50)]
    assert np.all(np.diff(rising) > 0) and np.all(np.diff(falling) < 0)


def test_simsiams_cosine_moves_by_epoch():
    schedule = typed(resolve(registered()["simsiam"], "paper").phases[0].configuration).schedule
    factors = [rate_factor(schedule, step, 100 * 294, 294) for step in (0, 293, 294, 50 * 294, 99 * 294)]
    expected = [0.5 * (1 + math.cos(math.pi * epoch / 100)) for epoch in (0, 0, 1, 50, 99)]
    assert np.allclose(factors, expected)


def test_a_warm_up_may_be_a_share_of_the_phase():
    schedule = Cosine(name="cosine", per="step", warm_up=WarmUp(share=0.1), final=0.0)
    assert [rate_factor(schedule, step, 100, 7) for step in (0, 5, 10)] == [0, 0.5, 1]


def test_an_unknown_optimiser_or_schedule_is_answered_with_near_names():
    said = resolve(registered()["moco_v2"], "paper").phases[0].configuration
    with pytest.raises(Mistakes, match='"lars"'):
        read(TrainedConfiguration, {**said, "optimiser": {**said["optimiser"], "name": "larz"}})
    with pytest.raises(Mistakes, match='"cosine"'):
        read(TrainedConfiguration, {**said, "schedule": {"name": "cosin", "per": "step"}})
