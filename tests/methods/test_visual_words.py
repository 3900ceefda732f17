import re
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import DataError
from methods.phases import NetworkSpec, WordRules
from methods.volumes.autoencoder import Autoencoder, shrink
from methods.volumes.words import Box, boxes, cut, find_words, from_hounsfield, nearest, tissue, unit
from tests.methods.volumes import phases, run, write_scans

RULES = WordRules(
    words=5,
    cube=(16, 16, 8),
    border=(4, 2),
    apart=3,
    tissue_hu=-150,
    tissue_share=0.15,
    tries=50,
    nearest_training=4,
    nearest_validation=2,
    more_resolutions=2,
)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def lungs(scans=12, shape=(40, 40, 24)):
    """Scans that are air for x < 28 and tissue beyond."""
    whole = np.full((scans, *shape), 10, np.uint8)
    whole[:, 28:] = 130
    return whole


def found(scans=None, seed=0, rules=RULES):
    scans = lungs() if scans is None else scans
    features = generator(1).random((len(scans), 6)).astype(np.float32)
    half = np.arange(len(scans) - 4)
    return features, find_words(scans, features, half, half[-1] + 1 + np.arange(4), rules, seed)


def test_words_keep_their_distance_from_borders_and_from_each_other_and_hold_little_tissue():
    scans = lungs()
    _, words = found(scans)
    assert len(words) == 5
    for number, word in enumerate(words):
        x, y, z = word.corner
        assert 4 <= x <= 40 - 4 - 16 and 4 <= y <= 40 - 4 - 16 and 2 <= z <= 24 - 2 - 8 - 2
        cube = scans[word.reference][x : x + 16, y : y + 16, z : z + 8]
        assert (cube >= 127.5 * 0.85).mean() <= 0.15
        for other in words[:number]:
            assert np.linalg.norm(np.subtract(word.corner, other.corner)) >= 3
    assert len({word.corner for word in words}) == 5
    assert len({word.reference for word in words}) == 5, "no scan is taken twice while others are left"


def test_the_tissue_rule_is_the_mean_over_voxels_of_how_near_below_tissue_lies():
    window = generator(2).random((5, 6, 9)).astype(np.float32)
    threshold = from_hounsfield(-150)
    assert np.isclose(threshold, 0.425)
    depth = tissue(window, threshold)
    for x, y, z in np.ndindex(5, 6, 7):
        column = window[x, y, z : z + 3] >= threshold
        expected = 0.0 if not column.any() else 1 - np.argmax(column) / 2
        assert depth[x, y, z] == expected
    assert depth.shape == (5, 6, 7)


def test_the_nearest_scans_are_those_of_least_distance_the_reference_first():
    features, words = found()
    for word in words:
        distances = [float(np.sqrt(((features[i] - features[word.reference]) ** 2).sum())) for i in range(8)]
        assert list(word.training) == sorted(range(8), key=distances.__getitem__)[:4]
        assert word.training[0] == word.reference
        assert set(word.validation) <= set(range(8, 12)) and len(word.validation) == 2


def test_asking_for_more_scans_than_there_are_gives_all():
    features = generator().random((3, 2))
    assert nearest(features, 0, np.array([0, 2]), 9) == (0, 2)


def test_a_place_that_cannot_be_found_is_said_in_one_sentence():
    with pytest.raises(DataError, match=r"no place for word 0 of 5 in 8 scans.*loosen the rules"):
        found(np.full((12, 40, 40, 24), 200, np.uint8))
    with pytest.raises(DataError, match="no place for word 0"):
        found(np.zeros((12, 20, 20, 12), np.uint8))
    with pytest.raises(DataError, match="found 1 training and 0 validation"):
        find_words(lungs(), np.zeros((12, 2)), np.array([0]), np.array([], int), RULES, 0)


def test_the_same_seed_finds_the_same_words():
    assert found(seed=3)[1] == found(seed=3)[1]
    assert found(seed=3)[1] != found(seed=4)[1]


def test_other_resolutions_share_slices_are_square_and_lie_inside():
    sides, moves = [], []
    for seed in range(300):
        listed = boxes((512, 512, 100), (200, 210, 40), (64, 64, 32), 2, generator(seed))
        assert len(listed) == 3 and listed[0] == Box((200, 210, 40), (64, 64, 32))
        for other in listed[1:]:
            assert other.sides[0] == other.sides[1], "one side for x and y"
            sides.append(other.sides[0])
            moves.append((other.corner[0] - 200, other.corner[1] - 210))
            assert other.sides[2] == 32 and other.corner[2] == 40
    # Every whole number from 50 to 79, and from -10 to 9 in x and in y, each on its own.
    assert set(sides) == set(range(50, 80))
    assert {x for x, _ in moves} == {y for _, y in moves} == set(range(-10, 10))
    assert len(set(moves)) > 250, "x and y move together"
    assert boxes((64, 64, 32), (1, 0, 0), (64, 64, 32), 2, generator()) == []


