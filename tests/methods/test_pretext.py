import math

import numpy as np
import pytest
import torch

from harness.checkpoints import load_state, write_atomically
from harness.contracts import Preempted
from harness.errors import CheckpointError, DataError
from harness.spec import Status
from methods.options import Cosine
from methods.pretext import carry_on
from methods.training import loop
from methods.training.batches import Order
from methods.training.checkpoints import load_encoder
from methods.training.objective import Objective
from methods.training.optimisers import rate_factor
from tests.methods.phantom_pixels import write_pixels
from tests.methods.pretraining import configurations, train, typed

PHASES = ("dis", "dis+res", "dis+res+adv")


@pytest.fixture(scope="module")
def parents(cohort, tmp_path_factory):
    """DiRA's chain, trained once: phase name → (outcome, folder)."""
    root = tmp_path_factory.mktemp("chain")
    chain, parent = {}, None
    for name in PHASES:
        outcome = train(configurations(6)[name], root / name, cohort, parent=parent, seed_name=name)
        parent = root / name
        chain[name] = (outcome, parent)
    return chain


def same_state(a, b):
    a, b = load_state(a / "last.pt")["state"], load_state(b / "last.pt")["state"]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_phase_leaves_weights_state_curve_and_facts(parents):
    outcome, folder = parents["dis+res+adv"]
    assert outcome.status is Status.OK
    assert {path.name for path in folder.iterdir()} == {"encoder.safetensors", "last.pt"}
    facts = outcome.facts
    assert facts["steps"] == 6 and facts["images_seen"] == 6 * 16
    assert facts["budget"] == {"unit": "steps", "count": 6}
    assert len({facts[f"{n}_sha256"] for n in ("weights", "initial_state", "order", "first_batch")}) == 4
    assert [row["step"] for row in outcome.curve] == [3, 6]
    for row in outcome.curve:
        assert {"train_discrimination", "train_restoration", "train_adversary", "train_opponent"} <= set(row)
        total = row["validation_discrimination"] + 10 * row["validation_restoration"]
        assert math.isclose(row["validation_total"], total + 0.001 * row["validation_adversary"], rel_tol=1e-5)
    lowest = min(outcome.curve, key=lambda row: row["validation_total"])
    assert facts["selected_step"] == lowest["step"]
    assert outcome.values["validation_loss"] == lowest["validation_total"]


def test_the_next_phase_carries_the_whole_state_on_and_starts_new_terms_fresh(parents):
    before = load_state(parents["dis+res"][1] / "last.pt")["state"]
    configuration = typed(configurations()["dis+res+adv"])
    objective, fresh = Objective(configuration, 5), Objective(configuration, 5)
    carry_on(objective, configuration, parents["dis+res"][1])
    now = objective.state_dict()
    for name, value in before.items():
        assert torch.equal(now[name], value), name
    assert any(name.endswith("queue") for name in before) and any("key_encoder" in name for name in before)
    for name in now.keys() - before.keys():
        assert name.startswith("terms.adversary.") and torch.equal(now[name], fresh.state_dict()[name])


def test_a_phase_may_start_from_the_best_backbone_instead(parents, tmp_path):
    _, folder = parents["dis"]
    best, _ = load_encoder(folder / "encoder.safetensors")
    moved = tmp_path / "parent"
    moved.mkdir()
    saved = load_state(folder / "last.pt")
    saved["state"] = {name: v + 1 if v.is_floating_point() else v for name, v in saved["state"].items()}
    write_atomically(moved / "last.pt", saved)
    (moved / "encoder.safetensors").write_bytes((folder / "encoder.safetensors").read_bytes())
    for start in ("last", "best"):
        configuration = typed({**configurations()["dis+res"], "start": start})
        objective = Objective(configuration, 5)
        carry_on(objective, configuration, moved)
        name = "encoder.conv1.weight"
        expected = best[name] if start == "best" else saved["state"]["backbone." + name]
        assert torch.equal(objective.backbone.state_dict()[name], expected)
        queue = "terms.discrimination.queue"
        assert torch.equal(objective.state_dict()[queue], saved["state"][queue])


@pytest.mark.parametrize(
    "stop_at", [pytest.param(1, marks=pytest.mark.thorough), 4, pytest.param(7, marks=pytest.mark.thorough)]
)
def test_an_interrupted_phase_ends_as_if_nothing_had_happened(parents, cohort, tmp_path, checkpoint_each_step, stop_at):
    configuration, parent = configurations(8)["dis+res+adv"], parents["dis+res"][1]

    def die(done, total, what):
        if done == stop_at:
            raise KeyboardInterrupt

    resume = tmp_path / "resume"
    with pytest.raises(KeyboardInterrupt):
        train(configuration, tmp_path / "killed", cohort, parent=parent, resume=resume, report=die)
    seen = []
    resumed = train(
        configuration,
        tmp_path / "resumed",
        cohort,
        parent=parent,
        resume=resume,
        report=lambda done, total, what: seen.append(done),
    )
    whole = train(configuration, tmp_path / "whole", cohort, parent=parent)
    assert seen == list(range(stop_at + 1, 9))
    assert same_state(tmp_path / "resumed", tmp_path / "whole")
    assert resumed.facts == whole.facts and resumed.values == whole.values and resumed.curve == whole.curve


