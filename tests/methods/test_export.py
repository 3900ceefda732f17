import hashlib
import json

import pytest
import safetensors
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from torchvision.models import resnet50
from typer.testing import CliRunner

from harness.cli import exporting
from harness.cli.application import application
from harness.cli.session import Session
from harness.errors import CheckpointError, ConfigurationError, StoreError, Unavailable, UnknownName
from harness.registry import load_parameters
from harness.spec import Status
from methods import external
from methods.export import export
from methods.export_card import ExportedMethod
from methods.export_layouts import LAYOUTS
from methods.networks import build
from methods.phases import NetworkSpec
from methods.training.checkpoints import ENCODER, save_encoder
from tests.harness import project
from tests.methods import checkpoints_in_the_wild as wild

LARGE = NetworkSpec(name="unet_resnet50", in_channels=3, zero_init_residual=False)
SMALL = LARGE.model_copy(update={"name": "unet_resnet_w16"})


def about(**fields):
    common = {
        "method": "mine", "label": "Mine", "source": "Me 2026", "dimensions": 2, "saw_labels_of": [], "profile": "paper",
        "pretrain_seed": 0, "base_seed": 2022, "phase_id": "ab" * 32, "decoder_trained": True, "checkpoint_sha256": None,
        "normalisation": "none", "budget_rule": "as_paper", "stamp": "", "cohorts": [
            {"label": "ChestX-ray14", "stamp": "", "synthetic": False, "id": "cd" * 32}],
        "phases": [{"phase": "dis", "id": "1" * 64, "images_seen": 1000, "steps": 10, "selected_step": 9},
                   {"phase": "dis+res", "id": "2" * 64, "images_seen": 2345, "steps": 20, "selected_step": 18}],
    }  # fmt: skip
    return ExportedMethod.model_validate({**common, **fields})


def left_by_a_phase(folder, network, make):
    folder.mkdir()
    model = wild.filled(make, 11)
    save_encoder(folder / ENCODER, model.state_dict(), {"format": 1, "network": network.dump(), "phase": "dis+res"})
    return folder, model


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return left_by_a_phase(tmp_path_factory.mktemp("large") / "phase", LARGE, lambda: build(LARGE, 0))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return left_by_a_phase(tmp_path_factory.mktemp("small") / "phase", SMALL, lambda: build(SMALL, 0))


def outputs(model):
    with torch.no_grad():
        features = model.encode(wild.images())
        return features[-1].mean((-2, -1)), model.decode(features)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_exported_reads_back_equal(layout, small, tmp_path):
    phase, model = small
    made = export(phase, layout, tmp_path, about())
    parts = "encoder_decoder" if "decoder" in made.parts else "encoder"
    state, facts = external.load(made.weights, SMALL, "auto", parts, made.sha256)
    assert facts["left_over"]["count"] == 0
    again = build(SMALL, 99).eval()
    again.load_state_dict(state, strict=False)
    (pooled, decoded), (expected, expected_decoded) = outputs(again), outputs(model)
    torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=1e-6)
    if parts == "encoder_decoder":
        torch.testing.assert_close(decoded, expected_decoded, rtol=1e-6, atol=1e-6)


def test_torchvision_loads_its_layout_and_gives_our_output(large, tmp_path):
    made = export(large[0], "torchvision", tmp_path, about())
    model = resnet50().eval()
    missing, unexpected = model.load_state_dict(safetensors.torch.load_file(made.weights), strict=False)
    assert sorted(missing) == ["fc.bias", "fc.weight"] and not unexpected
    torch.testing.assert_close(wild.pooled(model, wild.images()), outputs(large[1])[0], rtol=1e-6, atol=1e-6)


