"""What the benchmarks compare must be the same maths."""

from bench.loader import equality
from bench.pictures import pictures
from bench.pretrain_step import agreement, flops, prepared


def test_our_step_and_the_reference_have_equal_losses_and_gradients_and_ours_counts_fewer_operations(tmp_path):
    ours, reference, views = prepared("dis+res+adv", 64, 4, tmp_path, "cpu")
    query, key = (ours.objective.as_input(view) for view in views[:2])
    found = agreement(*prepared("dis+res+adv", 64, 4, tmp_path, "cpu"))
    assert found["losses"] < 1e-5 and found["gradients"] < 1e-4
    counted = flops(lambda: ours._take_step(views)) / flops(lambda: reference.step(query, key, views[2]))
    assert 0.8 < counted <= 0.89


def test_the_loader_under_test_shows_what_the_reference_shows():
    found = equality(pictures(6, 512))
    assert found["grey_and_rgb_levels"] == 0 and found["device_rest_levels"] == 0 and found["device_crop_levels"] <= 1
