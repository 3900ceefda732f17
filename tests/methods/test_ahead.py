"""One copy a step, views made a step ahead, and nobody who waits for the device: shown without one."""

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.packed import Packed, SideStream, to_device
from methods import views_on_device
from methods.phases import CubeConfiguration, ImageViews
from methods.supervised import drawn
from methods.training.batches import ALONE, Order, as_views, made_ahead, packed_ahead
from methods.training.means import Listed
from methods.training.objective import Objective
from methods.views_on_device import make_packed, make_views_on_device, pack_views
from methods.volumes.cubes import cube_batches
from tests.methods.pretraining import configurations, typed
from tests.methods.volumes import phases
from tests.pretended import META, Copies

VIEWS = ImageViews(image_px=32, distortion=True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, (40, 48, 48), dtype=np.uint8)


def test_packed_arrays_come_out_as_they_went_in_whatever_their_type_and_size():
    arrays = [
        np.arange(5, dtype=np.int64), np.array([True, False, True]), np.empty((0, 3)), np.float32([1.5]),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::-1], np.linspace(0, 1, 7),
    ]  # fmt: skip
    packed = Packed.of(arrays, pinned=False)
    for found, array in zip(packed.to(CPU), arrays, strict=True):
        assert np.array_equal(found.numpy(), array) and found.numpy().dtype == array.dtype
    with Copies() as copies:
        assert [tuple(t.shape) for t in to_device(arrays, META)] == [a.shape for a in arrays]
    assert copies.sizes == [packed.buffer.nbytes]


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("views", [VIEWS, VIEWS.model_copy(update={"distortion": False, "target": "aligned"})])
def test_packed_views_are_the_views_of_images_that_are_there_already(images, views, paired):
    rows = np.arange(16)
    others = images[rows + 1] if paired else None
    packed = make_packed(pack_views(images[rows], rows, 3, 1, views, others, pinned=False).to(CPU), views)
    source, partners = torch.from_numpy(images[rows]), None if others is None else torch.from_numpy(others)
    plain = make_views_on_device(source, rows, 3, 1, views, partners)
    assert all(torch.equal(a, b) for a, b in zip(packed, plain, strict=True))


def test_a_batch_is_brought_over_by_one_copy_and_nothing_is_waited_for(images):
    order = Order(np.arange(40), 8, 3)

    def pack(step):
        epoch, rows = order.batch(step)
        return pack_views(images[rows], rows, 3, epoch, VIEWS, pinned=False)

    with Copies() as copies:
        made = list(made_ahead(packed_ahead(pack, 4, 9), partial(make_packed, views=VIEWS), META))
    assert len(copies.sizes) == len(made) == 5
    assert all(tuple(view.shape) == (8, 1, 32, 32) and view.device == META for step in made for view in step)


def test_a_labelled_batch_is_brought_over_by_one_copy_and_nothing_is_waited_for(images):
    rows = np.arange(8)
    arrays = [*views_on_device.numbers(drawn(1, 0, rows, 48, 32), 32), images[rows], np.zeros((8, 3), np.float32)]
    with Copies() as copies:
        *told, source, labels = Packed.of(arrays, pinned=False).to(META)
        view = views_on_device.one_view(source, views_on_device.Told(*told), 32)
    assert len(copies.sizes) == 1 and tuple(view.shape) == (8, 1, 32, 32) and tuple(labels.shape) == (8, 3)


def test_cubes_are_brought_over_by_one_copy_a_step():
    random = np.random.Generator(np.random.PCG64(0))
    cubes = SimpleNamespace(volumes=random.integers(0, 256, (8, 16, 16, 8), dtype=np.uint8), words=np.arange(8) % 3)
    views = CubeConfiguration.model_validate(phases()["dis+res"].configuration).views
    said = (cubes, Order(np.arange(8), 4, 0), 0, 3, 1, views)
    with Copies() as copies:
        found = list(cube_batches(*said, META, 0, ALONE))
    assert len(copies.sizes) == len(found) == 3
    for made, plain in zip(found, cube_batches(*said, CPU, 0, ALONE), strict=True):
        assert [tuple(t.shape) for t in made] == [tuple(t.shape) for t in plain]


def test_every_step_gets_what_was_packed_for_it_and_is_made_before_the_one_ahead_is_handed_over(images):
    order, happened = Order(np.arange(40), 8, 3), []

    def pack(step):
        return Packed.of([order.batch(step)[1]], pinned=False)

    def make(arrays):
        happened.append("made")
        return (arrays[0] + 0,)

    for step, (rows,) in enumerate(made_ahead(packed_ahead(pack, 2, 7), make, CPU), start=2):
        happened.append("taken")
        assert np.array_equal(rows.numpy(), order.batch(step)[1])
    assert happened == ["made"] + ["made", "taken"] * 4 + ["taken"]


def test_what_fails_while_packing_ahead_is_told_to_whoever_takes_the_step():
    def pack(step):
        if step == 2:
            raise OSError("the disk is gone")
        return Packed.of([np.arange(1)], pinned=False)

    taken = iter(packed_ahead(pack, 0, 4))
    assert next(taken) is not None and next(taken) is not None
    with pytest.raises(OSError, match="the disk is gone"):
        next(taken)


def test_a_side_stream_is_waited_for_and_its_memory_kept(monkeypatch):
    """Against a pretended CUDA: the main queue waits for the mark, and every tensor is recorded on it."""
    said = []

    class Stream:
        device = "cuda:0"

        def __init__(self, device):
            said.append(f"stream of {device}")

        def record_event(self):
            return "mark"

    class Main:
        def wait_event(self, event):
            said.append(f"waits for {event}")

    main = Main()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: said.append(stream is main))
    aside = SideStream(torch.device("cuda:0"))
    aside.hand_over([torch.zeros(1), torch.zeros(2)], aside.mark())
    assert said == ["stream of cuda:0", "waits for mark", True, True]


def test_listed_losses_are_looked_at_when_asked_for_and_a_bad_one_in_between_is_found():
    listed = Listed()
    for value in (1.0, 2.0):
        listed.add({"total": torch.tensor(value, device=META)})  # asking this for a number would raise
    listed.clear()
    for value in (1.0, float("nan"), 2.0):
        listed.add({"total": torch.tensor(value)})
    assert not listed.finite()
    listed.clear()
    for value in (1.0, 2.0):
        listed.add({"total": torch.tensor(value)})
    assert listed.finite() and listed.finite() and listed.means() == {"total": 1.5}
    assert listed.state() == {"listed": {"total": [1.0, 2.0]}}


def test_an_objectives_passes_wait_for_nothing(images, monkeypatch):
    """The whole forward and backward pass of every term but the numbers: whatever asked for one would raise."""
    monkeypatch.setattr(torch, "autocast", lambda *said, **more: nullcontext())  # knows no such device
    for base in ("moco_v2", "barlow_twins", "simsiam"):
        objective = Objective(typed(configurations(discrimination=base)["dis+res+adv"]), 0).to(META)
        rows = np.arange(8)
        views = make_packed(pack_views(images[rows], rows, 3, 0, VIEWS, pinned=False).to(META), VIEWS)
        with Copies() as copies:
            seen = as_views(objective, views, 5, channels_last=True)
            objective.before_step(seen)
            total, _, shared = objective(seen)
            total.backward()
            for term in objective.bound_terms():
                loss = term.opponent_loss(seen, shared)
                if loss is not None:
                    loss.backward()
            objective.after_step()
        assert copies.sizes == [], base
