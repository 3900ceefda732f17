import pytest
import torch

from methods.terms.bound import Views
from methods.training.objective import Objective
from methods.training.optimisers import build_optimiser, set_rates
from tests.methods.pretraining import configurations, typed

BASES = ("moco_v2", "barlow_twins", "simsiam")
OF_BASE = {base: typed(configurations(discrimination=base)["dis+res+adv"]) for base in BASES}
FULL = OF_BASE["moco_v2"]
EVERY_TERM = [*(("discrimination", base) for base in BASES), ("restoration", "moco_v2"), ("adversary", "moco_v2")]


def blobs(generator, size):
    """Smooth bright spots ``(size, 1, 32, 32)`` in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    centre = torch.rand(2, size, 1, 1, generator=generator)
    return torch.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 0.05)[:, None]


def views_of(objective, clean, target=None, generator=None):
    noise = 0.1 * torch.randn(clean.shape, generator=generator) if generator else 0
    images = objective.as_input(clean + noise).contiguous()
    return Views(images, objective.as_input(clean).contiguous(), clean if target is None else target, 0)


def with_weights(**weights):
    terms = [term.model_copy(update={"weight": weights.get(term.role, term.weight)}) for term in FULL.terms]
    return FULL.model_copy(update={"terms": terms})


@pytest.mark.parametrize("base", BASES)
def test_the_total_is_the_weighted_sum_of_finite_scalars(base):
    objective = Objective(OF_BASE[base], 0)
    total, losses, shared = objective(views_of(objective, blobs(torch.Generator().manual_seed(0), 8)))
    assert set(losses) == {"discrimination", "restoration", "adversary"}
    assert all(loss.shape == () and torch.isfinite(loss) for loss in losses.values())
    expected = losses["discrimination"] + 10 * losses["restoration"] + 0.001 * losses["adversary"]
    assert torch.allclose(total, expected)
    assert shared.restored.shape == (8, 1, 32, 32)


@pytest.mark.parametrize(("role", "base"), EVERY_TERM)
def test_the_gradient_of_every_term_reaches_every_parameter_of_the_encoder(role, base):
    objective = Objective(OF_BASE[base], 0)
    _, losses, _ = objective(views_of(objective, blobs(torch.Generator().manual_seed(0), 8)))
    losses[role].backward()
    for name, parameter in objective.backbone.encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert float(objective.backbone.encoder.conv1.weight.grad.abs().sum()) > 0
    assert all(p.grad is None for p in objective.terms["adversary"].opponent_parameters())


@pytest.mark.parametrize(("role", "base"), EVERY_TERM)
def test_ten_steps_on_one_batch_lower_every_term(role, base):
    generator = torch.Generator().manual_seed(0)
    objective = Objective(OF_BASE[base], 0)
    with torch.no_grad():
        for _ in range(8):  # fill the queue of 64: against random keys the untrained loss is already low
            objective(views_of(objective, blobs(generator, 8)))
            objective.after_step()
    views = views_of(objective, blobs(generator, 8))
    optimiser = build_optimiser(
        objective.own_parameters(), OF_BASE[base].optimiser, objective.constant_rate_parameters()
    )
    set_rates(optimiser, 1.0)
    seen = []
    for _ in range(11):
        loss = objective(views)[1][role]
        seen.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert seen[-1] < seen[0]


def test_a_weight_of_zero_removes_a_term_and_moves_nothing_else():
    without = Objective(FULL.model_copy(update={"terms": FULL.terms[:2]}), 0)
    zero = Objective(with_weights(adversary=0), 0)
    assert without.state_dict().keys() == zero.state_dict().keys()
    views = views_of(zero, blobs(torch.Generator().manual_seed(0), 8))
    assert torch.equal(without(views)[0], zero(views)[0])


@pytest.mark.parametrize("base", BASES)
def test_no_terms_start_depends_on_which_others_there_are(base):
    whole = Objective(OF_BASE[base], 0).state_dict()
    for part in ("dis", "dis+res"):
        for name, value in Objective(typed(configurations(discrimination=base)[part]), 0).state_dict().items():
            assert torch.equal(value, whole[name]), name


def test_the_backbones_optimiser_holds_heads_but_no_opponent_and_no_momentum_encoder():
    objective = Objective(FULL, 0)
    own = {id(p) for p in objective.own_parameters()}
    names = {name for name, p in objective.named_parameters() if id(p) in own}
    assert all(name.startswith(("backbone.", "terms.discrimination.head", "terms.restoration.head")) for name in names)
    assert sum(name.startswith("backbone.") for name in names) == len(list(objective.backbone.parameters()))
    assert any(name.startswith("terms.discrimination.head") for name in names)
    assert any(name.startswith("terms.restoration.head") for name in names)


@pytest.mark.parametrize(("base", "silent"), [("moco_v2", False), ("barlow_twins", True), ("simsiam", True)])
def test_residual_blocks_start_silent_where_the_original_has_it_so(base, silent):
    encoder = Objective(OF_BASE[base], 0).backbone.encoder
    for layer in (encoder.layer1, encoder.layer4):
        gamma = layer[-1].bn2.weight
        assert torch.equal(gamma, torch.zeros_like(gamma) if silent else torch.ones_like(gamma))


def test_a_decoder_that_no_term_needs_is_not_run():
    objective = Objective(typed(configurations()["dis"]), 0)
    total, _, shared = objective(views_of(objective, blobs(torch.Generator().manual_seed(0), 8)))
    total.backward()
    assert shared.restored is None
    assert all(p.grad is None for p in objective.backbone.decoder.parameters())


def test_restoration_learns_from_its_own_targets_and_not_from_shuffled_ones():
    def error_on_own_targets(shuffled):
        generator = torch.Generator().manual_seed(0)
        objective = Objective(typed(configurations(discrimination=None, adversary=0)["res"]), 0)
        optimiser = torch.optim.SGD(objective.own_parameters(), lr=0.1, momentum=0.9)
        errors = []
        for _ in range(60):
            clean = blobs(generator, 16)
            target = clean.roll(1, 0) if shuffled else clean
            loss = objective(views_of(objective, clean, target, generator))[0]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            errors.append(float(loss.detach()) / 10)
        return sum(errors[-10:]) / 10

    clean = blobs(torch.Generator().manual_seed(1), 256)
    knows_only_the_mean = float((clean - clean.mean(dim=0)).square().mean())
    assert error_on_own_targets(shuffled=False) < 0.5 * knows_only_the_mean
    assert error_on_own_targets(shuffled=True) > 0.9 * knows_only_the_mean


def test_imagenet_normalisation_is_applied_to_the_input_only():
    objective = Objective(FULL.model_copy(update={"normalisation": "imagenet"}), 0)
    made = objective.as_input(torch.full((1, 1, 32, 32), 0.5))
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(made[0, :, 0, 0], expected)
    assert torch.equal(Objective(FULL, 0).as_input(torch.full((1, 1, 2, 2), 0.5)), torch.full((1, 3, 2, 2), 0.5))