def test_segmentation_models_loads_its_layout_and_gives_our_output(large, tmp_path):
    made = export(large[0], "smp", tmp_path, about())
    model = smp.Unet("resnet50", encoder_weights=None, in_channels=3, classes=1).eval()
    missing, unexpected = model.load_state_dict(safetensors.torch.load_file(made.weights), strict=False)
    assert {name.partition(".")[0] for name in missing} == {"segmentation_head"} and not unexpected
    with torch.no_grad():
        decoded = model.decoder(model.encoder(wild.images()))
    torch.testing.assert_close(decoded, outputs(large[1])[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("network", ["large", "small"])
def test_monai_loads_its_layout_as_the_card_says_and_gives_our_output(network, request, tmp_path):
    pytest.importorskip("monai")
    phase, source = request.getfixturevalue(network)
    made = export(phase, "monai", tmp_path, about())
    code = made.card.read_text().split("```python\n")[1].split("```")[0].replace(made.weights.name, str(made.weights))
    names = {}
    exec(code, names)  # strict: every name of MONAI's is there
    with torch.no_grad():
        found = names["model"].eval()(wild.images()).flatten(1)
    torch.testing.assert_close(found, outputs(source)[0], rtol=1e-6, atol=1e-6)


def test_the_cards_way_of_loading_a_network_of_ours_works(small, tmp_path):
    made = export(small[0], "smp", tmp_path, about())
    code = made.card.read_text().split("```python\n")[1].split("```")[0].replace(made.weights.name, str(made.weights))
    names = {}
    exec(code, names)
    assert all(torch.equal(v, small[1].state_dict()[n]) for n, v in names["backbone"].state_dict().items())


def test_the_digest_is_that_of_the_file_and_the_same_pretraining_gives_the_same_bytes(small, tmp_path):
    one, two = (export(small[0], "smp", tmp_path / name, about()) for name in ("a", "b"))
    sha256 = hashlib.sha256(one.weights.read_bytes()).hexdigest()
    assert one.digest.read_text() == f"{sha256}  {one.weights.name}\n"
    for part in ("weights", "digest", "card"):
        assert getattr(one, part).read_bytes() == getattr(two, part).read_bytes()
    with safetensors.safe_open(one.weights, framework="pt") as opened:
        stated = json.loads(opened.metadata()["dira_bench"])
    assert stated["method"] == "mine" and stated["layout"] == "smp"


def test_an_untrained_decoder_is_not_handed_out(small, tmp_path):
    made = export(small[0], "smp", tmp_path, about(decoder_trained=False))
    assert made.parts == ("encoder",)
    assert all(name.startswith("encoder.") for name in safetensors.torch.load_file(made.weights))
    assert "The decoder is absent: this method passes on none." in made.card.read_text()


def test_the_card_says_what_the_weights_are(small, tmp_path):
    text = export(small[0], "torchvision", tmp_path, about(pretrain_seed=3)).card.read_text()
    for part in ("# Mine (`mine`, profile `paper`)", "Me 2026", "3,345 images seen", "pretraining seed 3", "ChestX-ray14",
                 "| dis+res | 2,345 | 20 | 18 |", "layout `torchvision`", "no place for it", "MIT", "patent-pending"):  # fmt: skip
        assert part in text, part
    assert "SYNTHETIC" not in text
    made_up = [{"label": "ChestX-ray14", "stamp": "SYNTHETIC: phantoms", "synthetic": True, "id": "e" * 64}]
    text = export(small[0], "smp", tmp_path, about(cohorts=made_up, stamp="SYNTHETIC: phantoms")).card.read_text()
    assert text.count("SYNTHETIC: phantoms") == 2 and "no data owner's terms attach" in text
    text = export(small[0], "smp", tmp_path, about(cohorts=[], checkpoint_sha256="f" * 64)).card.read_text()
    assert "That of the checkpoint it came from" in text and "MIT" not in text


def test_a_layout_that_does_not_exist_or_does_not_fit_is_refused(small, tmp_path):
    with pytest.raises(UnknownName, match='did you mean "monai"'):
        export(small[0], "monay", tmp_path, about())
    with pytest.raises(ConfigurationError, match="layout smp has no names for unet_resnet_w16 with 3 dimensions"):
        export(small[0], "smp", tmp_path, about(dimensions=3))
    with pytest.raises(CheckpointError, match=r"no encoder\.safetensors"):
        export(tmp_path, "smp", tmp_path, about())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write to .*give another --out"):
        export(small[0], "smp", tmp_path / "file", about())


# --------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def session(tmp_path, monkeypatch):
    root = project.copy(tmp_path / "project", (*project.METHODS, "imagenet"))
    made = Session(root, load_parameters(root, {"profile": "smoke"}))
    monkeypatch.setattr(exporting, "open_session", lambda profile: made)
    return made


def train(session, method, phases):
    """Leave what the first so many phases of a method leave, under their planned ids."""
    network = wild.filled(lambda: build(SMALL, 0), 13)
    with session.store.driver() as driver:
        for item in session.plan.phases[method, 0][:phases]:
            attempt = session.store.lease(item, driver)
            about = {"format": 1, "network": SMALL.dump(), "phase": item.spec["phase"]}
            save_encoder(attempt.folder / ENCODER, network.state_dict(), about)
            count = item.spec["configuration"]["budget"]["count"]
            facts = {"images_seen": 16 * count, "steps": count, "selected_step": count}
            record = session.store.finish(attempt, Status.OK, facts=facts)
    return network, record


def call(*words):
    return CliRunner().invoke(application, ["export", *words])


def test_the_command_exports_a_method_whose_last_phase_is_done(session, tmp_path):
    network, record = train(session, "dira_moco_v2", 3)
    done = call("dira_moco_v2", "--layout", "smp", "--out", str(tmp_path / "out"), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    weights = safetensors.torch.load_file(told["weights"])
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    text = (tmp_path / "out" / "dira_moco_v2-smoke-seed0-smp.md").read_text()
    stamp = session.plan.tasks["chestxray14"].stamp
    assert stamp.startswith("SYNTHETIC") and text.count(stamp) == 2
    for part in (
        "DiRA (MoCo-v2)",
        "DiRA §4.1",
        "192 images seen",
        "base seed 2022",
        record.id,
        told["sha256"],
        "matched",
    ):
        assert part in text, part
    again = call("dira_moco_v2", "--layout", "torchvision", "--out", str(tmp_path / "out"))
    assert again.exit_code == 0 and "SYNTHETIC" in again.output


@pytest.mark.parametrize(
    ("method", "words", "error", "says"),
    [
        (
            "dira_moco_v2",
            [],
            Unavailable,
            r"not pretrained yet .*phase dis\+res\+adv is missing.*run it first: dira-bench run",
        ),
        ("random", [], Unavailable, "drawn for each trial"),
        ("imagenet", [], Unavailable, "no ImageNet weights for resnet_w16"),
        ("moco_v2", ["--pretrain-seed", "4"], UnknownName, "no pretraining seed 4; expected one of 0"),
        ("dira_moco_v3", [], UnknownName, 'did you mean "dira_moco_v2"'),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(method, words, error, says, session, tmp_path):
    train(session, "dira_moco_v2", 2)
    done = call(method, "--layout", "smp", "--out", str(tmp_path / "out"), *words)
    assert isinstance(done.exception, error), done.output
    with pytest.raises(error, match=says):
        raise done.exception
    assert "\n" not in str(done.exception) and not (tmp_path / "out").exists()


def test_damaged_weights_in_the_store_are_not_handed_out(session, tmp_path):
    _, record = train(session, "moco_v2", 1)
    path = session.store.folder(record) / ENCODER
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    done = call("moco_v2", "--layout", "smp", "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, StoreError) and "run the pretraining again" in str(done.exception)
    assert not (tmp_path / "out").exists()
