import math

import numpy as np
import pandas as pd
import pytest
import torch

from harness.checkpoints import load_state
from harness.errors import CheckpointError, ConfigurationError, DataError
from harness.seeding import seed
from harness.spec import MethodEntry, Status
from methods.configuration import resolve
from methods.external import load
from methods.key_layouts import best_match
from methods.networks import build
from methods.obtain import backbone
from methods.phases import CubeConfiguration, CubeViews, NetworkSpec
from methods.profiles import load_profile
from methods.recipes.volumes import shares
from methods.terms import from_json
from methods.terms.bound import Forward, Views
from methods.training.objective import Objective
from methods.volumes.cubes import Cubes, make_cubes
from tests.methods.volumes import phases, run, write_scans


def entry(**fields):
    weights = {"visual_words": 1, "restoration": 100, "adversary": 1} if fields.get("recipe") is None else {}
    common = {"name": "m", "label": "M", "dimensions": 3, "recipe": "volumes", "version": 1, "source": "test"}
    return MethodEntry(**{**common, **weights, **fields})


@pytest.fixture(scope="module")
def discovered(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretext")
    cohort = write_scans(root / "cohort")
    run(phases()["discovery"], root / "discovery", {"cohort": cohort})
    return root / "discovery"


@pytest.fixture(scope="module")
def trained(discovered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    outcome = run(phases()["dis+res"], folder, {"discovery": discovered, "parent": discovered})
    return folder, outcome


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_transvw_is_one_phase_of_words_and_restoration_and_dira_adds_the_adversary_for_the_last_quarter():
    transvw = phases("paper", visual_words=0.01, restoration=1, adversary=0)
    dira = phases("paper")
    assert list(transvw) == ["discovery", "dis+res"] and list(dira) == ["discovery", "dis+res", "dis+res+adv"]
    assert transvw["discovery"] == dira["discovery"], "one discovery serves both"

    def weights(phase):
        return {term["role"]: term["weight"] for term in phase.configuration["terms"]}

    assert weights(transvw["dis+res"]) == {"discrimination": 0.01, "restoration": 1}
    assert weights(dira["dis+res"]) == {"discrimination": 1, "restoration": 100}
    assert weights(dira["dis+res+adv"]) == {"discrimination": 1, "restoration": 100, "adversary": 1}
    counts = [phase.configuration["budget"] for phase in dira.values()][1:]
    assert counts == [{"unit": "epochs", "count": 150}, {"unit": "epochs", "count": 50}]
    assert transvw["dis+res"].configuration["budget"] == {"unit": "epochs", "count": 200}
    adversary = dira["dis+res+adv"].configuration["terms"][2]["configuration"]
    assert adversary["learning_rate"] == 1e-3 and adversary["betas"] == [0.5, 0.999] and adversary["loss"] == "lsgan"


@pytest.mark.parametrize("total", [8, 9, 200, 401])
def test_both_methods_see_as_many_cubes(total):
    assert sum(count for _, count in shares(total, adversary=True)) == total
    assert [count for _, count in shares(total, adversary=False)] == [total]


def test_the_paper_has_the_published_cubes_words_and_network():
    found = phases("paper")
    words = found["discovery"].configuration["words"]
    assert words["cube"] == [64, 64, 32] and words["words"] == 44
    assert (words["nearest_training"], words["nearest_validation"], words["more_resolutions"]) == (200, 30, 2)
    assert (words["border"], words["apart"], words["tissue_hu"], words["tissue_share"]) == ([100, 30], 5, -150, 0.15)
    assert found["dis+res"].configuration["network"]["name"] == "transvw_keras"
    assert found["dis+res"].configuration["batch"] == 8
    assert found["dis+res"].configuration["optimiser"] == {"name": "adam", "learning_rate": 0.001, "weight_decay": 0}
    small = load_profile("miniature")
    assert small.network(3).name == "transvw_keras_w4"


def test_options_reach_what_they_name():
    found = phases(
        "paper",
        options={
            "head": "pytorch",
            "words": 50,
            "painting": "pytorch",
            "adversary_rate": 2e-4,
            "learning_rate": 3e-4,
        },
    )
    last = found["dis+res+adv"].configuration
    term = from_json(last["terms"][0]["configuration"])
    assert (term.head, term.words) == ("pytorch", 50)
    assert found["discovery"].configuration["words"]["words"] == 50
    assert last["views"]["painting"] == "pytorch"
    assert last["terms"][2]["configuration"]["learning_rate"] == 2e-4 and last["optimiser"]["learning_rate"] == 3e-4


@pytest.mark.parametrize("release", ["keras", "pytorch"])
def test_head_and_painting_go_with_the_network_and_the_discovery_is_one_for_both(release):
    network = f"transvw_{release}"
    found = phases("paper", options={"network": network})
    for name in ("dis+res", "dis+res+adv"):
        configuration = found[name].configuration
        assert configuration["network"]["name"] == network
        assert configuration["views"]["painting"] == release
        assert from_json(configuration["terms"][0]["configuration"]).head == release
    # TransVW releases one self-discovery, in Keras; both of its READMEs name it.
    assert found["discovery"] == phases("paper")["discovery"]
    mixed = phases("paper", options={"network": network, "head": "keras", "painting": "keras"})["dis+res"].configuration
    assert mixed["views"]["painting"] == "keras" and mixed["terms"][0]["configuration"]["head"] == "keras"


def test_a_plateaus_least_rate_and_least_fall_reach_the_training(discovered, tmp_path):
    phase = phases()["dis+res"]
    # No loss is better by 1e9, so from the second validation on each one halves the rate, down to the least.
    plateau = {"factor": 0.5, "patience": 1, "min_delta": 1e9, "min_lr": 3e-4, "counting": "keras"}
    phase.configuration["schedule"] = {"name": "plateau", "per": "step", **plateau}
    phase.configuration["validation"]["every"] = 2
    outcome = run(phase, tmp_path, {"discovery": discovered, "parent": discovered})
    assert [row["step"] for row in outcome.curve] == [2, 4, 6]
    assert [row["learning_rate"] for row in outcome.curve] == pytest.approx([1e-3, 1e-3, 5e-4])
    phase.configuration["budget"]["count"] = 10
    outcome = run(phase, tmp_path / "longer", {"discovery": discovered, "parent": discovered})
    assert [row["learning_rate"] for row in outcome.curve] == pytest.approx([1e-3, 1e-3, 5e-4, 3e-4, 3e-4])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"options": {"network": "transvw_pytorch"}}, r"network: found transvw_pytorch.*transvw_keras_w4"),
        ({"dimensions": 2}, r"dimensions: found 2; expected 3"),
        ({"restoration": 0}, r"restoration: found 0"),
        ({"options": {"paint": "keras"}}, r'options\.paint: unknown key; did you mean "painting"'),
        ({"discrimination": "moco_v2"}, r"discrimination: unknown key"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        resolve(entry(**fields), "miniature")


def test_encoder_only_trains_the_same_phases_and_hands_over_a_fresh_decoder():
    whole, half = resolve(entry(), "smoke"), resolve(entry(transfer="encoder_only"), "smoke")
    assert whole.phases == half.phases
    assert (whole.encoder["decoder"], half.encoder["decoder"]) == ("trained", "fresh")


def test_random_in_3d_has_one_channel_and_no_phases():
    plan = resolve(entry(recipe="random"), "miniature")
    assert plan.reinitialised and not plan.phases
    built, facts = backbone(plan.encoder, None, 3)
    assert built.dimensions == 3 and built.in_channels == 1
    assert facts != backbone(plan.encoder, None, 4)[1]


def test_a_phase_leaves_weights_state_curve_and_facts(trained):
    folder, outcome = trained
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])
    assert outcome.facts["images_seen"] == 6 * 4 and outcome.facts["parameters"] == 255_864
    last = outcome.curve[-1]
    total = last["train_discrimination"] + 100 * last["train_restoration"]
    assert math.isclose(last["train_total"], total, rel_tol=1e-5)
    assert {path.name for path in folder.iterdir()} >= {"encoder.safetensors", "last.pt"}
    encoder = resolve(entry(), "smoke").encoder
    built, facts = backbone(encoder, folder, 0)
    assert len(facts["encoder_sha256"]) == 64 and built.decoder_channels == 8