def test_a_phase_asked_to_leave_writes_a_checkpoint_at_that_step_and_goes_on_from_it(cohort, tmp_path):
    configuration, asked = configurations(5)["dis"], iter([False, True])
    with pytest.raises(Preempted):
        train(configuration, tmp_path / "a", cohort, resume=tmp_path / "resume", leaving=lambda: next(asked))
    assert load_state(tmp_path / "resume" / "checkpoint.pt")["step"] == 2
    found = train(configuration, tmp_path / "a", cohort, resume=tmp_path / "resume")
    whole = train(configuration, tmp_path / "whole", cohort)
    assert same_state(tmp_path / "a", tmp_path / "whole")
    assert found.facts == whole.facts and found.curve == whole.curve


@pytest.mark.parametrize("damage", ["foreign", "truncated"])
def test_a_checkpoint_that_is_damaged_or_of_another_spec_is_not_resumed(cohort, tmp_path, checkpoint_each_step, damage):
    configuration = configurations(4)["dis"]
    resume = tmp_path / "resume"
    train(configuration, tmp_path / "other", cohort, seed_name="other", resume=resume)
    checkpoint = resume / "checkpoint.pt"
    assert checkpoint.is_file()
    if damage == "truncated":
        train(configuration, tmp_path / "mine", cohort, resume=resume)
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    found = train(configuration, tmp_path / "found", cohort, resume=resume)
    assert found.facts == train(configuration, tmp_path / "fresh", cohort).facts


def test_worker_count_changes_no_number(cohort, tmp_path):
    configuration = configurations(8)["dis+res"]
    none = train(configuration, tmp_path / "0", cohort)
    two = train(configuration, tmp_path / "2", cohort, workers=2)
    assert none.facts == two.facts and none.curve == two.curve
    assert same_state(tmp_path / "0", tmp_path / "2")


def test_validation_moves_nothing_of_the_training(cohort, tmp_path):
    often, never = (configurations(6)["dis+res+adv"] for _ in range(2))
    often["validation"] = {"unit": "steps", "every": 1, "images": 32}
    never["validation"] = {"unit": "steps", "every": 6, "images": 32}
    train(often, tmp_path / "often", cohort)
    train(never, tmp_path / "never", cohort)
    assert same_state(tmp_path / "often", tmp_path / "never")


def test_validation_sees_the_same_views_every_time(cohort, tmp_path):
    configuration = configurations(3)["dis+res"]
    configuration["optimiser"] = {**configuration["optimiser"], "learning_rate": 1e-30, "weight_decay": 0.0}
    configuration["validation"] = {"unit": "steps", "every": 1, "images": 32}
    configuration["views"]["distortion"] = False
    curve = train(configuration, tmp_path / "a", cohort).curve
    again = train(configuration, tmp_path / "b", cohort).curve
    assert curve == again and len(curve) == 3


def test_another_seed_gives_other_weights_order_and_views(cohort, tmp_path):
    one, two = (train(configurations(2)["dis"], tmp_path / s, cohort, seed_name=s).facts for s in ("a", "b"))
    for fact in ("weights_sha256", "order_sha256", "first_batch_sha256", "initial_state_sha256"):
        assert one[fact] != two[fact]


def test_a_loss_that_is_not_finite_ends_the_phase_as_diverged_with_the_best_so_far(cohort, tmp_path):
    configuration = configurations(6)["dis+res"]
    configuration["optimiser"] = {**configuration["optimiser"], "learning_rate": 1e20}
    outcome = train(configuration, tmp_path / "early", cohort)
    assert outcome.status is Status.DIVERGED and "not finite" in outcome.message
    assert "weights_sha256" not in outcome.facts and not (tmp_path / "early" / "last.pt").exists()

    configuration["optimiser"]["learning_rate"] = 0.01
    configuration["validation"] = {"unit": "steps", "every": 2, "images": 32}
    original = loop.Training._take_step

    def poisoned(self, made):
        original(self, made)
        if self.step == 4:
            self.losses.sums["total"] = torch.tensor(math.nan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Training, "_take_step", poisoned)
        outcome = train(configuration, tmp_path / "late", cohort)
    assert outcome.status is Status.DIVERGED and outcome.facts["steps"] == 5
    assert outcome.facts["selected_step"] in (2, 4) and (tmp_path / "late" / "encoder.safetensors").is_file()


