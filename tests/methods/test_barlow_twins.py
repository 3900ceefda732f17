import inspect

import numpy as np
import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import nn

from harness.errors import ConfigurationError, DataError
from methods.networks import build
from methods.phases import NetworkSpec
from methods.terms.barlow_twins import BarlowTwins
from methods.terms.bound import Forward, Views
from methods.terms.bound_barlow_twins import BoundBarlowTwins

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=True)
SMALL = BarlowTwins(hidden=24, dimension=16)


def made(configuration=SMALL):
    backbone = build(NETWORK, 0)
    return backbone, BoundBarlowTwins(configuration, backbone, 1, 32)


def pair(size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query, key = (torch.rand(size, 3, 32, 32, generator=generator) for _ in range(2))
    return Views(query, key, query[:, :1], step_seed=seed)


def loss_of(term, backbone, views):
    return term(views, Forward(backbone.encode(views.query), None), backbone)


def embeddings(size=10, width=6):
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(size, width, generator=generator) * 3 + 1
    return one, one + torch.randn(size, width, generator=generator)


def equation_eight(one, two, off_diagonal):
    """DiRA Eq. 8, sample by sample; the batch norm before it divides by the biased deviation."""
    one, two = one.double().numpy(), two.double().numpy()
    one = (one - one.mean(0)) / np.sqrt(one.var(0) + 1e-5)
    two = (two - two.mean(0)) / np.sqrt(two.var(0) + 1e-5)
    total = 0.0
    for i in range(one.shape[1]):
        for j in range(two.shape[1]):
            correlation = sum(one[b, i] * two[b, j] for b in range(len(one))) / len(one)
            total += (1 - correlation) ** 2 if i == j else off_diagonal * correlation**2
    return total


def test_the_loss_equals_the_equation_written_in_numpy():
    _, term = made()
    one, two = embeddings()
    assert np.isclose(float(term.correlate(one, two)), equation_eight(one, two, 0.0051), rtol=1e-5)


def test_the_whole_term_is_the_equation_on_its_projections_and_equals_lightlys():
    backbone, term = made()
    views = pair()
    found = loss_of(term, backbone, views)
    one, two = (term.project(backbone.encode(images)[-1]).detach() for images in (views.query, views.key))
    assert np.isclose(float(found.detach()), equation_eight(one, two, 0.0051), rtol=1e-4)
    assert torch.allclose(found, BarlowTwinsLoss(lambda_param=0.0051)(one, two), rtol=1e-5)
    assert inspect.signature(BarlowTwinsLoss).parameters["lambda_param"].default == 0.005  # the trap
    assert BarlowTwins().off_diagonal == 0.0051


def test_the_projector_is_the_published_one_without_biases():
    _, term = made()
    kinds = [type(layer) for layer in term.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert all(layer.bias is None for layer in term.projector if isinstance(layer, nn.Linear))
    assert BarlowTwinsProjectionHead(8, 8, 8).layers[-1].bias is not None  # the trap: lightly's ends with one
    assert (BarlowTwins().hidden, BarlowTwins().dimension) == (8192, 8192)


def test_identical_views_leave_only_the_redundancy_and_identical_whitened_ones_nothing():
    _, term = made()
    one, _ = embeddings(size=32)
    standard = (one - one.mean(0)) / one.std(0, unbiased=False)
    correlation = (standard.T @ standard / len(one)).numpy()
    redundancy = 0.0051 * (np.sum(correlation**2) - np.trace(correlation**2))
    assert np.isclose(float(term.correlate(one, one)), redundancy, atol=1e-6)
    white = torch.linalg.qr(one - one.mean(0))[0]
    assert float(term.correlate(white * 100, white * 100)) < 1e-8


def test_the_loss_ignores_place_and_scale_of_every_coordinate():
    _, term = made()
    one, two = embeddings()
    assert torch.allclose(term.correlate(one, two), term.correlate(100 * one + 7, 50 * two - 3), rtol=1e-3)


def test_swapping_the_views_changes_nothing():
    _, term = made()
    one, two = embeddings()
    assert torch.allclose(term.correlate(one, two), term.correlate(two, one), rtol=1e-6)


def test_gradient_flows_through_both_views_and_stops_at_the_decoder():
    backbone, term = made()
    views = pair()
    query, key = views.query.requires_grad_(), views.key.requires_grad_()
    loss_of(term, backbone, views).backward()
    assert float(query.grad.abs().sum()) > 0 and float(key.grad.abs().sum()) > 0
    assert all(p.grad is None for p in backbone.decoder.parameters())
    assert all(torch.isfinite(p.grad).all() for p in [*backbone.encoder.parameters(), *term.parameters()])


def test_validation_changes_no_state():
    backbone, term = made()
    backbone.eval(), term.eval()
    before = {name: value.clone() for name, value in [*term.state_dict().items(), *backbone.state_dict().items()]}
    with torch.no_grad():
        assert torch.isfinite(loss_of(term, backbone, pair()))
    after = {**term.state_dict(), **backbone.state_dict()}
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_a_single_image_is_refused_with_a_sentence():
    backbone, term = made()
    backbone.eval(), term.eval()
    with pytest.raises(DataError, match="at least 2"):
        loss_of(term, backbone, pair(1))


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"dimension": 1}, {"off_diagonal": 0}])
def test_values_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="expected"):
        BarlowTwins(**wrong)


def test_two_processes_share_one_loss_and_its_gradient(tmp_path):
    """Equal to one process with the whole batch: the loss, and the gradient after the average of data parallelism."""
    one, two = embeddings(size=12)
    arguments = (tmp_path / "meet", one, two, tmp_path)
    torch.multiprocessing.start_processes(_half, args=arguments, nprocs=2, start_method="fork")
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    whole = one.clone().requires_grad_()
    _, term = made()
    expected = term.correlate(whole, two)
    expected.backward()
    for half in halves:
        assert torch.allclose(half["loss"], expected.detach(), rtol=1e-6)
    gathered = torch.cat([half["gradient"] for half in halves]) / 2  # data-parallel training averages over processes
    assert torch.allclose(gathered, whole.grad, rtol=1e-4, atol=1e-7)


def _half(rank, meeting, one, two, folder):
    from methods.terms.bound_barlow_twins import over_all_processes

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mine = one.chunk(2)[rank].clone().requires_grad_()
    loss = BarlowTwinsLoss(lambda_param=0.0051)(over_all_processes(mine), over_all_processes(two.chunk(2)[rank]))
    loss.backward()
    torch.save({"loss": loss.detach(), "gradient": mine.grad}, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