def test_the_adversarys_phase_carries_on_and_trains_its_opponent(discovered, trained, tmp_path):
    folder, _ = trained
    outcome = run(phases()["dis+res+adv"], tmp_path / "a", {"discovery": discovered, "parent": folder})
    assert outcome.status is Status.OK
    assert {"train_adversary", "train_opponent"} <= set(outcome.curve[-1])
    before, after = load_state(folder / "last.pt")["state"], load_state(tmp_path / "a" / "last.pt")["state"]
    planned = CubeConfiguration.model_validate(phases()["dis+res+adv"].configuration)
    drawn = Objective(planned, seed(seed("a"), "init")).state_dict()
    name = "terms.adversary.discriminator.0.weight"
    assert not torch.equal(drawn[name], after[name]), "the opponent was not trained"
    name = "terms.discrimination.layers.0.weight"
    step = float((after[name] - before[name]).abs().max())
    assert 0 < step < 0.01, "the head of the words did not carry on from the phase before"


def test_the_losses_are_cross_entropy_and_mean_squared_error():
    configuration = CubeConfiguration.model_validate(phases()["dis+res"].configuration)
    objective = Objective(configuration, 0).eval()
    generator = torch.Generator().manual_seed(0)
    query, target = (torch.rand(5, 1, 16, 16, 8, generator=generator) for _ in range(2))
    words = torch.tensor([0, 1, 2, 1, 0])
    total, losses, shared = objective(Views(query, query, target, 0, words=words))
    logits = objective.terms["discrimination"].classify(shared.features).detach().double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(chances[np.arange(5), words]).mean()
    assert math.isclose(losses["discrimination"].item(), expected, rel_tol=1e-5)
    squared = ((shared.restored - target) ** 2).mean().item()
    assert math.isclose(losses["restoration"].item(), squared, rel_tol=1e-6)
    assert math.isclose(total.item(), expected + 100 * squared, rel_tol=1e-5)
    assert isinstance(shared, Forward) and shared.restored.min() >= 0 and shared.restored.max() <= 1


