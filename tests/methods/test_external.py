import os
import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision.models
from torchvision.models import resnet18, resnet101

from harness.contracts import Context
from harness.errors import CheckpointError, ConfigurationError, UnknownName
from harness.identity import digest, file_sha256
from harness.registry import load_registry
from harness.spec import MethodEntry
from methods import external
from methods.configuration import resolve
from methods.key_layouts import LAYOUTS, best_match
from methods.networks import build
from methods.obtain import backbone
from methods.phases import NetworkSpec
from methods.weight_files import PUBLISHED, hub_cache
from tests.harness import project
from tests.methods import checkpoints_in_the_wild as wild

LARGE = NetworkSpec(name="unet_resnet50", in_channels=3, zero_init_residual=False)
SMALL = LARGE.model_copy(update={"name": "unet_resnet_w16"})


@pytest.fixture(scope="module")
def classifier():
    model = wild.torchvision_resnet50()
    return model, wild.pooled(model, wild.images())


@pytest.fixture(scope="module")
def unet():
    model = wild.smp_unet()
    with torch.no_grad():
        features = model.encoder(wild.images())
        return model, features[-1].mean((-2, -1)), model.decoder(features)


@pytest.fixture(scope="module")
def ours():
    return build(LARGE, 3).eval()


@pytest.fixture(scope="module")
def small():
    return wild.filled(lambda: build(SMALL, 0), 5)


def encoder_of(network):
    return {n.removeprefix("encoder."): v for n, v in network.state_dict().items() if n.startswith("encoder.")}


def tensors_of(whole):
    return next((whole[key] for key in ("state_dict", "model") if key in whole), whole)


@pytest.mark.parametrize("published", wild.ENCODERS)
def test_an_encoder_under_published_names_gives_the_sources_output(published, classifier, ours, tmp_path):
    layout, make = wild.ENCODERS[published]
    model, expected = classifier
    whole = make(model)
    torch.save(whole, tmp_path / "checkpoint.pth")
    state, facts = external.load(tmp_path / "checkpoint.pth", LARGE, layout)
    ours.load_state_dict(state, strict=False)
    with torch.no_grad():
        found = ours.encode(wild.images())[-1].mean((-2, -1))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    counters = 53 if "without counters" in published else 0
    assert set(state) == {n for n in ours.state_dict() if n.startswith("encoder.")}
    assert facts["layout"] == layout and facts["matched"] == {"encoder": 318 - counters, "decoder": 0}
    assert facts["missing"]["count"] == counters
    assert facts["left_over"]["count"] == len(tensors_of(whole)) - (318 - counters)


@pytest.mark.parametrize("published", wild.ENCODERS)
def test_auto_takes_the_same_tensors_as_the_layouts_name(published, classifier, ours):
    layout, make = wild.ENCODERS[published]
    names = tensors_of(make(classifier[0]))
    found = best_match(names, ours.state_dict(), "auto")
    assert found.sources == best_match(names, ours.state_dict(), layout).sources
    assert found.filled("encoder") >= 265 and not found.strangers


@pytest.mark.parametrize("key_map", ["dira", "auto"])
@pytest.mark.parametrize("prefix", wild.DIRA_PREFIXES)
def test_a_unet_under_the_authors_prefixes_is_taken_whole(prefix, key_map, small, tmp_path):
    torch.save(wild.dira(small, prefix), tmp_path / "checkpoint.pth")
    state, facts = external.load(tmp_path / "checkpoint.pth", SMALL, key_map, "encoder_decoder")
    assert facts["matched"] == {"encoder": 72, "decoder": 60}
    assert state.keys() == small.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in small.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "module.encoder_q.backbone."])
def test_a_unet_of_full_size_under_the_authors_prefixes_gives_the_sources_output(prefix, unet, ours, tmp_path):
    model, pooled, decoded = unet
    torch.save(wild.dira(model, prefix), tmp_path / "checkpoint.pth")
    state, facts = external.load(tmp_path / "checkpoint.pth", LARGE, "dira", "encoder_decoder")
    assert facts["matched"] == {"encoder": 318, "decoder": 60}
    ours.load_state_dict(state)
    with torch.no_grad():
        features = ours.encode(wild.images())
        torch.testing.assert_close(features[-1].mean((-2, -1)), pooled, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.decode(features), decoded, rtol=1e-5, atol=1e-5)


