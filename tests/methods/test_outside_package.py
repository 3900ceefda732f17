"""The front door, used by somebody else: a package that is not ours registers, resolves, plans and trains."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from harness.errors import ConfigurationError, DiraBenchError, UnknownName
from harness.executors.factory import OURS, make_executor
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry, project_root
from harness.runner import run
from harness.spec import MethodEntry
from harness.store import Store
from methods.configuration import resolve
from methods.conformance import check
from methods.terms.bound import Views
from methods.training.objective import Objective
from tests.harness import works
from tests.methods.pretraining import typed

PACKAGE = Path(__file__).parents[1] / "outside_package"
NAMES = ("outside_clusters", "dira_outside_clusters")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make the package findable as an installation would: its modules, and metadata written from its pyproject."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    importlib.invalidate_caches()
    yield load_registry()
    for module in [name for name in sys.modules if name.partition(".")[0] == "outside_clusters"]:
        del sys.modules[module]


def test_its_entries_are_listed_with_their_origin(installed):
    for name in NAMES:
        assert "outside_clusters.entries" in installed.methods[name].origin
    assert not installed.methods.broken


@pytest.mark.parametrize("profile", ["smoke", "miniature", "paper", "paper_matched", "code"])
def test_it_resolves_under_every_profile_without_an_edit_of_ours(installed, profile):
    plan = installed.resolve_method("dira_outside_clusters", profile)
    assert plan.unavailable is None
    assert plan.phases[-1].name == "dis+res+adv"


def test_it_stands_in_the_plan_and_shares_its_first_phase(installed):
    root = project_root()
    parameters = load_parameters(root, {"profile": "smoke", "repeats": 1})
    plan = make_plan(installed, parameters, load_families(root / "reports" / "families.yaml"))
    alone, dira = (plan.phases[name, 0] for name in NAMES)
    assert len(alone) == 1 and len(dira) == 3
    cells = {
        cell.key.task for cell in plan.cells.values() if cell.key.method == "dira_outside_clusters" and cell.trials
    }
    assert {"chestxray14", "montgomery"} <= cells
    assert all(cell.block == "added" for cell in plan.cells.values() if cell.key.method in NAMES)
    ours = {item.id for name, chain in plan.phases.items() if name[0] not in NAMES for item in chain}
    assert not ours & {item.id for item in dira}


def test_it_passes_the_conformance_check_with_pairs_of_a_cluster(installed):
    plan = installed.resolve_method("dira_outside_clusters", "smoke")
    assert plan.phases[0].configuration["views"]["pairs"] == "same_class"
    found = check(plan)
    assert all(passed for _, passed, _ in found.results), found.results


@pytest.mark.parametrize("name", ["in_turn", "outside_clusters.in_turn:start"])
def test_its_executor_of_one_file_runs_our_items_by_name_and_by_dotted_path(installed, tmp_path, name):
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    first = works.item("add", a=1)
    second = works.item("add", a=2, needs=(first.id,))
    executor = make_executor(name, device="cpu")
    try:
        assert run([first, second], store, executor).complete
    finally:
        executor.close()
    record = store.ok("trial", second.id)
    assert record.values == {"sum": 3.0} and record.provenance["executor"] == executor.name == "in_turn"


def test_a_name_that_nobody_offers_is_refused_with_the_near_ones(installed):
    with pytest.raises(UnknownName, match='did you mean "in_turn"'):
        make_executor("in_turns")


def test_what_makes_no_executor_is_refused_with_what_one_has():
    with pytest.raises(
        ConfigurationError, match=r"made dict\. Expected an object of a class derived from Executor\. Fix: see"
    ):
        make_executor(f"{__name__}:make_a_mapping")


NUMBER = 3


class Alone:
    """An executor whose class takes nothing."""

    def __init__(self) -> None:
        self.name = "alone"


def no_cluster(slots, device, preload, options):
    raise RuntimeError("no cluster here")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "NUMBER",
            r"is int, which cannot be called; expected a function start\(slots, device, preload, options\); see docs",
        ),
        (
            "Alone",
            r"takes \(\).*too many positional arguments.*; expected a function start\(slots, device, preload, options\)",
        ),
        ("no_cluster", r"did not start: it raised RuntimeError: no cluster here; expected .*; correct its code"),
    ],
)
def test_an_executor_that_cannot_start_is_one_sentence(name, found):
    with pytest.raises(DiraBenchError, match=f"^executor {__name__}:{name} {found}") as refused:
        make_executor(f"{__name__}:{name}")
    assert len(str(refused.value).splitlines()) == 1


def test_the_help_of_run_names_every_executor_that_a_refusal_offers():
    from harness.cli.running_options import EngineName

    (option,) = EngineName.__metadata__
    with pytest.raises(UnknownName) as refused:
        make_executor("nonsense")
    for name in OURS:
        assert name in option.help and name in str(refused.value)


def make_a_mapping(slots, device, preload, options):
    return {}


def test_its_loss_is_zero_at_best_and_ten_steps_lower_it(installed):
    planned = installed.resolve_method("outside_clusters", "smoke").phases[0].configuration
    objective = Objective(typed(planned), 0)
    term = objective.terms["discrimination"]
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    views = Views(images, images, images[:, :1], 0)
    optimiser = torch.optim.SGD(objective.own_parameters(), lr=0.05, momentum=0.9)
    seen = []
    for _ in range(11):
        loss = objective(views)[0]
        assert loss.shape == () and torch.isfinite(loss)
        seen.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert 0 <= seen[-1] < seen[0]
    assert float(term.head.weight.grad.abs().sum()) > 0


def test_raising_the_entrys_version_trains_anew_what_a_stranger_wrote_and_nothing_of_ours(installed):
    def phases(entry):
        return [phase.configuration for phase in resolve(entry, "smoke").phases]

    theirs = installed.methods["dira_outside_clusters"]
    raised = MethodEntry.model_validate({**theirs.model_dump(), "version": 2})
    for before, after in zip(phases(theirs), phases(raised), strict=True):
        assert (before["entry_version"], after["entry_version"]) == (1, 2)
    ours = installed.methods["dira_simsiam"]
    assert phases(ours) == phases(MethodEntry.model_validate({**ours.model_dump(), "version": 2}))
    assert all("entry_version" not in configuration for configuration in phases(ours))


def test_without_an_optimiser_of_its_own_the_error_says_what_to_give(installed):
    theirs = installed.methods["outside_clusters"]
    bare = MethodEntry.model_validate({**theirs.model_dump(), "options": {}})
    with pytest.raises(Exception, match=r"give options\.optimiser"):
        resolve(bare, "smoke")