def test_cubes_are_made_from_seed_epoch_and_row_alone(discovered):
    cubes, views = Cubes(discovered), CubeViews(cube=(16, 16, 8), painting="keras")
    rows = np.array([3, 7, 11])
    query, target, words = make_cubes(cubes.volumes, cubes.words, rows, 5, 2, views)
    again = make_cubes(cubes.volumes, cubes.words, rows[::-1].copy(), 5, 2, views)
    assert torch.equal(query, again[0].flip(0))
    assert torch.equal(target[:, 0], torch.from_numpy(cubes.volumes[rows]).float() / 255), "the target is undistorted"
    assert words.tolist() == pd.read_csv(discovered / "cubes.csv").loc[rows, "word"].tolist()
    assert not torch.equal(query, make_cubes(cubes.volumes, cubes.words, rows, 5, 3, views)[0])


def test_neither_workers_nor_an_interruption_change_a_number(discovered, trained, tmp_path, checkpoint_each_step):
    folder, outcome = trained
    inputs = {"discovery": discovered, "parent": discovered}
    workers = run(phases()["dis+res"], tmp_path / "workers", inputs, workers=2)
    assert workers.facts == outcome.facts and workers.curve == outcome.curve

    class Stop(Exception):
        pass

    def stop(done, total, what):
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        run(phases()["dis+res"], tmp_path / "stopped", inputs, report=stop)
    resumed = run(phases()["dis+res"], tmp_path / "stopped", inputs)
    assert resumed.facts == outcome.facts and resumed.curve == outcome.curve
    assert same(load_state(folder / "last.pt")["state"], load_state(tmp_path / "stopped" / "last.pt")["state"])


def test_bfloat16_trains_every_phase_to_the_same_bits_twice(tmp_path):
    cohort = write_scans(tmp_path / "cohort", shape=(32, 32, 32))
    chain = phases(options={"precision": "bf16"})
    side = [24, 24, 24]  # 3 × 3 × 3 at the deepest, as large as the kernel
    chain["discovery"].configuration["words"]["cube"] = side
    for name in ("dis+res", "dis+res+adv"):
        chain[name].configuration["views"]["cube"] = side
    run(chain["discovery"], tmp_path / "discovery", {"cohort": cohort})
    states = []
    for folder in (tmp_path / "once", tmp_path / "again"):
        inputs = {"discovery": tmp_path / "discovery", "parent": tmp_path / "discovery"}
        for name in ("dis+res", "dis+res+adv"):
            outcome = run(chain[name], folder / name, inputs)
            assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])
            inputs["parent"] = folder / name
        states.append(load_state(folder / "dis+res+adv" / "last.pt")["state"])
    assert same(*states)


def test_bfloat16_on_a_cpu_is_refused_where_cubes_become_smaller_than_the_kernel(discovered, tmp_path):
    phase = phases(options={"precision": "bf16"})["dis+res"]
    with pytest.raises(ConfigurationError, match="bfloat16 on a CPU and a 3 x 3 x 3 convolution"):
        run(phase, tmp_path / "a", {"discovery": discovered, "parent": discovered})


def test_an_autoencoder_that_was_interrupted_goes_on(tmp_path, checkpoint_each_step):
    cohort = write_scans(tmp_path / "cohort")
    phase = phases()["discovery"]
    phase.configuration["autoencoder"]["epochs"] = 3
    whole = run(phase, tmp_path / "whole", {"cohort": cohort})

    class Stop(Exception):
        pass

    def stop(done, total, what):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        run(phase, tmp_path / "parts", {"cohort": cohort}, report=stop)
    assert (tmp_path / "parts" / "resume" / "autoencoder.pt").is_file()
    assert run(phase, tmp_path / "parts", {"cohort": cohort}).facts == whole.facts


