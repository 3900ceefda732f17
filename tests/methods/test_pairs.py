import numpy as np
import pandas as pd
import pytest
import torch

from harness.errors import ConfigurationError, DataError
from harness.spec import MethodEntry, Status
from methods import views as opencv
from methods import views_on_device as device
from methods.configuration import resolve
from methods.phases import ImageViews
from methods.training.pairs import Pairs
from tests.methods.phantom_pixels import write_pixels
from tests.methods.pretraining import configurations, train

SMALL = ImageViews(image_px=32, distortion=False, outer_cutout=True, target="unflip")
CLASSES = np.array(["a", "a", "b", "a", "", "b", "c", ""])


def test_without_classes_every_image_is_its_own_partner():
    rows = np.array([3, 1, 2])
    assert Pairs(np.arange(8)).of(rows, 5, 0) is rows


def test_a_partner_is_another_image_of_the_class_and_of_the_split():
    pairs = Pairs(np.array([0, 1, 2, 3, 4, 5, 6]), CLASSES)
    for epoch in range(50):
        found = dict(zip(range(7), pairs.of(np.arange(7), 5, epoch).tolist(), strict=True))
        assert found[0] in (1, 3) and found[3] in (0, 1) and found[2] == 5
        assert found[4] == 4 and found[6] == 6  # no class, and alone in it
    assert all(Pairs(np.array([0, 1, 4]), CLASSES).of(np.array([0]), 5, epoch)[0] == 1 for epoch in range(20))


def test_partners_are_uniform_and_depend_on_seed_epoch_and_row_alone():
    classes = np.array(["x"] * 5)
    pairs = Pairs(np.arange(5), classes)
    drawn = np.array([pairs.of(np.array([2]), 7, epoch)[0] for epoch in range(2000)])
    shares = [np.mean(drawn == row) for row in range(5)]
    assert shares[2] == 0 and np.allclose([shares[row] for row in (0, 1, 3, 4)], 0.25, atol=0.04)
    assert np.array_equal(pairs.of(np.array([0, 1, 2]), 7, 3)[[2, 0]], pairs.of(np.array([2, 0]), 7, 3))


@pytest.fixture
def clustered(tmp_path):
    folder = write_pixels(tmp_path / "clustered")
    cases = pd.read_csv(folder / "cases.csv")
    cases["cluster"] = cases["row"] % 3
    cases.to_csv(folder / "cases.csv", index=False)
    return folder


@pytest.mark.parametrize("path", ["opencv", "device"])
def test_only_the_key_shows_the_partner(clustered, path):
    images = np.load(clustered / "pixels.npy")
    rows, partners = np.arange(6), np.arange(6) + 6

    def made(which, others):
        if path == "opencv":
            return opencv.make_views(images, which, 1, 0, SMALL, others)
        others = None if others is None else torch.from_numpy(images[others])
        return device.make_views_on_device(torch.from_numpy(images[which]), rows, 1, 0, SMALL, others)

    paired, plain = made(rows, partners), made(rows, None)
    assert np.array_equal(paired[0], plain[0]) and np.array_equal(paired[2], plain[2])
    assert not np.array_equal(paired[1], plain[1])
    if path == "device":  # the same draw, of the other images
        assert np.array_equal(paired[1], made(partners, None)[1])


def test_a_phase_trains_on_pairs_of_a_cluster_and_gets_other_numbers(clustered, tmp_path):
    options = {"pairs": "same_class"}
    paired = train(configurations(3, options=options)["dis"], tmp_path / "a", clustered)
    plain = train(configurations(3)["dis"], tmp_path / "b", clustered)
    two = train(configurations(3, options=options)["dis"], tmp_path / "c", clustered, workers=2)
    assert paired.status is Status.OK
    assert paired.facts["weights_sha256"] != plain.facts["weights_sha256"]
    assert paired.facts == two.facts, "the number of workers changed a pair"


def test_a_cohort_without_the_column_is_refused_with_a_sentence(cohort, tmp_path):
    with pytest.raises(DataError, match='expected "word"'):
        train(configurations(2, options={"pairs": "same_class", "pair_class": "word"})["dis"], tmp_path / "x", cohort)


def test_pairing_by_a_label_needs_an_entry_that_owns_up_to_it():
    fields = {
        "name": "m",
        "label": "M",
        "dimensions": 2,
        "recipe": "pretext",
        "version": 1,
        "source": "test",
        "discrimination": "simsiam",
        "options": {"pairs": "same_class", "pair_class": "Effusion"},
    }
    with pytest.raises(ConfigurationError, match=r"saw_labels_of: \[chestxray14\]"):
        resolve(MethodEntry(**fields), "smoke")
    phases = resolve(MethodEntry(**fields, saw_labels_of=("chestxray14",)), "smoke").phases
    assert phases[0].configuration["views"]["pair_class"] == "Effusion"
