"""Which works several processes can divide among them, and how a process joins the others.

``dira-bench run --engine together`` starts them (``harness.executors.together``); ``methods.training.processes`` is
what they exchange. Whatever else a method needs (a cohort, a supervised phase, words and volumes in 3D) cannot be
divided.
"""

from __future__ import annotations

DIVIDED = frozenset({"methods.pretext:run_phase"})


def join(work: str, device_class: str, threads: int) -> bool:
    """Join the group that ``torchrun`` described in the environment, if the work can be divided.

    Args:
        work: Dotted path of the work.
        device_class: ``cuda`` or ``cpu``.
        threads: Threads of this process.

    Returns:
        Whether it can; otherwise one process does it alone.
    """
    if work not in DIVIDED:
        return False
    import torch  # whose import takes seconds

    torch.set_num_threads(threads)
    torch.distributed.init_process_group("nccl" if device_class == "cuda" else "gloo")
    return True
