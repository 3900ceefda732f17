"""ResNet-50 and U-Net states under the names and shapes in which they are published, with values made here."""

from __future__ import annotations

import math
from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

PX = 64


def images() -> Tensor:
    return torch.rand(2, 3, PX, PX, generator=torch.Generator().manual_seed(7))


def filled(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build a module and draw every tensor, running statistics too, from one generator; fast, in ``eval``."""
    with torch.device("meta"):
        module = make()
    module = module.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                value.fill_(17)
            elif name.endswith(("running_var",)) or (value.dim() == 1 and name.endswith("weight")):
                value.uniform_(0.7, 1.3, generator=generator)
            elif value.dim() == 1:
                value.uniform_(-0.1, 0.1, generator=generator)
            else:
                bound = math.sqrt(3 / value[0].numel())
                value.uniform_(-bound, bound, generator=generator)
    return module


def torchvision_resnet50() -> nn.Module:
    return filled(resnet50)


def smp_unet() -> nn.Module:
    return filled(lambda: smp.Unet("resnet50", encoder_weights=None, in_channels=3, classes=1), 1)


def pooled(model: nn.Module, x: Tensor) -> Tensor:
    """Torchvision's own features before its classifier, ``(B, 2048)``."""
    with torch.no_grad():
        return nn.Sequential(*list(model.children())[:-1])(x).flatten(1)


def blank(*shape: int) -> Tensor:
    """A tensor of any shape that takes one number of memory and disk."""
    return torch.zeros(()).expand(shape)


def norm(name: str, width: int, affine: bool = True) -> dict[str, Tensor]:
    state = {
        f"{name}.running_mean": blank(width),
        f"{name}.running_var": blank(width),
        f"{name}.num_batches_tracked": torch.tensor(3),
    }
    return state | ({f"{name}.weight": blank(width), f"{name}.bias": blank(width)} if affine else {})


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def bare(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}


def moco(model: nn.Module) -> dict:
    """main_moco.py's: query and key encoder with an MLP of 2048 and 128, and the queue."""
    mlp = {
        "fc.0.weight": blank(2048, 2048),
        "fc.0.bias": blank(2048),
        "fc.2.weight": blank(128, 2048),
        "fc.2.bias": blank(128),
    }
    key = {name: blank(*value.shape) for name, value in bare(model).items()}
    state = prefixed(bare(model) | mlp, "module.encoder_q.") | prefixed(key | mlp, "module.encoder_k.")
    state |= {"module.queue": blank(128, 65536), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return {
        "epoch": 200,
        "arch": "resnet50",
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
    }


def simsiam(model: nn.Module) -> dict:
    """main_simsiam.py's: a projector of three layers as ``fc``, and the predictor."""
    head = (
        {"fc.0.weight": blank(2048, 2048)}
        | norm("fc.1", 2048)
        | {"fc.3.weight": blank(2048, 2048)}
        | norm("fc.4", 2048)
    )
    head |= {"fc.6.weight": blank(2048, 2048), "fc.6.bias": blank(2048)} | norm("fc.7", 2048, affine=False)
    predictor = {"module.predictor.0.weight": blank(512, 2048)} | norm("module.predictor.1", 512)
    predictor |= {"module.predictor.3.weight": blank(2048, 512), "module.predictor.3.bias": blank(2048)}
    return {"epoch": 100, "arch": "resnet50", "state_dict": prefixed(bare(model) | head, "module.encoder.") | predictor}


def barlow_twins(model: nn.Module) -> dict:
    """main.py's training state: the backbone without ``fc``, a projector of three layers, a norm without affine."""
    projector = {"module.projector.0.weight": blank(8192, 2048)} | norm("module.projector.1", 8192)
    projector |= {"module.projector.3.weight": blank(8192, 8192)} | norm("module.projector.4", 8192)
    projector |= {"module.projector.6.weight": blank(8192, 8192)} | norm("module.bn", 8192, affine=False)
    return {"epoch": 1000, "model": prefixed(bare(model), "module.backbone.") | projector, "optimizer": {"state": {}}}


def moco_v3(model: nn.Module) -> dict:
    """main_moco.py's of MoCo v3: base and momentum encoder with a projector as ``fc``, and a predictor."""
    head = {"fc.0.weight": blank(4096, 2048)} | norm("fc.1", 4096)
    key = {name: blank(*value.shape) for name, value in bare(model).items()}
    state = prefixed(bare(model) | head, "module.base_encoder.") | prefixed(key | head, "module.momentum_encoder.")
    return {"epoch": 300, "arch": "resnet50", "state_dict": state | {"module.predictor.0.weight": blank(4096, 256)}}


def sequential(model: nn.Module) -> dict:
    """lightly's examples: ``nn.Sequential(*list(resnet.children())[:-1])`` as ``backbone``, and a projection head."""
    backbone = nn.Sequential(*list(model.children())[:-1])
    return prefixed(backbone.state_dict(), "backbone.") | {"projection_head.layers.0.weight": blank(2048, 2048)}


def old_torchvision(model: nn.Module) -> dict:
    """Files older than torch 0.4.1 have no counters."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


ENCODERS: dict[str, tuple[str, Callable[[nn.Module], dict]]] = {
    "torchvision": ("torchvision", lambda model: model.state_dict()),
    "torchvision without counters": ("torchvision", old_torchvision),
    "torchvision in DataParallel": (
        "torchvision",
        lambda model: {"state_dict": prefixed(model.state_dict(), "module.")},
    ),
    "MoCo": ("moco", moco),
    "SimSiam": ("simsiam", simsiam),
    "MoCo v3": ("moco_v3", moco_v3),
    "lightly": ("sequential", sequential),
    "Barlow Twins": ("barlow_twins", barlow_twins),
    "Barlow Twins, bare backbone": ("barlow_twins", bare),
}

DIRA_PREFIXES = ("", "module.", "backbone.", "module.backbone.", "module.encoder_q.", "module.encoder_q.backbone.")


def dira(unet: nn.Module, prefix: str) -> dict:
    state = prefixed(unet.state_dict(), prefix)
    if "encoder_q." in prefix:  # a whole MoCo state
        state |= {name.replace("encoder_q.", "encoder_k."): blank(*value.shape) for name, value in state.items()}
        state |= {"module.queue": blank(128, 65536)}
    return {"epoch": 1, "state_dict": state}
