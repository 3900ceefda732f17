"""The forms in which users save and download checkpoints: each is loaded whole, or refused with the true reason.

What each library writes is said in docs/checkpoints.md. Values are made here, names and nesting are the libraries'.
"""

import gzip
import io
import json
import re
import tarfile
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision import models

from harness.errors import CheckpointError, ConfigurationError, UnknownName
from harness.registry import load_registry
from harness.spec import MethodEntry
from methods import architectures, external
from methods.configuration import resolve
from methods.networks import build
from methods.phases import NetworkSpec
from tests.harness import project
from tests.methods import checkpoints_in_the_wild as wild

NETWORK = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=False)
LARGE = NETWORK.model_copy(update={"name": "unet_resnet50"})
ATTENTION = {"cls_token": torch.zeros(1, 1, 8), "blocks.0.attn.qkv.weight": torch.ones(24, 8)}


@pytest.fixture(scope="module")
def ours() -> nn.Module:
    return wild.filled(lambda: build(NETWORK, 0), 5)


@pytest.fixture(scope="module")
def output(ours: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return ours.encode(wild.images())[-1]


def encoder(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n.removeprefix("encoder."): v for n, v in model.state_dict().items() if n.startswith("encoder.")}


def under(prefix: str) -> Callable[[nn.Module], dict]:
    return lambda model: {"state_dict": wild.prefixed(encoder(model), prefix)}


def noisy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another model's weights of the same names: they must not be taken for the first's."""
    return {name: value * 1.5 + 0.25 if value.is_floating_point() else value for name, value in state.items()}


class Unknown:
    """Stands for any class of somebody's own; harmless."""


def half_copy(model: nn.Module) -> dict:
    return {name: value.half() for name, value in encoder(model).items()}


def momentum(one: str, other: str) -> Callable[[nn.Module], dict]:
    return lambda model: {
        "state_dict": wild.prefixed(encoder(model), one) | wild.prefixed(noisy(encoder(model)), other)
    }


# Form → what torch.save is given; loaded, and equal to the model that was saved.
LOADED: dict[str, Callable[[nn.Module], object]] = {
    "a bare state dict": encoder,
    "an ordered state dict with metadata": lambda m: OrderedDict(encoder(m)),
    "PyTorch's ImageNet example: best_acc1 as a tensor beside state_dict": lambda m: {
        "epoch": 90, "arch": "resnet", "state_dict": encoder(m), "best_acc1": torch.tensor(76.1),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "DataParallel": under("module."),
    "DistributedDataParallel around torch.compile": under("module._orig_mod."),
    "torch.compile": under("_orig_mod."),
    "torch.compile around DistributedDataParallel": under("_orig_mod.module."),
    "torch.compile around a wrapper around DataParallel": under("_orig_mod.model.module.backbone."),
    "Lightning: model. under state_dict, with loops and versions": lambda m: {
        "epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.5.0", "loops": {}, "callbacks": {},
        "state_dict": wild.prefixed(encoder(m), "model."), "hyper_parameters": {"lr": 0.1}, "optimizer_states": [],
    },
    "Lightning: net.": under("net."),
    "Lightning: backbone of a solo-learn run": under("backbone."),
    "Lightning: encoder.": under("encoder."),
    "fastai: model beside opt": lambda m: {"model": encoder(m), "opt": {"hypers": [], "state": []}},
    "Ignite or a hand-written loop: model_state_dict": lambda m: {"model_state_dict": encoder(m), "loss": 0.1},
    "timm: state_dict beside args that are plain values": lambda m: {
        "epoch": 1, "arch": "resnet", "state_dict": encoder(m), "version": 2, "metric": 0.7,
    },
    "MMPretrain: meta beside a backbone and a head": lambda m: {
        "meta": {"epoch": 1}, "state_dict": wild.prefixed(encoder(m), "backbone.") | {"head.fc.weight": torch.ones(2, 2)},
    },
    "VISSL: five mappings deep": lambda m: {
        "classy_state_dict": {"base_model": {"model": {"trunk": wild.prefixed(encoder(m), "_feature_blocks."), "heads": {}}}}
    },
    "MoCo: query and key encoder": momentum("module.encoder_q.", "module.encoder_k."),
    "MoCo v3: base and momentum encoder": momentum("module.base_encoder.", "module.momentum_encoder."),
    "BYOL: online and target encoder": momentum("online_encoder.", "target_encoder."),
    "lightly: backbone and backbone_momentum": momentum("backbone.", "backbone_momentum."),
    "SimSiam": under("module.encoder."),
    "SWA: an AveragedModel with n_averaged": lambda m: wild.prefixed(encoder(m), "module.") | {"n_averaged": torch.tensor(5)},
    "a U-Net as segmentation-models has it": lambda m: m.state_dict(),
    "encoder and decoder in mappings of their own": lambda m: {
        "encoder": encoder(m), "decoder": {"center.weight": torch.ones(2)},
    },
    "a classifier of 1000 classes": lambda m: encoder(m) | {"fc.weight": torch.ones(1000, 128), "fc.bias": torch.ones(1000)},
    "half precision": half_copy,
    "bfloat16": lambda m: {name: value.bfloat16() if value.is_floating_point() else value for name, value in encoder(m).items()},
    "double precision": lambda m: {n: v.double() if v.is_floating_point() else v for n, v in encoder(m).items()},
    "parameters instead of tensors": lambda m: {
        n: nn.Parameter(v) if v.is_floating_point() else v for n, v in encoder(m).items()
    },
    "without batch norm's counters": lambda m: {n: v for n, v in encoder(m).items() if not n.endswith("num_batches_tracked")},
    "torch's format before 1.6": encoder,
    "safetensors": encoder,
    "safetensors named .pth": encoder,
    "EMA, chosen with state": lambda m: {"model": noisy(encoder(m)), "model_ema": encoder(m)},
    "timm's EMA, chosen with state": lambda m: {"state_dict": noisy(encoder(m)), "state_dict_ema": encoder(m)},
    "a teacher, chosen with state": lambda m: {
        "student": wild.prefixed(noisy(encoder(m)), "module.backbone."), "teacher": wild.prefixed(encoder(m), "backbone."),
    },
}  # fmt: skip
CHOSEN = {
    "EMA, chosen with state": "model_ema",
    "timm's EMA, chosen with state": "state_dict_ema",
    "a teacher, chosen with state": "teacher",
}
ROUNDED = {"half precision", "bfloat16"}


def save(form: str, content: object, folder: Path) -> Path:
    path = folder / "checkpoint.pth"
    if form.startswith("safetensors"):
        path = folder / ("checkpoint.pth" if "named" in form else "checkpoint.safetensors")
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization="before 1.6" not in form)
    return path


@pytest.mark.parametrize("form", LOADED)
def test_a_form_is_loaded_with_equal_weights_and_an_equal_output(form, ours, output, tmp_path):
    path = save(form, LOADED[form](ours), tmp_path)
    state, facts = external.load(path, NETWORK, state=CHOSEN.get(form))
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if form in ROUNDED else {"rtol": 0, "atol": 0}
    for name, value in encoder(ours).items():
        if name.endswith("num_batches_tracked"):
            continue
        torch.testing.assert_close(state["encoder." + name], value, **tolerance)
    again = build(NETWORK, 1).eval()
    again.load_state_dict(state, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(
            again.encode(wild.images())[-1], output, **({"rtol": 0.1, "atol": 0.1} if form in ROUNDED else tolerance)
        )
    assert facts["matched"]["encoder"] in (60, 72) and facts["state"]


def raw(content: bytes) -> Callable[[nn.Module, Path], None]:
    return lambda _, path: path.write_bytes(content)


def saved(make: Callable[[nn.Module], object]) -> Callable[[nn.Module, Path], None]:
    return lambda model, path: torch.save(make(model), path)


def with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module, Path], None]:
    return saved(lambda m: encoder(m) | {name: change(encoder(m)[name])})


