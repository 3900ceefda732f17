from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.contracts import Context
from harness.errors import ConfigurationError
from harness.pixels import Pixels
from tasks.heads.images import Classifier
from tasks.inputs.images import LabelledImages
from tasks.inputs.interface import Source
from tasks.scoring.evaluation import class_probabilities
from tasks.specs import Seeds, read_transfer
from tasks.transfer.kept_weights import VARIABLE, KeptWeights
from tasks.transfer.run import run_trial
from tests.tasks.conftest import plan_of
from tests.tasks.standins import TinyBackbone, trial_spec


@pytest.mark.parametrize(("wish", "files"), [("none", 0), ("best", 1), ("all", 3)])
def test_weights_are_left_as_asked_and_change_no_number(wish, files, cohorts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, wish)
    plan = plan_of("chestxray14")
    context = Context(device="cpu", folder=tmp_path, inputs={"cohort": cohorts["chestxray14"]}, resume=tmp_path)
    outcome = run_trial(trial_spec("chestxray14", plan, fraction=0.5), context)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == files  # two evaluations in six steps
    monkeypatch.delenv(VARIABLE)
    other = tmp_path / "other"
    other.mkdir()
    again = run_trial(
        trial_spec("chestxray14", plan, fraction=0.5),
        Context(device="cpu", folder=other, inputs={"cohort": cohorts["chestxray14"]}, resume=other),
    )
    assert outcome.values == again.values and outcome.facts == again.facts
    if wish == "none":
        return
    model = Classifier(TinyBackbone(0), 14, 0.01, torch.Generator().manual_seed(0))
    model.load_state_dict(load_file(tmp_path / "weights_best.safetensors"))
    model.to(memory_format=torch.channels_last)  # as a trial has it, for equality to the bit
    pixels = Pixels(cohorts["chestxray14"])
    transfer = read_transfer(plan.transfer)
    source = Source(pixels, pixels.rows("train"), Seeds(init=0, order=0, augment=0), "cpu", 0)
    parts = LabelledImages(source, transfer, 3).evaluated(pixels.rows("test"), ten_crop=False)
    found = class_probabilities(model.eval(), parts, "cpu", precision="float32")
    assert (found == outcome.arrays["predictions"]).all()


def test_an_unknown_wish_ends_in_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "some")
    with pytest.raises(ConfigurationError, match="expected none, best, all"):
        KeptWeights(tmp_path)