def test_a_resolution_that_juts_out_is_drawn_again_until_it_fits():
    # The scan ends with the cube, so that a side above 64 or a move outwards juts out: most draws do.
    drawn = []
    for seed in range(300):
        listed = boxes((264, 300, 100), (200, 210, 40), (64, 64, 32), 2, generator(seed))
        assert len(listed) == 3, "none is dropped"
        drawn += listed[1:]
    assert all(box.corner[0] + box.sides[0] <= 264 for box in drawn)
    # What is left is uniform over the draws that fit: 15 + 14 + … + 6 of them move x by -10 … 9 and have a side from 50.
    weights = {move: len(range(50, min(79, 64 - move) + 1)) for move in range(-10, 10)}
    counts = {move: sum(box.corner[0] - 200 == move for box in drawn) for move in weights}
    expected = {move: weight / sum(weights.values()) * len(drawn) for move, weight in weights.items()}
    distance = sum((counts[move] - expected[move]) ** 2 / expected[move] for move in weights)
    assert distance < 43.8, "chi-square of 19 degrees of freedom, beyond 1 in 1,000"


def test_places_reach_as_far_as_the_code_draws_them():
    # pattern_generator_3D.py (TransVW bd4f3e3) draws x from 100 to X - 64 - 1 - 100 and z from 30 to Z - 32 - 3 - 1 - 30,
    # both inclusive; here with a cube of 8 x 8 x 4, borders 3 and 2.
    scans = np.zeros((12, 20, 18, 15), np.uint8)
    rules = RULES.model_copy(update={"cube": (8, 8, 4), "border": (3, 2), "apart": 0, "words": 200})
    corners = np.array([word.corner for word in found(scans, rules=rules)[1]])
    assert corners.min(0).tolist() == [3, 3, 2]
    assert corners.max(0).tolist() == [20 - 8 - 1 - 3, 18 - 8 - 1 - 3, 15 - 4 - 3 - 1 - 2]


def test_a_box_of_the_cubes_size_is_cut_as_it_is_and_another_is_resized_slice_by_slice():
    scan = generator(4).integers(0, 256, (40, 40, 20), dtype=np.uint8)
    same = cut(scan, Box((3, 4, 5), (16, 16, 8)), (16, 16, 8))
    assert np.array_equal(same, scan[3:19, 4:20, 5:13].astype(np.float32) / 255)
    other = cut(scan, Box((3, 4, 5), (20, 20, 8)), (16, 16, 8))
    for z in range(8):
        expected = cv2.resize(unit(scan[3:23, 4:24, 5 + z]), (16, 16))
        assert np.allclose(other[:, :, z], expected, atol=1e-6)


def test_a_whole_scan_is_made_small_as_scikit_image_does_it():
    x, y, z = np.indices((12, 8, 6))
    scan = ((7 * x + 5 * y * y + 3 * z**3 + x * y * z) % 11 / 10).astype(np.float32)
    # skimage.transform.resize(scan, (4, 2, 3), preserve_range=True) of scikit-image 0.25.2
    expected = [
        [[0.51484, 0.49165, 0.57094], [0.53344, 0.48017, 0.55827]],
        [[0.46940, 0.50370, 0.53056], [0.52430, 0.53502, 0.44153]],
        [[0.57410, 0.40465, 0.54777], [0.54566, 0.59828, 0.47206]],
        [[0.44463, 0.45310, 0.62914], [0.49020, 0.52297, 0.53318]],
    ]
    assert np.allclose(shrink(scan, (4, 2, 3))[0].float(), expected, atol=5e-4)  # float16
    assert np.allclose(shrink(scan, scan.shape)[0].float(), scan, atol=5e-4), "a side that stays is not smoothed"


def test_the_autoencoders_feature_is_the_mean_of_its_coarsest_map():
    model = Autoencoder(NetworkSpec(name="transvw_keras_w4", in_channels=1), 0).eval()
    scans = shrink(lungs()[0], (16, 16, 8))[None].float()
    assert scans.shape == (1, 1, 16, 16, 8)
    expected = model.backbone.encode(scans)[-1].flatten(2).mean(-1)
    assert np.allclose(model.features(scans).detach(), expected.detach())
    restored = model(scans).detach()
    assert restored.shape == scans.shape and float(restored.min()) > 0 and float(restored.max()) < 1


