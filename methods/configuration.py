"""From a registry entry to a plan: ``resolve``. No torch, so that ids and plans work without it.

A recipe is a pydantic class whose fields are the keys it adds to an entry, with one method
``resolve(entry, profile) -> MethodPlan``, and optionally a class attribute ``Options``, a pydantic class that
validates ``entry.options``. The built-in recipes come through the same door as anyone's own.
"""

from __future__ import annotations

import difflib
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ValidationError

from harness.errors import BrokenCode, ConfigurationError, UnknownName, unknown
from harness.spec import MethodEntry, MethodPlan, PhasePlan, extras
from methods.profiles import load_profile
from methods.terms import load

RECIPES: dict[str, str] = {
    "random": "methods.recipes.random:RandomRecipe",
    "weights": "methods.recipes.weights:WeightsRecipe",
    "supervised": "methods.recipes.supervised:SupervisedRecipe",
    "pretext": "methods.recipes.pretext:PretextRecipe",
    "volumes": "methods.recipes.volumes:VolumesRecipe",
}


class Recipe(Protocol):
    """What a recipe's class offers besides being a pydantic model of its keys."""

    Options: ClassVar[type[BaseModel] | None]

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Turn the entry into a plan under a profile."""
        ...


def resolve(entry: MethodEntry, profile: str) -> MethodPlan:
    """Turn an entry into a plan under a profile.

    Args:
        entry: One entry of a registry of methods.
        profile: Name of a profile.

    Returns:
        The plan. A recipe that cannot be imported gives a plan that is unavailable and says why: a broken plug-in
        must not break a listing.

    Raises:
        ConfigurationError: With every error of the entry at once, one a line.
        BrokenCode: If a term that the entry names cannot be imported.
    """
    errors: list[str] = []
    try:
        load_profile(profile)
    except ConfigurationError as error:
        errors.append(str(error))
    try:
        recipe_class = _recipe_class(entry)
    except UnknownName as error:
        raise _all_of(entry, [*errors, str(error)]) from error
    except (ConfigurationError, BrokenCode) as error:
        return MethodPlan(encoder={}, unavailable=f"recipe of {entry.name}: {error}")
    recipe = None
    try:
        recipe = recipe_class.model_validate(extras(entry))
    except ValidationError as error:
        common = [name for name in MethodEntry.model_fields if name not in ("name", "origin")]
        errors += describe(error, [*recipe_class.model_fields, *common], f"keys of recipe {entry.recipe}")
    options = getattr(recipe_class, "Options", None)
    if options is not None:
        try:
            options.model_validate(entry.options)
        except ValidationError as error:
            errors += [f"options.{line}" for line in describe(error, options.model_fields, "options")]
    if errors or recipe is None:
        raise _all_of(entry, errors)
    try:
        plan: MethodPlan = recipe.resolve(entry, profile)
    except ConfigurationError as error:
        raise _all_of(entry, str(error).splitlines()) from error
    return with_entry_version(plan, entry)


def with_entry_version(plan: MethodPlan, entry: MethodEntry) -> MethodPlan:
    """Write the entry's version into every phase that code from outside our packages makes.

    Our own code has versions of its own (``methods/versions.yaml``). What a stranger's does is known by the entry's
    version alone: without it an edited term would go on reusing what the old one had trained.
    """
    phases = tuple(
        phase.model_copy(update={"configuration": {**phase.configuration, "entry_version": entry.version}})
        if _is_from_outside(phase, entry)
        else phase
        for phase in plan.phases
    )
    return plan.model_copy(update={"phases": phases})


def _is_from_outside(phase: PhasePlan, entry: MethodEntry) -> bool:
    paths = [entry.recipe, phase.run]
    for term in phase.configuration.get("terms", []):
        paths.append(str(term["configuration"]["type"]) if isinstance(term, dict) else "")
    return any(":" in path and path.partition(":")[0].partition(".")[0] != "methods" for path in paths)


def describe(error: ValidationError, known: Any, where: str) -> list[str]:
    """Write what pydantic found as sentences: found, expected, near names.

    Args:
        error: What pydantic raised.
        known: Names of the keys that would have been accepted.
        where: What those keys are called.
    """
    lines = []
    for found in error.errors():
        place = ".".join(str(part) for part in found["loc"])
        if found["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place, list(known), n=3, cutoff=0.5)
            advice = (
                "did you mean " + " or ".join(f'"{name}"' for name in near) + "?"
                if near
                else f"{where}: {', '.join(sorted(known))}"
            )
            lines.append(f"{place}: unknown key; {advice}")
        elif found["type"] == "missing":
            lines.append(f"{place}: missing; add it")
        else:
            message = found["msg"].removeprefix("Value error, ")
            shown = f"found {found['input']!r}; " if place and "found" not in message else ""
            lines.append(f"{place}: {shown}{message}" if place else message)
    return lines


def _recipe_class(entry: MethodEntry) -> Any:
    if ":" in entry.recipe:
        found = load(entry.recipe)
    elif entry.recipe in RECIPES:
        found = load(RECIPES[entry.recipe])
    else:
        raise unknown("recipe", entry.recipe, RECIPES, f"method {entry.name}")
    if not (isinstance(found, type) and issubclass(found, BaseModel) and hasattr(found, "resolve")):
        raise ConfigurationError(
            f'found {found!r} at "{entry.recipe}"; expected a pydantic class with resolve(entry, profile)'
        )
    return found


def _all_of(entry: MethodEntry, errors: list[str]) -> ConfigurationError:
    origin = f" ({entry.origin})" if entry.origin else ""
    head = f'method "{entry.name}"{origin}: {len(errors)} {"error" if len(errors) == 1 else "errors"}'
    return ConfigurationError("\n".join([head, *(f"  - {line}" for line in errors)]))
