import json

import pytest
import safetensors.torch
import torch

from harness.errors import CheckpointError
from methods.configuration import resolve
from methods.networks import build
from methods.obtain import backbone
from methods.phases import NetworkSpec
from methods.training.checkpoints import load_encoder, save_encoder
from tests.methods.conftest import registered

METHODS = registered()
TRAINED = resolve(METHODS["dira_moco_v2"], "smoke").encoder
ENCODER_ONLY = resolve(METHODS["moco_v2"], "smoke").encoder
RANDOM = resolve(METHODS["random"], "smoke").encoder
NETWORK = NetworkSpec.model_validate(TRAINED["network"])


@pytest.fixture
def phase(tmp_path):
    network = build(NETWORK, 99)
    save_encoder(tmp_path / "encoder.safetensors", network.state_dict(), {"network": TRAINED["network"]})
    return tmp_path


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_random_is_all_from_the_init_seed():
    one, facts = backbone(RANDOM, None, 1)
    again, same = backbone(RANDOM, None, 1)
    other, different = backbone(RANDOM, None, 2)
    assert equal(one, again) and facts == same
    assert facts["encoder_sha256"] != different["encoder_sha256"]
    assert facts["decoder_sha256"] != different["decoder_sha256"]
    assert not equal(one.encoder, other.encoder)


def test_trained_parts_are_loaded_and_fresh_ones_come_from_the_init_seed(phase):
    source = build(NETWORK, 99)
    whole, _ = backbone(TRAINED, phase, 1)
    assert equal(whole, source)
    part, facts = backbone(ENCODER_ONLY, phase, 1)
    assert equal(part.encoder, source.encoder) and not equal(part.decoder, source.decoder)
    scratch, of_random = backbone(RANDOM, None, 1)
    assert equal(part.decoder, scratch.decoder)
    assert facts["decoder_sha256"] == of_random["decoder_sha256"]


def test_the_same_weights_give_the_same_bytes(tmp_path):
    state, about = build(NETWORK, 0).state_dict(), {"b": 1, "a": {"d": 2, "c": 3}, "network": {}}
    save_encoder(tmp_path / "a", state, about)
    save_encoder(tmp_path / "b", dict(reversed(list(state.items()))), dict(reversed(list(about.items()))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded, told = load_encoder(tmp_path / "a")
    assert told == about and all(torch.equal(loaded[name], state[name]) for name in state)


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif how == "noise":
        path.write_bytes(bytes(range(256)) * 40)
    elif how == "pickle":
        torch.save({"encoder.conv1.weight": torch.zeros(1)}, path)
    elif how == "foreign":
        safetensors.torch.save_file({"conv1.weight": torch.zeros(1)}, path)
    else:
        network = build(NETWORK.model_copy(update={"name": how}), 0) if how == "unet_resnet50" else None
        if network is not None:
            about = {"network": {**TRAINED["network"], "name": how}}
            save_encoder(path, network.state_dict(), about)
        else:
            state = build(NETWORK, 0).state_dict()
            if how == "reshaped":
                state["encoder.conv1.weight"] = state["encoder.conv1.weight"][:, :1]
            elif how == "not finite":
                state["encoder.conv1.weight"] = state["encoder.conv1.weight"] * float("nan")
            elif how == "lacking":
                state.pop("decoder.blocks.0.conv1.0.weight")
            metadata = {"dira_bench": json.dumps({"network": TRAINED["network"]})}
            safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, path, metadata=metadata)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "no encoder.safetensors"),
        ("empty", "damaged"),
        ("truncated", "damaged"),
        ("noise", "damaged"),
        ("pickle", "damaged"),
        ("foreign", "no description"),
        ("unet_resnet50", "holds network"),
        ("reshaped", "do not fit"),
        ("lacking", "do not fit"),
        ("not finite", "not finite"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_in_one_sentence(phase, how, says):
    damage(phase / "encoder.safetensors", how)
    with pytest.raises(CheckpointError, match=says) as raised:
        backbone(TRAINED, phase, 0)
    assert "\n" not in str(raised.value) and "expected" in str(raised.value)


def test_trained_weights_without_a_phase_are_refused():
    with pytest.raises(CheckpointError, match="run the pretraining first"):
        backbone(TRAINED, None, 0)
