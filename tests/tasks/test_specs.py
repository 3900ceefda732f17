"""Specs are stored as JSON and read as types: nothing of an identity may change on the way."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.identity import canonical_json
from harness.registry import load_registry
from harness.spec import NO_TRANSFER, TaskPlan
from tasks.profiles import profile_names
from tasks.specs import CohortConfiguration, CohortSpec, TrialSpec, read_transfer
from tests.tasks.conftest import plan_of
from tests.tasks.standins import trial_spec


def plans(profile: str) -> list[TaskPlan]:
    registry = load_registry().under(profile)
    return [registry.resolve_task(entry.name, profile) for entry in registry.tasks]


@pytest.mark.parametrize("profile", profile_names())
def test_what_is_read_is_written_as_it_was_byte_by_byte(profile: str) -> None:
    found = plans(profile)
    assert found or profile == "own"
    for plan in found:
        read = CohortConfiguration.model_validate(plan.cohort)
        assert canonical_json(read.dump()) == canonical_json(plan.cohort)
        if plan.transfer["kind"] != NO_TRANSFER:
            assert canonical_json(read_transfer(plan.transfer).dump()) == canonical_json(plan.transfer)


def test_a_key_that_was_absent_stays_absent() -> None:
    plan = plan_of("montgomery")
    assert "lists" not in CohortConfiguration.model_validate(plan.cohort).dump()
    assert not {"localization", "scored_labels", "uncertain"} & set(read_transfer(plan.transfer).dump())


def test_a_key_that_nobody_reads_is_refused() -> None:
    plan = plan_of("montgomery")
    with pytest.raises(ValidationError, match="warmth"):
        TrialSpec.model_validate(trial_spec("montgomery", plan) | {"warmth": 1})
    with pytest.raises(ValidationError, match="warmth"):
        CohortSpec.model_validate({"task": "montgomery", "configuration": plan.cohort | {"warmth": 1}})


def test_an_image_has_two_dimensions_and_a_patch_three() -> None:
    raw = plan_of("montgomery").transfer
    with pytest.raises(ValidationError):
        read_transfer(raw | {"dimensions": 3})
