import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from harness.contracts import Context
from harness.errors import ConfigurationError, DataError
from harness.seeding import seed
from harness.spec import Status
from methods.configuration import resolve
from methods.networks import build
from methods.networks.backbone import random_numbers_from
from methods.obtain import backbone
from methods.phases import ImageViews, LabelSpec, NetworkSpec
from methods.shapes import CLASSES, make_shapes
from methods.supervised import Supervised, cohort, drawn, labelled_views, one_view, run_phase, whole_image
from methods.training.batches import Order
from methods.training.checkpoints import load_encoder
from methods.views import make_views
from tests.methods.conftest import registered
from tests.methods.phantom_pixels import write_pixels

METHODS = registered()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A cohort whose one finding is a bright corner."""
    folder = write_pixels(tmp_path_factory.mktemp("labelled") / "cohort", train=128, validation=64)
    images = np.load(folder / "pixels.npy")
    found = np.random.Generator(np.random.PCG64(3)).random(len(images)) < 0.5
    images[found, 16:48, 16:48] = 255
    np.save(folder / "pixels.npy", images)
    cases = pd.read_csv(folder / "cases.csv")
    cases["Bright"], cases["Never"] = found.astype(int), 0
    cases.to_csv(folder / "cases.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"labels": ["Bright", "Never"]}))
    return folder


def configuration(method, steps=12, **changes):
    found = resolve(METHODS[method], "smoke").phases[0].configuration
    return {**found, "budget": {"unit": "steps", "count": steps}, **changes}


def spec_of(configured, name="a"):
    return LabelSpec.model_validate({"phase": "s", "configuration": configured, "cohort": "c", "seed": seed(name)})


def run(configured, folder, inputs=None, resume=None, report=None, name="a"):
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"phase": "supervised", "configuration": configured, "cohort": "c" if inputs else None, "seed": seed(name)}
    context = Context(
        device="cpu",
        folder=folder,
        inputs={"c": inputs} if inputs else {},
        resume=resume or folder / "resume",
        report=report or (lambda done, total, what: None),
    )
    return run_phase(spec, context)


def seen(images, rows, stream_seed, epoch, px):
    return one_view(images, rows, drawn(stream_seed, epoch, rows, images.shape[-1], px), px)


def test_it_learns_the_labels_that_the_manifest_lists(labelled, tmp_path):
    optimiser = {"name": "adam", "learning_rate": 0.003, "weight_decay": 0}
    configured = configuration("chestxray14_supervised", 40, optimiser=optimiser)
    outcome = run(configured, tmp_path / "x", labelled)
    assert outcome.status is Status.OK and outcome.facts["outputs"] == 2
    # half of the images have the first finding, none the second: knowing no image, the best is ½ ln 2
    assert outcome.values["validation_loss"] < 0.7 * math.log(2) / 2
    assert outcome.facts["images_seen"] == 40 * 16


def test_the_first_loss_is_the_cross_entropy_written_in_numpy(labelled):
    spec = spec_of(configuration("chestxray14_supervised"))
    context = Context(device="cpu", folder=labelled, inputs={"c": labelled}, resume=labelled / "none")
    training = Supervised(spec, context, cohort(spec, context))
    labels = torch.from_numpy(training._data.labels[:8])
    rows = np.arange(8)
    views = seen(np.load(labelled / "pixels.npy"), rows, 1, 0, 32)
    with torch.no_grad():
        found = float(training.objective(labelled_views(training.objective, views, labels, CPU))[0])
        encoded = training.objective.backbone.encode(views.expand(-1, 3, -1, -1))
        logits = training.objective.head(encoded[-1].mean((2, 3)))
    probability = 1 / (1 + np.exp(-logits.double().numpy()))
    truth = pd.read_csv(labelled / "cases.csv")[["Bright", "Never"]].to_numpy()[:8]
    expected = -np.mean(truth * np.log(probability) + (1 - truth) * np.log(1 - probability))
    assert np.isclose(found, expected, rtol=1e-5)


def test_its_view_is_the_query_of_a_phase_without_distortion(labelled):
    images, rows = np.load(labelled / "pixels.npy"), np.arange(20)
    views = ImageViews(image_px=32, distortion=False)
    query = make_views(images, rows, 9, 2, views)[0]
    assert np.array_equal(seen(images, rows, 9, 2, 32)[:, 0].mul(255).round().byte().numpy(), query)


def test_test_images_are_never_learnt_from(tmp_path, labelled):
    cases = pd.read_csv(labelled / "cases.csv")
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("pixels.npy", "manifest.json"):
        (moved / name).write_bytes((labelled / name).read_bytes())
    cases.loc[cases["split"].eq("train") & (cases["row"] % 2 == 0), "split"] = "test"
    cases.to_csv(moved / "cases.csv", index=False)
    found = cohort(
        spec_of(configuration("chestxray14_supervised")),
        Context(device="cpu", folder=moved, inputs={"c": moved}, resume=moved),
    )
    assert set(found.train) == {row for row in range(128) if row % 2}
    assert set(found.validation) == set(range(128, 192))


def test_the_encoder_is_trained_and_the_decoder_left_as_drawn(labelled, tmp_path):
    outcome = run(configuration("chestxray14_supervised"), tmp_path / "x", labelled)
    plan = resolve(METHODS["chestxray14_supervised"], "smoke")
    loaded, facts = backbone(plan.encoder, tmp_path / "x", 7)
    fresh = build(NetworkSpec.model_validate(plan.encoder["network"]), 7)
    assert all(torch.equal(a, b) for a, b in zip(loaded.decoder.parameters(), fresh.decoder.parameters(), strict=True))
    assert not torch.equal(loaded.encoder.conv1.weight, fresh.encoder.conv1.weight)
    assert len(facts["encoder_sha256"]) == 64 and len(outcome.facts["weights_sha256"]) == 64


@pytest.mark.parametrize("stop_at", [1, 5])
def test_an_interrupted_phase_ends_as_if_nothing_had_happened(labelled, tmp_path, checkpoint_each_step, stop_at):
    configured = configuration("chestxray14_supervised", 8)

    def die(done, total, what):
        if done == stop_at:
            raise KeyboardInterrupt

    resume = tmp_path / "resume"
    with pytest.raises(KeyboardInterrupt):
        run(configured, tmp_path / "killed", labelled, resume, die)
    steps = []
    resumed = run(configured, tmp_path / "resumed", labelled, resume, lambda done, total, what: steps.append(done))
    whole = run(configured, tmp_path / "whole", labelled)
    assert steps == list(range(stop_at + 1, 9))
    assert resumed.facts == whole.facts and resumed.values == whole.values and resumed.curve == whole.curve


def test_a_loss_that_is_not_finite_ends_the_phase_as_diverged(labelled, tmp_path):
    optimiser = {"name": "sgd", "learning_rate": 1e30, "momentum": 0.9, "weight_decay": 0.0}
    outcome = run(configuration("chestxray14_supervised", optimiser=optimiser), tmp_path / "x", labelled)
    assert outcome.status is Status.DIVERGED and "not finite" in outcome.message


def test_a_cohort_without_labels_is_refused_with_a_sentence(tmp_path):
    plain = write_pixels(tmp_path / "plain")
    with pytest.raises(DataError, match="lists no labels"):
        run(configuration("chestxray14_supervised"), tmp_path / "x", plain)


def test_an_entry_must_own_up_to_the_labels_it_saw():
    hiding = METHODS["chestxray14_supervised"].model_copy(update={"saw_labels_of": ()})
    with pytest.raises(ConfigurationError, match=r"add saw_labels_of: \[chestxray14\]"):
        resolve(hiding, "smoke")


def test_shapes_are_seeded_balanced_and_grey():
    images, classes = make_shapes(205, 48, 1)
    again, same = make_shapes(205, 48, 1)
    other, _ = make_shapes(205, 48, 2)
    assert np.array_equal(images, again) and np.array_equal(classes, same) and not np.array_equal(images, other)
    assert images.shape == (205, 48, 48) and images.dtype == np.uint8
    counts = np.bincount(classes, minlength=len(CLASSES))
    assert counts.min() >= 20 and counts.max() <= 21
    assert images.reshape(205, -1).std(axis=1).min() > 5, "an empty picture"


def test_brightness_alone_tells_no_class_of_shape():
    """A nearest-mean rule on mean and spread of the grey levels stays far from knowing the figure."""
    images, classes = make_shapes(2000, 32, 1)
    figure = classes // 2
    levels = np.stack([images.mean((1, 2)), images.std((1, 2))], axis=1)
    levels = (levels - levels.mean(0)) / levels.std(0)
    centres = np.stack([levels[:1000][figure[:1000] == k].mean(0) for k in range(5)])
    guessed = np.argmin(((levels[1000:, None] - centres) ** 2).sum(-1), axis=1)
    assert np.mean(guessed == figure[1000:]) < 0.4


def test_training_on_shapes_beats_chance_and_needs_no_cohort(tmp_path):
    generator = {"seed": 1, "train": 512, "validation": 200, "px": 48}
    optimiser = {"name": "adam", "learning_rate": 0.003, "weight_decay": 0}
    changes = {
        "generator": generator,
        "optimiser": optimiser,
        "batch": 32,
        "validation": {"unit": "steps", "every": 20, "images": 200},
    }
    outcome = run(configuration("supervised_photo", 100, **changes), tmp_path / "x")
    assert outcome.facts["outputs"] == 10
    assert outcome.values["validation_loss"] < math.log(10) - 0.15


@pytest.mark.parametrize("profile", ["paper", "paper_matched", "code"])
def test_the_stand_in_is_nowhere_where_images_are_real_and_never_called_imagenet(profile):
    entry = METHODS["supervised_photo"]
    assert "imagenet" in resolve(entry, profile).unavailable
    assert "imagenet" not in (entry.label + resolve(entry, "miniature").phases[0].name).lower()
    assert resolve(entry, "miniature").phases[0].cohort is None


def by_hand(configured, folder, name="a"):
    """Train on labels with nothing around the maths: the steps, the validations and the sums as they are defined."""
    spec = spec_of(configured, name)
    data = cohort(spec, Context(device="cpu", folder=folder, inputs={"c": folder}, resume=folder))
    seeds = {stream: seed(spec.seed, stream) for stream in ("init", "order", "augment")}
    network = build(spec.configuration.network, seed(seeds["init"], "backbone"))
    with random_numbers_from(seed(seeds["init"], "head")):
        head = torch.nn.Linear(128, 2)
        torch.nn.init.normal_(head.weight, 0.0, 0.01)
        torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam([*network.encoder.parameters(), *head.parameters()], lr=0.001, fused=True)

    def loss(grey, rows):
        logits = head(network.encode(grey.expand(-1, 3, -1, -1).contiguous())[-1].mean((2, 3)))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(data.labels[rows]))

    curve, order = [], Order(data.train, 16, seeds["order"])
    losses = []
    for step in range(6):
        optimiser.param_groups[0]["lr"] = 0.001 * 0.5 * (1 + math.cos(math.pi * step / 6))
        epoch, rows = order.batch(step)
        taken = loss(seen(data.images, rows, seeds["augment"], epoch, 32), rows)
        optimiser.zero_grad()
        taken.backward()
        optimiser.step()
        losses.append(float(taken.detach()))
        if step % 3 == 2:
            network.eval()
            parts = [data.validation[:20][start : start + 16] for start in (0, 16)]
            with torch.no_grad():
                held_out = sum(float(loss(whole_image(data.images, rows, 32), rows)) * len(rows) for rows in parts) / 20
            network.train()
            curve.append((sum(losses) / 3, held_out))
            losses = []
    return network, curve


def test_the_loop_of_all_pretraining_gives_a_loop_written_by_hand_bit_for_bit(labelled, tmp_path):
    configured = configuration("chestxray14_supervised", 6, validation={"unit": "steps", "every": 3, "images": 20})
    network, curve = by_hand(configured, labelled)
    outcome = run(configured, tmp_path / "x", labelled)
    assert [(row["train_total"], row["validation_total"]) for row in outcome.curve] == curve
    assert outcome.values["validation_loss"] == min(held_out for _, held_out in curve) == curve[-1][1]
    kept, _ = load_encoder(tmp_path / "x" / "encoder.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