def test_a_curve_has_no_more_rows_than_it_may(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CURVE_ROWS", 10)
    configuration = configurations(23)["dis"]
    configuration["validation"] = {"unit": "steps", "every": 1, "images": 16}
    outcome = train(configuration, tmp_path / "long", cohort)
    assert [row["step"] for row in outcome.curve] == [*range(3, 23, 3), 23]


def test_an_epoch_is_every_image_once_in_an_order_of_its_own(cohort, tmp_path):
    order = Order(np.arange(100, 150), 16, 3)
    assert order.steps_per_epoch == 3
    first, second = ([order.batch(s) for s in range(e * 3, e * 3 + 3)] for e in (0, 1))
    rows = np.concatenate([rows for _, rows in first])
    assert len(set(rows)) == 48 and set(rows) <= set(range(100, 150))
    assert [epoch for epoch, _ in second] == [1, 1, 1]
    assert not np.array_equal(rows, np.concatenate([rows for _, rows in second]))
    configuration = configurations()["dis"]
    configuration["budget"] = {"unit": "epochs", "count": 2}
    configuration["validation"] = {"unit": "epochs", "every": 1, "images": None}
    outcome = train(configuration, tmp_path / "epochs", cohort)
    assert outcome.facts["steps"] == 2 * (96 // 16) and len(outcome.curve) == 2


def test_selection_may_take_the_last_state_instead(cohort, tmp_path):
    configuration = configurations(6, options={"selection": "last"})["dis"]
    outcome = train(configuration, tmp_path / "x", cohort)
    assert outcome.facts["selected_step"] == 6
    best, _ = load_encoder(tmp_path / "x" / "encoder.safetensors")
    last = load_state(tmp_path / "x" / "last.pt")["state"]
    assert all(torch.equal(value, last["backbone." + name]) for name, value in best.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_same_phase_runs_on_a_gpu(parents, cohort, tmp_path, precision):
    configuration = configurations(6, options={"precision": precision})["dis+res+adv"]
    parent = parents["dis+res"][1]
    on_gpu = train(configuration, tmp_path / "gpu", cohort, parent=parent, device="cuda:0")
    on_cpu = train(configuration, tmp_path / "cpu", cohort, parent=parent)
    for fact in ("initial_state_sha256", "order_sha256", "first_batch_sha256", "steps"):
        assert on_gpu.facts[fact] == on_cpu.facts[fact]
    assert math.isclose(on_gpu.values["validation_loss"], on_cpu.values["validation_loss"], rel_tol=0.05)


def test_the_cosine_falls_from_one_towards_nothing_by_step_or_by_epoch():
    by_step = [rate_factor(Cosine(name="cosine", per="step"), s, 8, 4) for s in range(8)]
    assert np.allclose(by_step, [(1 + math.cos(math.pi * s / 8)) / 2 for s in range(8)])
    by_epoch = [rate_factor(Cosine(name="cosine", per="epoch"), s, 8, 4) for s in range(8)]
    assert np.allclose(by_epoch, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("option", [{"norm_splits": 2}, {"precision": "bf16"}, {"normalisation": "imagenet"}])
def test_options_of_the_network_train_to_finite_losses(cohort, tmp_path, option):
    outcome = train(configurations(3, options=option)["dis+res+adv"], tmp_path / "x", cohort)
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])


def test_fewer_images_than_a_batch_are_refused_with_a_sentence(tmp_path):
    small = write_pixels(tmp_path / "small", train=10, validation=4)
    with pytest.raises(DataError, match="10 training images"):
        train(configurations(2)["dis"], tmp_path / "x", small)


def test_a_parent_of_another_network_or_term_is_refused(parents):
    folder = parents["dis"][1]
    configuration = typed(configurations()["dis+res"])
    network = configuration.network.model_copy(update={"zero_init_residual": True})
    foreign = configuration.model_copy(update={"network": network})
    with pytest.raises(CheckpointError, match="holds network"):
        carry_on(Objective(foreign, 0), foreign, folder)
    other = typed(configurations(options={"term": {"temperature": 0.5}})["dis+res"])
    with pytest.raises(CheckpointError, match="term discrimination"):
        carry_on(Objective(other, 0), other, folder)


def test_a_missing_or_damaged_parent_is_refused(parents, tmp_path):
    configuration = typed(configurations()["dis+res"])
    with pytest.raises(CheckpointError, match=r"no last\.pt"):
        carry_on(Objective(configuration, 0), configuration, tmp_path)
    (tmp_path / "last.pt").write_bytes((parents["dis"][1] / "last.pt").read_bytes()[:500])
    with pytest.raises(CheckpointError, match="damaged"):
        carry_on(Objective(configuration, 0), configuration, tmp_path)
