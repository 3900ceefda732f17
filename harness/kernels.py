"""Which kernels a GPU may compute with, as a phase or a transfer declares it. No torch is imported here.

``reproducible``, the default of every profile: float32 is float32 (no TF32), cuDNN takes its usual kernel instead of
timing several, and takes one that gives the same bits each time. ``fastest``: convolutions may use TF32, cuDNN times
its kernels and takes the soonest. Products of matrices stay exact under both: views on a GPU are made of them
(``methods.views_on_device``). On a CPU neither changes anything.

A phase that says nothing is reproducible; one that says ``fastest`` says so in its id, for its numbers differ.
"""

from __future__ import annotations

import sys
from typing import Literal

Kernels = Literal["reproducible", "fastest"]


def settle(kernels: Kernels | None) -> None:
    """Let torch, which the caller has imported, compute as declared from now on, in this process."""
    torch = sys.modules["torch"]
    fast = kernels == "fastest"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = fast
    torch.backends.cudnn.deterministic = not fast


def in_force() -> str:
    """Return what is in force on a GPU, for a record; empty where this process uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    cudnn = torch.backends.cudnn
    said = {
        "TF32 products": torch.backends.cuda.matmul.allow_tf32,
        "TF32 convolutions": cudnn.allow_tf32,
        "timed kernels": cudnn.benchmark,
        "deterministic kernels": cudnn.deterministic,
    }
    return ", ".join(f"{name} {'on' if on else 'off'}" for name, on in said.items())