def truncated(model: nn.Module, path: Path) -> None:
    torch.save(encoder(model), path)
    path.write_bytes(path.read_bytes()[:-3000])


def short_safetensors(model: nn.Module, path: Path) -> None:
    safetensors.torch.save_file(encoder(model), path)
    path.write_bytes(path.read_bytes()[:200])


def gzipped(model: nn.Module, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(encoder(model), buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()[:10000]))


def zipped(model: nn.Module, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(encoder(model), buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run/checkpoint.pth", buffer.getvalue())


def arrays(model: nn.Module, path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **{name: value.numpy() for name, value in encoder(model).items()})


def torchscript(model: nn.Module, path: Path) -> None:
    """The members that torch.jit.save writes; it is deprecated, so the archive is made by hand."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version", "code/__torch__/model.py"):
            archive.writestr(f"model/{name}", b"3\n")


def keras(_: nn.Module, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, b"{}")


def tarred(_: nn.Module, path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("weights/model.bin"))


INDEX = {
    "metadata": {"total_size": 1},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 102\n"
BOTH = lambda m: {"model": encoder(m), "model_ema": noisy(encoder(m))}  # noqa: E731

# Form → (how the file is made, what the sentence says).
REFUSED: dict[str, tuple[Callable[[nn.Module, Path], object], str]] = {
    "model and model_ema, none chosen": (saved(BOTH), "2 sets of weights that fit: model, model_ema; expected to be told which; write state: model"),
    "state_dict and ema_state_dict, none chosen": (
        saved(lambda m: {"state_dict": encoder(m), "ema_state_dict": noisy(encoder(m))}), "state_dict, ema_state_dict",
    ),
    "student and teacher, none chosen": (
        saved(lambda m: {"student": encoder(m), "teacher": noisy(encoder(m))}), "2 sets of weights that fit: student, teacher",
    ),
    "student and teacher in one state dict": (
        saved(momentum("student.backbone.", "teacher.backbone.")),
        r'2 encoders that fit, under "student\.backbone\.", "teacher\.backbone\."; .*write key_map: \{"teacher\.backbone\.": "encoder\."\}',
    ),
    "a key encoder alone": (
        saved(under("module.encoder_k.")), r'fills 0 of 60 .*its names begin with "module\.encoder_k\."',
    ),
    "an HTML page": (raw(b"\n<!DOCTYPE html><html><head><title>Sign in</title>"), "is an HTML page, as a server sends"),
    "an XML error of a bucket": (raw(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), "is an XML document"),
    "the index of a sharded checkpoint": (raw(json.dumps(INDEX).encode()), r"index of a checkpoint in 2 files \(model-00001"),
    "a configuration in JSON": (raw(b'{"architectures": ["ResNet"]}'), "is a JSON document, such as a configuration"),
    "a Git LFS pointer": (raw(LFS), 'is a Git LFS pointer.*"git lfs pull"'),
    "a text": (raw(b"Not Found"), r'is text \("Not Found"\)'),
    "an empty file": (raw(b""), "is empty; expected a state dict"),
    "gzip": (gzipped, "is compressed with gzip.*unpack it"),
    "a zip archive with a checkpoint inside": (zipped, r"is a zip archive of 1 files \(checkpoint\.pth.*unpack it"),
    "a tar archive": (tarred, "is a tar archive.*unpack it"),
    "a truncated file": (truncated, "is damaged: an archive, as torch.save writes, that lacks its end"),
    "truncated safetensors": (short_safetensors, "is damaged: safetensors whose header ends beyond the file"),
    "a TorchScript archive": (torchscript, "is a TorchScript archive"),
    "Keras' or TensorFlow's HDF5": (raw(b"\x89HDF\r\n\x1a\n" + bytes(64)), "is an HDF5 file, as Keras and TensorFlow"),
    "a Keras archive": (keras, "is a Keras archive"),
    "a TensorFlow checkpoint's index": (raw(bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"), "index of a TensorFlow checkpoint"),
    "arrays of NumPy": (arrays, r"is an archive of NumPy arrays \(\.npz\)"),
    "one array of NumPy": (lambda _, path: np.save(path.open("wb"), np.ones(3)), "is a NumPy array"),
    "a whole model": (saved(lambda m: m), r"holds code \(methods\.networks\.backbone\.UnetBackbone\)"),
    "a state dict beside a Namespace": (
        saved(lambda m: {"model": encoder(m), "args": Namespace(lr=0.1)}), r"holds code \(argparse\.Namespace\)",
    ),
    "a state dict beside an object of one's own": (
        saved(lambda m: {"model": encoder(m), "config": Unknown()}), r"holds code \(.*Unknown\) beside tensors",
    ),
    "a list of tensors": (saved(lambda m: list(encoder(m).values())), "holds no named tensors but a list"),
    "an optimiser alone": (saved(lambda m: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}), "fills 0 of 60"),
    "one channel": (with_tensor("conv1.weight", lambda v: v[:, :1]), r"takes 1 channels and ours 3; save it with that layer made to fit"),
    "a vision transformer": (saved(lambda m: ATTENTION), r"holds a vision transformer \(ViT\).*which no key_map turns into .*expected a ResNet-50"),
    "timm's Swin": (
        saved(lambda m: {"layers.0.blocks.0.attn.relative_position_bias_table": torch.ones(9, 3)}), "holds a Swin transformer",
    ),
    "a DenseNet": (saved(lambda m: {"features.denseblock1.denselayer1.conv1.weight": torch.ones(3, 3)}), "holds a DenseNet"),
    "timm's resnet50d, a deep stem": (
        saved(lambda m: {n: v for n, v in encoder(m).items() if n != "conv1.weight"} | {"conv1.0.weight": torch.ones(8, 3, 3, 3)}),
        "holds a ResNet with a deep stem",
    ),
    "a ResNet-18": (saved(lambda m: wild.filled(models.resnet18).state_dict()), "of other shapes than unet_resnet_w16"),
    "numbers that are not finite": (with_tensor("bn1.bias", lambda v: v * float("nan")), "numbers that are not finite in bn1.bias"),
    "doubles beyond single precision": (
        with_tensor("bn1.bias", lambda v: v.double() * 0 + 1e300), r"numbers beyond torch\.float32 in bn1\.bias",
    ),
    "int8 weights": (with_tensor("conv1.weight", lambda v: (v * 100).to(torch.int8)), r"numbers of type torch\.int8 in conv1\.weight"),
    "weights of true and false": (with_tensor("conv1.weight", lambda v: v > 0), r"numbers of type torch\.bool"),
    "complex weights": (with_tensor("conv1.weight", lambda v: v.to(torch.complex64)), r"numbers of type torch\.complex64"),
    "a negative variance": (with_tensor("bn1.running_var", lambda v: -v), r"a negative variance in bn1\.running_var"),
    "zeros alone": (with_tensor("conv1.weight", torch.zeros_like), r"zeros alone in conv1\.weight"),
    "a sparse tensor": (with_tensor("conv1.weight", lambda v: v.to_sparse()), r"a sparse tensor \(torch\.sparse_coo\) in conv1"),
    "meta tensors": (with_tensor("conv1.weight", lambda v: v.to("meta")), r"shape alone, without numbers \(a meta tensor\)"),
    "quantised weights": (
        with_tensor("conv1.weight", lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)), r"quantised numbers \(torch\.qint8\)",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", REFUSED)
def test_a_form_is_refused_in_one_sentence_with_the_true_reason(form, ours, tmp_path):
    make, says = REFUSED[form]
    path = tmp_path / "checkpoint.pth"
    make(ours, path)
    with pytest.raises(CheckpointError) as raised:
        external.load(path, NETWORK)
    text = str(raised.value)
    assert re.search(says, text), text
    assert "\n" not in text and str(path) in text and "expected" in text
    assert text.count(";") <= 5 and "Traceback" not in text


def test_at_least_forty_two_forms_are_tried_and_the_page_counts_them():
    assert len(LOADED) + len(REFUSED) >= 42
    page = (project.ROOT / "docs" / "checkpoints.md").read_text()
    assert f"{len(LOADED)} forms are loaded and {len(REFUSED)} are refused" in page


def test_a_state_that_the_file_does_not_hold_is_named_with_near_names(ours, tmp_path):
    torch.save(BOTH(ours), tmp_path / "c")
    with pytest.raises(UnknownName, match='no state "model_em" in c; did you mean "model_ema"'):
        external.load(tmp_path / "c", NETWORK, state="model_em")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (models.vit_b_16, "a vision transformer (ViT)"),
        (models.swin_t, "a Swin transformer"),
        (models.densenet121, "a DenseNet"),
        (models.convnext_tiny, "a ConvNeXt"),
        (models.mobilenet_v2, "a MobileNetV2"),
        (models.efficientnet_b0, "an EfficientNet or a MobileNetV3"),
        (models.vgg11, "a VGG or an AlexNet"),
        (models.googlenet, "an Inception network"),
        (models.inception_v3, "an Inception network"),
        (models.resnet18, "a ResNet-18"),
        (models.resnet34, "a ResNet-34"),
        (models.resnet50, "a ResNet-50 or a network of its form"),
        (models.resnet101, "a ResNet-101"),
        (models.resnet152, "a ResNet-152"),
    ],
)
def test_torchvisions_architectures_are_told_by_their_names(make, what):
    with torch.device("meta"):
        names = make(weights=None, **({"init_weights": False} if "ception" in what else {})).state_dict()
    assert architectures.architecture(names) == what


def test_what_a_vision_transformer_is_refused_with_names_what_can_enter(tmp_path):
    with torch.device("meta"):
        names = models.vit_b_16().state_dict()
    torch.save({name: torch.ones(()).expand(value.shape) for name, value in names.items()}, tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"no key_map turns into unet_resnet50; expected a ResNet-50 .*3D"):
        external.load(tmp_path / "c", LARGE)


# ------------------------------------------------------------------------------------------------- the registry's side


def entry(**fields) -> MethodEntry:
    common = {"name": "mine", "label": "Mine", "dimensions": 2, "recipe": "weights", "version": 1, "source": "test"}
    return MethodEntry(**{**common, **fields})


def test_an_entry_may_say_which_state_and_that_is_identity(tmp_path):
    (tmp_path / "w").write_bytes(b"x")
    plain, chosen = (
        resolve(entry(weights=str(tmp_path / "w"), **more), "smoke") for more in ({}, {"state": "model_ema"})
    )
    assert chosen.phases[0].configuration["state"] == "model_ema"
    assert "state" not in plain.phases[0].configuration, "an entry without it keeps its id"


def test_a_network_that_nobody_builds_is_refused_with_what_can_enter():
    with pytest.raises(ConfigurationError, match=r'no network "vit_base".*What can enter: a ResNet-50'):
        resolve(entry(weights="x", network="vit_base"), "smoke")


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("DIRA_BENCH_WEIGHTS_IMAGNET", 'no method "IMAGNET" in the environment variable DIRA_BENCH_WEIGHTS_IMAGNET; did you mean "IMAGENET"'),
        ("DIRA_BENCH_DATA_CHESTXRAY", 'no task "CHESTXRAY" in the environment variable DIRA_BENCH_DATA_CHESTXRAY; did you mean "CHESTXRAY14"'),
        ("DIRA_BENCH_WEIGHTS_RANDOM", "DIRA_BENCH_WEIGHTS_RANDOM names a file of weights, but that method reads none"),
    ],
)  # fmt: skip
def test_a_variable_that_no_entry_reads_is_named_with_near_names(variable, says, monkeypatch):
    monkeypatch.setenv(variable, "/somewhere")
    with pytest.raises(ConfigurationError) as raised:
        load_registry()
    assert says in str(raised.value)
    monkeypatch.setenv(variable, "")
    load_registry()


def test_the_variables_that_entries_read_are_let_through(monkeypatch):
    for name in ("WEIGHTS", "DATA", "WEIGHTS_IMAGENET", "DATA_CHESTXRAY14"):
        monkeypatch.setenv(f"DIRA_BENCH_{name}", "/somewhere")
    load_registry()
