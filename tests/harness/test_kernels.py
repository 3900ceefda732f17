"""What a GPU may compute with is declared, settled and recorded; on a CPU nothing depends on it."""

import sys

import pytest
import torch

from harness import kernels
from harness.environment import arithmetic
from harness.registry import load_registry
from harness.spec import MethodEntry
from methods.configuration import resolve
from tasks.specs import read_transfer

SWITCHES = (
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
)


@pytest.fixture(autouse=True)
def switches_as_before():
    before = [getattr(holder, name) for holder, name in SWITCHES]
    yield
    for (holder, name), value in zip(SWITCHES, before, strict=True):
        setattr(holder, name, value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, (False, False, False, True)),
        ("reproducible", (False, False, False, True)),
        ("fastest", (False, True, True, False)),
    ],
)
def test_a_declaration_settles_every_switch_and_products_never_take_tf32(said, expected):
    for holder, name in SWITCHES:
        setattr(holder, name, True)
    kernels.settle(said)
    assert tuple(getattr(holder, name) for holder, name in SWITCHES) == expected


def test_a_record_says_what_is_in_force_where_a_gpu_is_used_and_nothing_else(monkeypatch):
    assert kernels.in_force() == "" and "gpu" not in arithmetic()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    kernels.settle("fastest")
    assert arithmetic()["gpu"] == (
        "TF32 products off, TF32 convolutions on, timed kernels on, deterministic kernels off"
    )
    monkeypatch.delitem(sys.modules, "torch")
    assert kernels.in_force() == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"dimensions": 2, "recipe": "pretext", "discrimination": "moco_v2"},
        {"dimensions": 3, "recipe": "volumes", "visual_words": 1, "restoration": 100},
    ],
)
def test_a_phase_is_reproducible_by_silence_and_fastest_by_word(fields):
    common = {"name": "m", "label": "M", "version": 1, "source": "test"}
    usual, fast = (
        resolve(MethodEntry(**common, **fields, options=options), "paper").phases[-1].configuration
        for options in ({}, {"kernels": "fastest"})
    )
    assert "kernels" not in usual and fast == {**usual, "kernels": "fastest"}


def test_a_trial_says_nothing_in_its_id_unless_the_transfer_does():
    transfer = load_registry().resolve_task("chestxray14", "smoke").transfer
    assert "kernels" not in transfer and "kernels" not in read_transfer(transfer).dump()
    assert read_transfer({**transfer, "kernels": "fastest"}).dump()["kernels"] == "fastest"