def test_a_few_steps_learn_the_words(discovered, tmp_path):
    phase = phases()["dis+res"]
    phase.configuration["budget"]["count"] = 60
    phase.configuration["validation"]["every"] = 20
    phase.configuration["batch"] = 8
    outcome = run(phase, tmp_path, {"discovery": discovered, "parent": discovered})
    assert outcome.curve[-1]["train_restoration"] < 0.7 * outcome.curve[0]["train_restoration"]
    assert outcome.curve[-1]["train_discrimination"] < 0.8 * math.log(3), "no better than a guess among three words"


def test_cubes_of_another_shape_or_number_of_words_are_refused(discovered, tmp_path):
    phase = phases(options={"words": 4})["dis+res"]
    with pytest.raises(ConfigurationError, match="holds 3 words; expected 4"):
        run(phase, tmp_path / "a", {"discovery": discovered, "parent": discovered})
    phase = phases()["dis+res"]
    phase.configuration["views"]["cube"] = [16, 16, 16]
    with pytest.raises(ConfigurationError, match=r"cubes of \[16, 16, 8\]; expected \[16, 16, 16\]"):
        run(phase, tmp_path / "b", {"discovery": discovered, "parent": discovered})
    with pytest.raises(DataError, match="finished discovery"):
        run(phases()["dis+res"], tmp_path / "c", {"discovery": tmp_path, "parent": tmp_path})
    with pytest.raises(CheckpointError, match=r"no last\.pt"):
        run(phases()["dis+res+adv"], tmp_path / "d", {"discovery": discovered, "parent": discovered})


def published_names():
    """The names in a checkpoint of Models Genesis' 3D U-Net, as its documentation and users list them."""
    block = [f"ops.{i}.{part}" for i in (0, 1) for part in ("conv1.weight", "conv1.bias")]
    block += [
        f"ops.{i}.bn1.{part}"
        for i in (0, 1)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    names = [f"down_tr{width}.{name}" for width in (64, 128, 256, 512) for name in block]
    names += [f"up_tr{width}.{name}" for width in (256, 128, 64) for name in block]
    names += [f"up_tr{width}.up_conv.{part}" for width in (256, 128, 64) for part in ("weight", "bias")]
    return [*names, "out_tr.final_conv.weight", "out_tr.final_conv.bias"]


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("key_map", ["auto", "models_genesis"])
def test_the_released_3d_weights_fill_every_tensor_of_the_pytorch_form(prefix, key_map):
    with torch.device("meta"):
        wanted = build(NetworkSpec(name="transvw_pytorch", in_channels=1), 0).state_dict()
    found = best_match([prefix + name for name in published_names()], wanted, key_map)
    assert set(found.sources) == set(wanted) and not found.strangers
    assert found.left_over == [f"{prefix}out_tr.final_conv.{part}" for part in ("bias", "weight")]
    ours = found.sources["encoder.levels.3.1.norm.running_var"]
    assert ours == f"{prefix}down_tr512.ops.1.bn1.running_var"
    assert found.sources["decoder.steps.0.up.weight"] == f"{prefix}up_tr256.up_conv.weight"
    assert found.sources["decoder.steps.2.convs.0.conv.bias"] == f"{prefix}up_tr64.ops.0.conv1.bias"


def test_a_file_in_the_released_layout_is_read_tensor_by_tensor_to_its_place(tmp_path):
    ours = build(NetworkSpec(name="transvw_pytorch", in_channels=1), 7)
    theirs = {}
    for name, value in ours.state_dict().items():
        part, _, rest = name.partition(".")
        pieces = rest.split(".")
        number = int(pieces[1])
        if part == "encoder":
            module, rest = f"down_tr{64 << number}.ops.{pieces[2]}.", pieces[3:]
        elif pieces[2] == "up":
            module, rest = f"up_tr{256 >> number}.up_conv.", pieces[3:]
        else:
            module, rest = f"up_tr{256 >> number}.ops.{pieces[3]}.", pieces[4:]
        last = ".".join(rest).replace("conv.", "conv1.").replace("norm.", "bn1.")
        theirs["module." + module + last] = value
    torch.save({"epoch": 3, "state_dict": theirs}, tmp_path / "genesis.pt")
    network = NetworkSpec(name="transvw_pytorch", in_channels=1)
    state, facts = load(tmp_path / "genesis.pt", network, "auto", "encoder_decoder")
    assert facts["layout"] == "models_genesis"
    assert same(state, ours.state_dict())
