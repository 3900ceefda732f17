import numpy as np
import pytest
import torch

from methods.networks import build
from methods.phases import NetworkSpec
from methods.terms.bound import Forward, Views
from methods.terms.bound_restoration import BoundRestoration
from methods.terms.restoration import Restoration

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=False)


def views_of(target):
    return Views(target.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1), target, 0)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_the_loss_equals_the_equation_written_in_numpy(distance):
    generator = torch.Generator().manual_seed(0)
    restored, target = (torch.rand(3, 1, 32, 32, generator=generator) for _ in range(2))
    term = BoundRestoration(Restoration(distance), build(NETWORK, 0), 0, 32)
    found = float(term(views_of(target), Forward((), restored), torch.nn.Identity()))
    difference = restored.double().numpy() - target.double().numpy()
    expected = np.mean(difference**2) if distance == "l2" else np.mean(np.abs(difference))
    assert np.isclose(found, expected, rtol=1e-6)


def test_a_restored_image_is_grey_and_between_zero_and_one():
    backbone = build(NETWORK, 0)
    term = BoundRestoration(Restoration(), backbone, 0, 32)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        restored = term.restore(100 * backbone(images))
    assert restored.shape == (2, 1, 32, 32)
    assert float(restored.min()) >= 0 and float(restored.max()) <= 1


def test_the_head_starts_xavier_uniform_with_no_bias():
    head = BoundRestoration(Restoration(), build(NETWORK, 0), 0, 32).head
    bound = (6 / (9 * 16 + 9 * 1)) ** 0.5  # √(6 / (fan-in + fan-out))
    assert not head.bias.any()
    assert 0.8 * bound < float(head.weight.detach().abs().max()) <= bound