def test_a_segmentation_models_unet_is_read_from_safetensors_too(unet, tmp_path):
    safetensors.torch.save_model(unet[0], tmp_path / "unet.bin")  # told by content, not by name
    state, facts = external.load(tmp_path / "unet.bin", LARGE, "smp", "encoder_decoder")
    assert facts["left_over"] == {"count": 2, "first": ["segmentation_head.0.bias", "segmentation_head.0.weight"]}
    assert all(torch.equal(state[name], unet[0].state_dict()[name]) for name in state)


def test_names_of_ones_own_are_mapped_by_prefix_the_longest_first(small, tmp_path):
    stem, rest = {}, {}
    for name, value in encoder_of(small).items():
        (stem if name.startswith(("conv1.", "bn1.")) else rest)[name] = value
    torch.save(
        wild.prefixed(stem, "net.stem.") | wild.prefixed(rest, "net.") | {"net.head.weight": torch.ones(2)},
        tmp_path / "c",
    )
    state, facts = external.load(tmp_path / "c", SMALL, {"net.": "encoder.", "net.stem.": "encoder."})
    assert all(torch.equal(state["encoder." + n], v) for n, v in encoder_of(small).items())
    assert facts["layout"] == "explicit" and facts["left_over"] == {"count": 1, "first": ["net.head.weight"]}


