import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import nn

from harness.errors import ConfigurationError
from methods.networks import build
from methods.phases import NetworkSpec
from methods.terms.bound import Forward, Views
from methods.terms.bound_simsiam import BoundSimSiam
from methods.terms.simsiam import SimSiam

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=True)


def made(**fields):
    backbone = build(NETWORK, 0)
    return backbone, BoundSimSiam(SimSiam(**{"predictor": 8, **fields}), backbone, 1, 32)


def pair(size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query, key = (torch.rand(size, 3, 32, 32, generator=generator) for _ in range(2))
    return Views(query, key, query[:, :1], step_seed=seed)


def loss_of(term, backbone, views):
    return term(views, Forward(backbone.encode(views.query), None), backbone)


def distance(prediction, target):
    """D of the original, Eq. 1: minus the cosine, sample by sample."""
    pairs = zip(prediction.detach().double().numpy(), target.detach().double().numpy(), strict=True)
    return np.mean([-(p @ z) / np.linalg.norm(p) / np.linalg.norm(z) for p, z in pairs])


def test_the_loss_equals_the_equation_written_in_numpy_against_the_projected_target():
    backbone, term = made()
    views = pair()
    found = float(loss_of(term, backbone, views).detach())
    pooled = [backbone.encode(images)[-1].mean(dim=(2, 3)) for images in (views.query, views.key)]
    z1, z2 = (term.projector(y) for y in pooled)
    p1, p2 = term.predictor(z1), term.predictor(z2)
    assert np.isclose(found, (distance(p1, z2) + distance(p2, z1)) / 2, rtol=1e-4, atol=1e-6)
    reference = NegativeCosineSimilarity()
    assert np.isclose(found, float((reference(p1, z2) + reference(p2, z1)) / 2), rtol=1e-4, atol=1e-6)
    literal = (distance(z1, pooled[1]) + distance(z2, pooled[0])) / 2  # DiRA Eq. 7 read word for word
    assert not np.isclose(found, literal, rtol=1e-2)


def test_the_loss_is_symmetric_in_the_views():
    backbone, term = made()
    views = pair()
    swapped = Views(views.key, views.query, views.target, 0)
    assert torch.allclose(loss_of(term, backbone, views), loss_of(term, backbone, swapped), atol=1e-6)


def test_a_perfect_prediction_gives_minus_one_and_an_opposite_one_plus_one():
    _, term = made()
    z = list(torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0)))
    assert np.isclose(float(term.symmetric([3 * z[1], 2 * z[0]], z)), -1)
    assert np.isclose(float(term.symmetric([-z[1], -z[0]], z)), 1)


def test_no_gradient_passes_through_the_targets():
    """With the stop, the whole gradient is that of the predictions: the targets may be plain numbers."""
    backbone, term = made()
    views = pair()
    with torch.no_grad():
        targets = [term.projector(backbone.encode(v)[-1].mean(dim=(2, 3))) for v in (views.query, views.key)]
    parameters = [*backbone.encoder.parameters(), *term.projector.parameters()]
    found = torch.autograd.grad(loss_of(term, backbone, views), parameters)
    projected = [term.projector(backbone.encode(v)[-1].mean(dim=(2, 3))) for v in (views.query, views.key)]
    predicted = [term.predictor(z) for z in projected]
    stopped = torch.autograd.grad(term.symmetric(predicted, targets), parameters, retain_graph=True)
    unstopped = torch.autograd.grad(term.symmetric(predicted, projected), parameters)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, stopped, strict=True))
    assert any(not torch.allclose(a, b, atol=1e-4) for a, b in zip(found, unstopped, strict=True))


def test_the_heads_are_the_published_ones():
    _, term = made(dimension=16)
    kinds = [type(layer) for layer in term.projector]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*block, *block, nn.Linear, nn.BatchNorm1d]
    assert all(layer.bias is None for layer in term.projector if isinstance(layer, nn.Linear))
    assert not term.projector[-1].affine and term.projector[1].affine
    assert [type(layer) for layer in term.predictor] == [*block, nn.Linear]
    assert term.predictor[0].bias is None and term.predictor[-1].bias is not None
    assert term.predictor[0].weight.shape == (8, 16) and term.predictor[-1].weight.shape == (16, 8)
    assert SimSiam().predictor == 512


def test_the_projectors_width_is_the_encoders_unless_told():
    backbone, term = made()
    assert term.projector[-1].num_features == backbone.channels[-1]


def test_the_predictors_rate_alone_is_fixed_unless_told():
    _, term = made()
    assert {id(p) for p in term.constant_rate_parameters()} == {id(p) for p in term.predictor.parameters()}
    assert made(predictor_rate="scheduled")[1].constant_rate_parameters() == []


def test_validation_changes_no_state():
    backbone, term = made()
    backbone.eval(), term.eval()
    before = {name: value.clone() for name, value in [*term.state_dict().items(), *backbone.state_dict().items()]}
    with torch.no_grad():
        assert torch.isfinite(loss_of(term, backbone, pair()))
    after = {**term.state_dict(), **backbone.state_dict()}
    assert all(torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize("wrong", [{"dimension": 0}, {"predictor": 0}, {"predictor_rate": "sometimes"}])
def test_values_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="expected"):
        SimSiam(**wrong)
