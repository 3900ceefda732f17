from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import ConfigurationError
from methods.networks import build
from methods.options import Adam
from methods.phases import NetworkSpec
from methods.terms.adversary import Adversary
from methods.terms.bound import Forward, Views
from methods.terms.bound_adversary import BoundAdversary, discriminator_loss, generator_loss

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=False)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(once=False, **fields):
    backbone = build(NETWORK, 0)
    backbone.folds = once  # as networks of full size do, beside which restored images are judged once a step
    return BoundAdversary(Adversary(widths=(4, 4, 4, 4), **fields), backbone, 0, 32)


def a_pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    target, restored = (torch.rand(2, 1, 32, 32, generator=generator, dtype=dtype) for _ in range(2))
    images = target.expand(-1, 3, -1, -1)
    return Views(images, images, target, 0), restored.requires_grad_()


@pytest.mark.parametrize("form", ["lsgan", "bce", "log"])
def test_both_sides_equal_their_equations_written_in_numpy(form):
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(3, 1, 4, 4, generator=generator) for _ in range(2))
    r, f = real.double().numpy(), fake.double().numpy()
    generators = {
        "lsgan": np.mean((f - 1) ** 2),
        "bce": np.mean(-np.log(sigmoid(f))),
        "log": np.mean(np.log(1 - sigmoid(f))),
    }
    cross_entropy = np.mean(-np.log(sigmoid(r))) + np.mean(-np.log(1 - sigmoid(f)))
    opponents = {"lsgan": np.mean((r - 1) ** 2) + np.mean(f**2), "bce": cross_entropy, "log": cross_entropy}
    assert np.isclose(float(generator_loss(fake, form)), generators[form], rtol=1e-5)
    assert np.isclose(float(discriminator_loss(real, fake, form)), opponents[form] / 2, rtol=1e-5)


@pytest.mark.parametrize("once", [False, True])
def test_the_discriminator_is_frozen_in_the_generators_step_and_trained_in_its_own(once):
    term = made(once)
    views, restored = a_pair()
    shared = Forward((), restored)
    term(views, shared, torch.nn.Identity()).backward()
    assert restored.grad is not None and float(restored.grad.abs().sum()) > 0
    assert all(p.grad is None for p in term.opponent_parameters())
    restored.grad = None
    term.opponent_loss(views, shared).backward()
    assert restored.grad is None, "the opponent's loss reached the backbone"
    assert all(p.grad is not None for p in term.opponent_parameters())


def test_the_opponent_has_the_papers_adam():
    assert made().opponent_optimiser() == Adam(name="adam", learning_rate=2e-4, betas=(0.5, 0.999), weight_decay=0.0)


def test_its_weights_start_with_a_spread_of_two_hundredths():
    weight = BoundAdversary(Adversary(), build(NETWORK, 0), 0, 32).discriminator[2].weight.detach()
    assert abs(float(weight.std()) - 0.02) < 0.001


def test_judging_clean_and_restored_in_one_batch_changes_nothing():
    term = made()
    views, restored = a_pair()
    apart = discriminator_loss(term.discriminator(views.target), term.discriminator(restored), "lsgan")
    assert torch.allclose(term.opponent_loss(views, Forward((), restored)), apart, atol=1e-6)


def a_step(term, parts, scale=1.0):
    """Both sides' losses and gradients, of a batch in some parts."""
    views, restored = a_pair(torch.float64)
    term.before_step(views)
    cuts = [slice(start, start + len(restored) // parts) for start in range(0, len(restored), len(restored) // parts)]
    passed = [(replace(views, target=views.target[rows], rows=rows), Forward((), restored[rows])) for rows in cuts]
    generator = [term(*part, torch.nn.Identity()) for part in passed]
    for loss in generator:
        (scale * loss / parts).backward()
    opponent = [term.opponent_loss(*part) for part in passed]
    gradient = restored.grad.clone()
    for loss in opponent:
        (scale * loss / parts).backward()
    assert torch.equal(restored.grad, gradient), "the opponent's loss reached the backbone"
    losses = [torch.stack(side).mean().detach() for side in (generator, opponent)]
    return [*losses, gradient / scale, *(p.grad / scale for p in term.opponent_parameters())]


@pytest.mark.parametrize("form", ["lsgan", "bce", "log"])
@pytest.mark.parametrize(("parts", "scale"), [(1, 1.0), (2, 1.0), (1, 1024.0)])
def test_judging_restored_images_once_gives_the_losses_and_gradients_of_judging_them_twice(form, parts, scale):
    once, twice = (a_step(made(once, loss=form).double(), parts, scale) for once in (True, False))
    for one, other in zip(once, twice, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("once", "images"), [(True, [2, 2]), (False, [2, 4])])
def test_how_many_images_a_step_judges(once, images):
    """Beside a network of full size the restored and then the clean ones; beside the others the restored ones again."""
    term, seen = made(once), []
    term.discriminator.register_forward_pre_hook(lambda layer, given: seen.append(len(given[0])))
    a_step(term.double(), 1)
    assert seen == images


def test_what_an_earlier_step_judged_is_forgotten_and_nothing_is_kept_in_eval():
    term, (views, restored) = made(once=True), a_pair()
    term(views, Forward((), restored), torch.nn.Identity())
    term.before_step(views)
    other = restored.detach().flip(0)
    expected = discriminator_loss(term.discriminator(views.target), term.discriminator(other), "lsgan")
    assert torch.allclose(term.opponent_loss(views, Forward((), other)), expected, atol=1e-6)
    term.eval()(views, Forward((), restored), torch.nn.Identity())
    assert torch.allclose(term.opponent_loss(views, Forward((), other)), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"loss": "wgan"}, {"layers": "five"}, {"widths": (1, 2)}])
def test_an_unknown_form_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="expected"):
        Adversary(**wrong)
