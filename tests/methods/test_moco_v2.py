import copy

import numpy as np
import torch
from lightly.loss import NTXentLoss
from torch import nn

from methods.networks import build
from methods.networks.normalisation import split_batch_norm
from methods.phases import NetworkSpec
from methods.terms.bound import Forward, Views
from methods.terms.bound_moco_v2 import BoundMocoV2, info_nce
from methods.terms.moco_v2 import MocoV2

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=False)


def unit(generator, *shape):
    return nn.functional.normalize(torch.randn(*shape, generator=generator), dim=1)


def made(queue=8, momentum=0.9, splits=1):
    backbone = build(NETWORK, 0)
    split_batch_norm(backbone, splits)
    return backbone, BoundMocoV2(MocoV2(queue=queue, momentum=momentum), backbone, 1, 32)


def batch(size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query, key = (torch.rand(size, 3, 32, 32, generator=generator) for _ in range(2))
    return Views(query, key, query[:, :1], step_seed=seed)


def loss_of(term, backbone, views):
    return term(views, Forward(backbone.encode(views.query), None), backbone)


def test_info_nce_equals_the_equation_written_in_numpy():
    generator = torch.Generator().manual_seed(0)
    query, key, queue = unit(generator, 5, 16), unit(generator, 5, 16), unit(generator, 11, 16)
    losses = []
    for q, k in zip(query.double().numpy(), key.double().numpy(), strict=True):
        positive = np.exp(q @ k / 0.2)
        negatives = sum(np.exp(q @ n / 0.2) for n in queue.double().numpy())
        losses.append(-np.log(positive / (positive + negatives)))
    assert np.isclose(float(info_nce(query, key, queue, 0.2)), np.mean(losses), rtol=1e-6)


def test_info_nce_equals_lightlys_at_the_same_temperature_and_queue():
    generator = torch.Generator().manual_seed(0)
    query, key, queue = unit(generator, 5, 16), unit(generator, 5, 16), unit(generator, 11, 16)
    reference = NTXentLoss(temperature=0.2, memory_bank_size=(11, 16))
    reference.memory_bank.bank = queue.clone()
    reference.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    assert torch.allclose(info_nce(query, key, queue, 0.2), reference(query, key), atol=1e-6)
    assert NTXentLoss().temperature == 0.5  # the trap: MoCo-v2's is 0.2
    assert MocoV2().temperature == 0.2


def test_the_key_encoder_has_no_decoder_and_no_gradient():
    backbone, term = made()
    assert not any("decoder" in name for name in term.state_dict())
    assert {n.removeprefix("key_encoder.") for n, _ in term.key_encoder.named_parameters()} == {
        n for n, _ in backbone.encoder.named_parameters()
    }
    loss_of(term, backbone, batch()).backward()
    assert all(p.grad is None for p in [*term.key_encoder.parameters(), *term.key_head.parameters()])
    assert all(p.grad is None for p in backbone.decoder.parameters())
    assert all(p.grad is not None for p in backbone.encoder.parameters())


def test_the_queue_is_saved_takes_keys_after_the_step_and_wraps_around():
    backbone, term = made(queue=6)
    assert {"queue", "position"} <= set(term.state_dict())
    before = term.queue.clone()
    loss_of(term, backbone, batch(4)).backward()
    assert torch.equal(term.queue, before), "the queue moved before the step"
    first = term._keys.clone()
    term.after_step(backbone)
    assert torch.equal(term.queue[:4], first) and torch.equal(term.queue[4:], before[4:])
    loss_of(term, backbone, batch(4, seed=1))
    second = term._keys.clone()
    term.after_step(backbone)
    assert torch.equal(term.queue[[4, 5, 0, 1]], second) and torch.equal(term.queue[2:4], first[2:])
    assert int(term.position) == 2


def test_validation_moves_neither_queue_nor_key_encoder():
    backbone, term = made()
    backbone.eval(), term.eval()
    before = {name: value.clone() for name, value in term.state_dict().items()}
    with torch.no_grad():
        assert torch.isfinite(loss_of(term, backbone, batch()))
    assert term._keys is None
    assert all(torch.equal(before[name], value) for name, value in term.state_dict().items())


def test_the_momentum_update_moves_parameters_and_leaves_batch_norm_statistics():
    backbone, term = made(momentum=0.9)
    loss_of(term, backbone, batch())  # moves the running statistics of both encoders
    with torch.no_grad():
        for p in backbone.encoder.parameters():
            p.add_(1.0)
    old = copy.deepcopy(term.key_encoder)
    term.after_step(backbone)
    name, new = next(iter(term.key_encoder.named_parameters()))
    expected = 0.9 * old.get_parameter(name) + 0.1 * backbone.encoder.get_parameter(name)
    assert torch.allclose(new, expected, atol=1e-6)
    for (_, then), (_, now) in zip(old.named_buffers(), term.key_encoder.named_buffers(), strict=True):
        assert torch.equal(then, now)


def test_with_split_batch_norm_the_shuffle_decides_which_keys_share_statistics():
    _, term = made(splits=2)
    keys = []
    for step_seed in (1, 2, 2):
        views = batch(8)
        with torch.no_grad():
            keys.append(term._embed_keys(Views(views.query, views.key, views.target, step_seed))[0])
    assert torch.equal(keys[1], keys[2])
    assert not torch.allclose(keys[0], keys[1], atol=1e-6)


def test_without_splits_every_key_keeps_its_place():
    backbone, term = made()
    term.eval(), backbone.eval()
    views = batch(4)
    reference = nn.functional.normalize(term.key_head(term.key_encoder(views.key)[-1].mean(dim=(2, 3))), dim=1)
    assert torch.allclose(term._embed_keys(views)[0], reference, atol=1e-6)