class Code:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def spoil(folder, how, small):
    path = folder / "checkpoint.pth"
    state = encoder_of(small)
    torch.save(state, path)
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-2000])
    elif how == "truncated safetensors":
        safetensors.torch.save_file(state, path)
        path.write_bytes(path.read_bytes()[:-2000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(bytes(range(256)) * 30)
    elif how == "code":
        torch.save({"state_dict": state, "extra": Code(folder / "ran")}, path)
    elif how == "bare pickle":
        path.write_bytes(pickle.dumps(Code(folder / "ran"), protocol=2))
    elif how == "whole model":
        torch.save(small, path)
    elif how == "no tensors":
        torch.save({"epoch": 3}, path)
    elif how == "smaller network":
        torch.save(wild.filled(resnet18).state_dict(), path)
    elif how == "head alone":
        torch.save({n: v for n, v in state.items() if not n.startswith("layer4")}, path)
    elif how == "one channel":
        torch.save(state | {"conv1.weight": state["conv1.weight"][:, :1]}, path)
    elif how == "a layer too many":
        torch.save(state | {"layer4.1.conv1.weight": torch.ones(3)}, path)
    elif how == "not finite":
        torch.save(state | {"bn1.bias": state["bn1.bias"] * float("nan")}, path)
    return path


REFUSALS = {
    "missing": "no file .*expected a checkpoint; correct the path",
    "truncated": "is damaged: an archive, as torch.save writes, that lacks its end; expected .*fetch it again",
    "truncated safetensors": "damaged .*expected whole safetensors; fetch it again",
    "empty": "is empty; expected a state dict .*; fetch it again",
    "noise": "is no checkpoint or holds code.*expected weights alone",
    "code": r"holds code \((posix|nt)\.mkdir\).*expected weights alone; ask its authors for safetensors",
    "bare pickle": r"holds code \((posix|nt)\.mkdir\).*expected weights alone",
    "whole model": r"holds code \(methods\.networks\.backbone\.UnetBackbone\).*expected weights alone",
    "no tensors": "holds no named tensors but the keys epoch; expected a state dict.*save model.state_dict",
    "smaller network": "of other shapes than unet_resnet_w16; expected .*give a checkpoint of that network",
    "head alone": "fills 45 of 60 encoder tensors of unet_resnet_w16 .*expected all of them; give",
    "one channel": r"conv1.weight as \(16, 1, 7, 7\).*expected \(16, 3, 7, 7\)",
    "a layer too many": "layer4.1.conv1.weight and 1 tensors .*of another architecture .*; expected that network",
    "not finite": "not finite in bn1.bias; expected trained weights",
}


@pytest.mark.parametrize("how", REFUSALS)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_checkpoint_that_cannot_be_used_is_refused_in_one_sentence(how, small, tmp_path):
    path = spoil(tmp_path, how, small)
    with pytest.raises(CheckpointError) as raised:
        external.load(path, SMALL)
    text = str(raised.value)
    assert re.search(REFUSALS[how], text), text
    assert "\n" not in text and str(path) in text and "expected" in text
    assert not (tmp_path / "ran").exists(), "code out of the file was run"


def test_a_wrong_digest_is_refused_before_anything_is_read(small, tmp_path):
    path = spoil(tmp_path, "code", small)
    with pytest.raises(CheckpointError, match=r"has SHA-256 .*…; expected 000000000000…; fetch it again"):
        external.load(path, SMALL, sha256="0" * 64)
    whole = spoil(tmp_path, "nothing", small)
    external.load(whole, SMALL, sha256=file_sha256(whole))


def test_a_deeper_network_that_holds_every_wanted_name_is_refused(tmp_path):
    torch.save({n: v.half() for n, v in wild.filled(resnet101).state_dict().items()}, tmp_path / "r101.pth")
    with pytest.raises(CheckpointError, match=r"layer3\.10\.bn1\.bias and 306 tensors .*of another architecture"):
        external.load(tmp_path / "r101.pth", LARGE)


def test_a_decoder_that_is_asked_for_must_be_whole(small, tmp_path):
    state = {n: v for n, v in small.state_dict().items() if not n.startswith("decoder.blocks.4.")}
    torch.save(state, tmp_path / "c")
    external.load(tmp_path / "c", SMALL, "smp")
    with pytest.raises(CheckpointError, match="fills 40 of 50 decoder tensors"):
        external.load(tmp_path / "c", SMALL, "smp", "encoder_decoder")


def test_a_key_map_that_leads_nowhere_or_twice_to_one_place_is_refused(small, tmp_path):
    torch.save(wild.prefixed(encoder_of(small), "a.") | wild.prefixed(encoder_of(small), "b."), tmp_path / "c")
    with pytest.raises(UnknownName, match='did you mean "torchvision"'):
        external.load(tmp_path / "c", SMALL, "torchvison")
    with pytest.raises(CheckpointError, match="no replacement that begins with encoder"):
        external.load(tmp_path / "c", SMALL, {"a.": ""})
    with pytest.raises(CheckpointError, match="to one tensor"):
        external.load(tmp_path / "c", SMALL, {"a.": "encoder.", "b.": "encoder."})
    with pytest.raises(CheckpointError, match='holds 2 encoders that fit, under "a.", "b."; expected to be told which'):
        external.load(tmp_path / "c", SMALL)


def test_every_layout_is_tried_here():
    in_3d = {"models_genesis"}  # tests/methods/test_volume_pretext.py
    assert {layout for layout, _ in wild.ENCODERS.values()} | {"smp", "dira"} | in_3d == set(LAYOUTS)


# ------------------------------------------------------------------------------------------------- the registry's side


def entry(**fields):
    common = {"name": "mine", "label": "Mine", "dimensions": 2, "recipe": "weights", "version": 1, "source": "test"}
    return MethodEntry(**{**common, **fields})


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No test sees this machine's own weights."""
    for name in [name for name in os.environ if name.startswith("DIRA_BENCH_WEIGHTS")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


IMAGENET = load_registry().methods["imagenet"]


def test_the_names_of_torchvisions_weights_are_torchvisions():
    for name, known in PUBLISHED.items():
        url = torchvision.models.get_weight(name).url
        assert url.rpartition("/")[2] == known.file and known.sha256_starts in known.file


def test_torchs_hub_cache_is_where_torch_says(monkeypatch, tmp_path):
    assert hub_cache() == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert hub_cache() == Path(torch.hub.get_dir()) / "checkpoints"


@pytest.mark.parametrize("profile", ["smoke", "miniature"])
def test_imagenet_has_no_weights_for_the_small_network_even_if_a_file_is_there(profile, monkeypatch, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    monkeypatch.setenv("DIRA_BENCH_WEIGHTS_IMAGENET", str(tmp_path / "w.pth"))
    assert resolve(IMAGENET, profile).unavailable == "no ImageNet weights for resnet_w16"


@pytest.mark.parametrize("profile", ["paper", "paper_matched", "code"])
def test_missing_imagenet_weights_say_how_to_supply_them(profile):
    reason = resolve(IMAGENET, profile).unavailable
    assert reason.startswith("weights missing: no resnet50-0676ba61.pth in torch's hub cache")
    for way in ("DIRA_BENCH_WEIGHTS ", "DIRA_BENCH_WEIGHTS_IMAGENET", "options: {path: …, sha256: …}"):
        assert way in reason
    assert "/" not in reason, "a reason is committed: it names no place of this machine"


def test_a_file_in_the_cache_that_is_not_the_published_one_is_refused(tmp_path):
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "resnet50-0676ba61.pth").write_bytes(b"something else")
    reason = resolve(IMAGENET, "paper").unavailable
    assert re.fullmatch(
        r"wrong weights: resnet50-0676ba61.pth has SHA-256 \w{12}…; expected 0676ba61 as its name .*", reason
    )


@pytest.mark.parametrize("how", ["cache", "folder", "variable", "options"])
def test_weights_are_found_wherever_they_were_put_and_the_place_is_not_identity(how, monkeypatch, tmp_path):
    known = PUBLISHED["ResNet50_Weights.IMAGENET1K_V1"]
    places = {"cache": tmp_path / "torch" / "hub" / "checkpoints", "folder": tmp_path / "f"}
    folder = places.get(how, tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (known.file if how in places else "elsewhere.pth")
    path.write_bytes(b"the bytes")
    sha256 = file_sha256(path)
    options = {"sha256": sha256}  # promised by the entry, since these are not the published bytes
    if how == "folder":
        monkeypatch.setenv("DIRA_BENCH_WEIGHTS", str(folder))
    elif how == "variable":
        monkeypatch.setenv("DIRA_BENCH_WEIGHTS_IMAGENET", str(path))
    elif how == "options":
        options["path"] = str(path)
    plan = resolve(IMAGENET.model_copy(update={"options": options}), "paper")
    assert plan.unavailable is None and plan.encoder["checkpoint_sha256"] == sha256
    assert str(tmp_path) not in plan.model_dump_json()
    wrong = resolve(IMAGENET.model_copy(update={"options": {**options, "sha256": "1" * 64}}), "paper")
    assert "expected 111111111111… as the entry says" in wrong.unavailable


def test_mistakes_in_an_entry_are_all_named():
    with pytest.raises(ConfigurationError) as raised:
        resolve(
            entry(
                weights="torchvision:ResNet50_Weights.IMAGENET1K_V3", sha256="12", key_map="moko", options={"pth": "x"}
            ),
            "smoke",
        )
    for part in ("ResNet50_Weights.IMAGENET1K_V1", "64 hexadecimal digits", "options.pth: unknown key"):
        assert part in str(raised.value)
    with pytest.raises(ConfigurationError, match='did you mean "moco"'):
        resolve(entry(weights="x", key_map="moko"), "smoke")


def test_weights_of_another_network_are_unavailable_before_anything_runs():
    reason = resolve(entry(weights="x", network="unet_resnet50"), "smoke").unavailable
    assert reason == "no weights of Mine for resnet_w16: its entry says that the file holds resnet50"


def test_a_checkpoint_by_path_goes_from_the_entry_to_the_backbone_of_a_trial(small, tmp_path, monkeypatch):
    first, second = tmp_path / "mine.pth", tmp_path / "moved.pth"
    torch.save({"state_dict": wild.prefixed(small.state_dict(), "module.")}, first)
    root = project.copy(tmp_path / "project")
    registry = root / "methods" / "registry.yaml"
    before = registry.read_text()

    def planned(path):
        body = f"label: Mine, dimensions: 2, recipe: weights, weights: {path}, parts: encoder_decoder, version: 1, source: t"
        registry.write_text(before.rstrip("\n") + f"\n  mine: {{{body}}}\n")
        return project.plan(root, profile="smoke")

    plan = planned(first)
    first.rename(second)
    assert planned(second).phases["mine", 0] == plan.phases["mine", 0], "a file that moved is another method"
    assert digest(planned(second).methods["mine"].encoder) == digest(plan.methods["mine"].encoder)

    monkeypatch.setattr(external, "load_registry", lambda: load_registry(root, points=lambda group: []))
    (item,) = plan.phases["mine", 0]
    folder = tmp_path / "attempt"
    folder.mkdir()
    context = Context(device="cpu", folder=folder, inputs={}, resume=tmp_path)
    outcome = external.import_checkpoint(item.spec, context)
    assert outcome.facts["layout"] in ("smp", "dira") and outcome.facts["matched"] == {"encoder": 72, "decoder": 60}
    assert outcome.facts["weights_sha256"] == file_sha256(folder / "encoder.safetensors")
    built, _ = backbone(plan.methods["mine"].encoder, folder, 1)
    assert all(torch.equal(a, b) for a, b in zip(built.state_dict().values(), small.state_dict().values(), strict=True))

    second.write_bytes(second.read_bytes() + b" ")
    assert planned(second).phases["mine", 0] != plan.phases["mine", 0], "other bytes, the same method"
    with pytest.raises(CheckpointError, match="no registered method names a file with SHA-256"):
        external.import_checkpoint(item.spec, context)