@pytest.fixture(scope="module")
def discovered(tmp_path_factory):
    root = tmp_path_factory.mktemp("discovery")
    cohort = write_scans(root / "cohort")
    outcome = run(phases()["discovery"], root / "found", {"cohort": cohort})
    return cohort, root / "found", outcome


def test_a_discovery_leaves_cubes_that_are_what_the_scans_hold_there(discovered):
    cohort, folder, outcome = discovered
    cubes, table = np.load(folder / "cubes.npy"), pd.read_csv(folder / "cubes.csv")
    scans, of = np.load(cohort / "scans.npy"), pd.read_csv(cohort / "scans.csv").set_index("row")
    assert len(cubes) == len(table) and cubes.dtype == scans.dtype
    assert set(table["word"]) == {0, 1, 2}
    for row in table[table["resolution"] == 0].itertuples():
        expected = scans[row.scan, row.x : row.x + 16, row.y : row.y + 16, row.z : row.z + 8]
        assert np.array_equal(cubes[row.row], expected)
        assert of.loc[row.scan, "split"] == row.split
    assert (table[table["split"] == "validation"]["resolution"] == 0).all()
    train = table[(table["split"] == "train") & (table["resolution"] == 0)]
    assert train.groupby("word").size().tolist() == [4, 4, 4]
    # One place for all cubes of a word.
    assert (table[table["resolution"] == 0].groupby("word")[["x", "y", "z"]].nunique() == 1).all().all()
    assert outcome.facts["cubes"] == {"train": (table["split"] == "train").sum(), "validation": 6}
    assert not set(table[table["split"] == "train"]["patient"]) & set(table[table["split"] == "validation"]["patient"])


def test_a_discovery_shows_its_words(discovered):
    _, folder, _ = discovered
    page = (folder / "words.html").read_text(encoding="utf-8")
    assert "3 visual words" in page
    assert len(re.findall(r"data:image/png;base64,", page)) == 3
    assert "http" not in page
    picture = np.asarray(Image.open(folder / "words.png"))
    cubes, table = np.load(folder / "cubes.npy"), pd.read_csv(folder / "cubes.csv")
    first = table[(table["word"] == 0) & (table["resolution"] == 0) & (table["split"] == "train")]["row"].iloc[0]
    assert np.array_equal(picture[:64:4, :64:4], cubes[first][:, :, 4].T)


def test_a_discovery_is_the_same_again_and_another_under_another_seed(discovered, tmp_path):
    cohort, folder, outcome = discovered
    again = run(phases()["discovery"], tmp_path / "again", {"cohort": cohort})
    assert again.facts == outcome.facts
    for name in ("cubes.npy", "cubes.csv", "features.npy", "words.png", "words.html"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    other = run(phases()["discovery"], tmp_path / "other", {"cohort": cohort}, seed_name="b")
    assert other.facts["features_sha256"] != outcome.facts["features_sha256"]
    assert other.facts["words"] != outcome.facts["words"]


def test_the_autoencoder_stops_in_the_epoch_that_fills_its_patience_and_keeps_its_best(tmp_path):
    # Keras' EarlyStopping of train_autoencoder.py, read off the curve: no loss among the last three is below the best.
    phase = phases()["discovery"]
    phase.configuration["autoencoder"] |= {"epochs": 60, "stop_after": 3, "learning_rate": 0.05}
    outcome = run(phase, tmp_path / "found", {"cohort": write_scans(tmp_path / "cohort")})
    losses = [row["validation_autoencoder"] for row in outcome.curve]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 3 < 60
    improved = [0] + [i for i in range(1, best + 1) if losses[i] < min(losses[:i])]
    assert all(later - earlier <= 3 for earlier, later in pairwise(improved)), "it went on too long"
    assert outcome.values["validation_loss"] == losses[best]


def test_scans_of_different_shapes_may_lie_in_files_of_their_own(tmp_path):
    cohort = write_scans(tmp_path / "cohort")
    scans = np.load(cohort / "scans.npy")
    (cohort / "scans").mkdir()
    for row, scan in enumerate(scans):
        np.save(cohort / "scans" / f"{row}.npy", scan[:, :, : 20 - row % 3])
    (cohort / "scans.npy").unlink()
    outcome = run(phases()["discovery"], tmp_path / "found", {"cohort": cohort})
    assert outcome.facts["cubes"]["train"] >= 12


def test_a_cohort_without_scans_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "cohort").mkdir()
    with pytest.raises(DataError, match=r"no scans\.csv in .*expected the whole training scans"):
        run(phases()["discovery"], tmp_path / "found", {"cohort": tmp_path / "cohort"})
