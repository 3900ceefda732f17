from pathlib import Path

import pytest
import torch
import yaml

from harness.spec import MethodEntry
from tests.methods.phantom_pixels import write_pixels

REGISTRY = Path(__file__).parents[2] / "methods" / "registry.yaml"


def registered() -> dict[str, MethodEntry]:
    loaded = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))["methods"]
    return {name: MethodEntry(name=name, **fields) for name, fields in loaded.items()}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Path:
    return write_pixels(tmp_path_factory.mktemp("cohort"))
