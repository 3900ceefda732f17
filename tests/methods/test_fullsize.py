import math
import resource

import pytest

from harness.spec import Status
from methods.configuration import resolve
from methods.obtain import backbone
from tests.methods.conftest import registered
from tests.methods.phantom_pixels import write_pixels
from tests.methods.pretraining import train
from tests.methods.volumes import phases, run, write_scans


@pytest.fixture(autouse=True)
def peak(capsys, request):
    """Print the most memory this process has held so far, after each test."""
    yield
    with capsys.disabled():
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"\n{request.node.name}: at most {held:.1f} GiB held so far")


@pytest.mark.fullsize
def test_two_micro_batches_make_a_step_of_the_ladder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRA_BENCH_MICRO_BATCH", "4")
    cohort = write_pixels(tmp_path / "cohort", train=8, validation=4, px=512)
    phase = resolve(registered()["dira_moco_v2"], "paper").phases[0]
    short = {"budget": {"unit": "steps", "count": 2}, "validation": {"unit": "steps", "every": 2, "images": 4}}
    outcome = train({**phase.configuration, "batch": 8, "norm_splits": 2, **short}, tmp_path / "dis", cohort)
    assert outcome.status is Status.OK and outcome.facts["images_seen"] == 16


@pytest.mark.fullsize
@pytest.mark.parametrize("base", ["moco_v2", "barlow_twins", "simsiam"])
def test_two_steps_of_every_phase_of_the_paper_run_at_full_image_and_network_size(tmp_path, base):
    cohort = write_pixels(tmp_path / "cohort", train=8, validation=4, px=512)
    plan = resolve(registered()[f"dira_{base}"], "paper")
    parent = None
    for phase in plan.phases:
        configuration = {
            **phase.configuration,
            "batch": 4,
            "norm_splits": min(2, phase.configuration["norm_splits"]),
            "budget": {"unit": "steps", "count": 2},
            "validation": {"unit": "steps", "every": 2, "images": 4},
        }
        outcome = train(configuration, tmp_path / phase.name, cohort, parent=parent, seed_name=phase.name)
        assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])
        assert outcome.facts["parameters"] == 23_508_032 + 9_012_928
        parent = tmp_path / phase.name
    _, facts = backbone(plan.encoder, parent, 0)
    assert len(facts["encoder_sha256"]) == 64


@pytest.mark.fullsize
@pytest.mark.parametrize(("network", "parameters"), [("transvw_keras", 16_320_192), ("transvw_pytorch", 19_073_600)])
def test_two_steps_of_every_3d_phase_run_at_full_cube_and_network_size(tmp_path, network, parameters):
    cohort = write_scans(tmp_path / "cohort", train=3, validation=2, shape=(96, 96, 48))
    planned = phases("paper", options={"network": network, "words": 2, "precision": "float32"})
    discovery = planned.pop("discovery")
    autoencoder = {**discovery.configuration["autoencoder"], "shape": [32, 32, 16], "batch": 2, "epochs": 1}
    rules = {"border": [8, 4], "tissue_share": 0.9, "nearest_training": 3, "nearest_validation": 1}
    discovery.configuration["autoencoder"] = autoencoder
    discovery.configuration["words"] = {**discovery.configuration["words"], **rules}
    inputs = {"discovery": tmp_path / "discovery", "parent": tmp_path / "discovery"}
    run(discovery, tmp_path / "discovery", {"cohort": cohort})
    for name, phase in planned.items():
        phase.configuration.update(
            batch=2, budget={"unit": "steps", "count": 2}, validation={"unit": "steps", "every": 2, "images": 2}
        )
        outcome = run(phase, tmp_path / name, inputs)
        assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])
        assert outcome.facts["parameters"] == parameters
        inputs["parent"] = tmp_path / name
