"""Two folders of results: every verdict, against tests computed here by scipy."""

import numpy as np
import pytest
from scipy import stats

from harness.errors import ConfigurationError, DataError
from harness.sharing.comparing import compare_results
from harness.sharing.folders import open_results
from harness.spec import Parameters
from tests.sharing.small_results import draws, write

PARAMETERS = Parameters(profile="smoke", repeats=10, pretrain_seeds=1, base_seed=0, alpha=0.05)


def compared(a, b, margin=0.5):
    return compare_results(open_results(a), open_results(b), lambda metric: margin, PARAMETERS)


def test_the_same_results_are_identical_and_bit_equal(tmp_path):
    a, b = (write(tmp_path / name, {"m": draws(1)}) for name in "ab")
    found = compared(a, b)
    assert [row.verdict for row in found.rows] == ["identical"]
    assert (found.values, found.equal) == (10, 10)
    assert found.rows[0].images == "same"


def test_runs_of_one_trial_id_are_paired(tmp_path):
    """A machine's noise on the same trials is tested by their differences, not by the spread of the trials."""
    values, noise = draws(1), np.random.default_rng(2).normal(0.002, 0.0004, 10)
    a, b = write(tmp_path / "a", {"m": values}), write(tmp_path / "b", {"m": values + noise})
    row = compared(a, b).rows[0]
    expected = stats.ttest_rel(100 * (values + noise), 100 * values)
    assert row.design == "paired by repeat"
    assert row.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert row.same_trials == 10 and row.bit_equal == 0


def test_runs_of_other_versions_are_independent(tmp_path):
    a = write(tmp_path / "a", {"m": draws(1)}, version="1")
    b = write(tmp_path / "b", {"m": draws(2, mean=0.83)}, version="2")
    row = compared(a, b).rows[0]
    expected = stats.ttest_ind(100 * draws(2, mean=0.83), 100 * draws(1))
    assert row.design == "Student"
    assert row.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (row.verdict, row.same_trials) == ("better", 0)


def test_the_correction_runs_over_all_cells_of_a_metric(tmp_path):
    methods = {f"m{number}": draws(number) for number in range(4)}
    others = {name: values + np.random.default_rng(9).normal(0.001, 0.002, 10) for name, values in methods.items()}
    found = compared(write(tmp_path / "a", methods), write(tmp_path / "b", others))
    p = [row.p for row in found.rows]
    from statsmodels.stats.multitest import multipletests

    assert [row.p_holm for row in found.rows] == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_a_constant_shift_has_no_test_and_is_named(tmp_path):
    a, b = write(tmp_path / "a", {"m": draws(1)}), write(tmp_path / "b", {"m": draws(1) + 0.01})
    row = compared(a, b).rows[0]
    assert (row.verdict, row.p) == ("constant shift", None)
    assert row.effect == pytest.approx(1.0)


def test_cells_of_one_folder_alone_are_named(tmp_path):
    a, b = write(tmp_path / "a", {"m": draws(1), "n": draws(2)}), write(tmp_path / "b", {"m": draws(1), "o": draws(3)})
    assert {row.method: row.verdict for row in compared(a, b).rows} == {
        "m": "identical", "n": "only in A", "o": "only in B",
    }  # fmt: skip


def test_other_images_are_named(tmp_path):
    a, b = write(tmp_path / "a", {"m": draws(1)}), write(tmp_path / "b", {"m": draws(1)}, cohort="d" * 64)
    assert compared(a, b).rows[0].images == "different"


def test_an_edited_file_is_refused(tmp_path):
    folder = write(tmp_path / "a", {"m": draws(1)})
    path = folder / "pretraining" / "m.json"
    path.write_text(path.read_text().replace("false", "true"))
    with pytest.raises(DataError, match="m.json is not what SHA256SUMS says"):
        open_results(folder)


def test_a_folder_of_several_profiles_asks_which(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "results" / name, {"m": draws(1)})
    with pytest.raises(ConfigurationError, match="several profiles \\(one, two\\)"):
        open_results(tmp_path)
    assert open_results(tmp_path, "two").path.name == "two"
    with pytest.raises(ConfigurationError, match="has no results of profile three; found one, two"):
        open_results(tmp_path, "three")


def test_a_folder_without_results_says_what_was_expected(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no results; expected trials/<method>.csv"):
        open_results(tmp_path)
