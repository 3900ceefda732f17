import torch
from safetensors.torch import save_file

from bench.dead_channels import LAST, dead


def test_a_channel_is_dead_where_a_shift_lies_more_than_two_and_a_half_scales_below_zero(tmp_path):
    scale, shift = torch.tensor([1.0, 1.0, -2.0, 0.0, 4.0]), torch.tensor([-2.6, -2.4, -5.1, -0.1, 9.0])
    save_file({f"{LAST}.weight": scale, f"{LAST}.bias": shift}, tmp_path / "encoder.safetensors")
    assert dead(tmp_path / "encoder.safetensors") == (3, 5)
