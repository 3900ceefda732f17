"""From a registry entry to a plan: ``resolve``. No torch, so that ids and plans work without it.

A recipe is a pydantic class whose fields are the keys it adds to an entry, with one method
``resolve(entry, profile) -> MethodPlan``, and optionally a class attribute ``Options``, a pydantic class that
validates ``entry.options``. The built-in recipes come through the same door as anyone's own.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from pydantic import BaseModel

from harness.errors import BrokenCode, ConfigurationError, UnknownName, unknown
from harness.spec import MethodEntry, MethodPlan, PhasePlan, extras
from harness.typed import Mistakes, read
from methods.profiles import load_profile
from methods.terms import load

RECIPES: dict[str, str] = {
    "random": "methods.recipes.random:RandomRecipe",
    "weights": "methods.recipes.weights:WeightsRecipe",
    "supervised": "methods.recipes.supervised:SupervisedRecipe",
    "pretext": "methods.recipes.pretext:PretextRecipe",
    "volumes": "methods.recipes.volumes:VolumesRecipe",
}


COMMON_KEYS = tuple(name for name in MethodEntry.model_fields if name not in ("name", "origin"))


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
    except Mistakes as error:
        errors += error.lines
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
        recipe = read(recipe_class, dict(extras(entry)), also=COMMON_KEYS)
    except Mistakes as error:
        errors += error.lines
    options = getattr(recipe_class, "Options", None)
    if options is not None:
        try:
            read(options, entry.options, "options.")
        except Mistakes as error:
            errors += error.lines
    elif entry.options:
        found = ", ".join(entry.options)
        errors.append(f"options: found {found}; recipe {entry.recipe} declares no Options; remove them or declare it.")
    if errors or recipe is None:
        raise _all_of(entry, errors)
    try:
        plan = recipe.resolve(entry, profile)
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
    paths = [entry.recipe, phase.run, *phase.outline.types]
    return any(":" in path and path.partition(":")[0].partition(".")[0] != "methods" for path in paths)


def _recipe_class(entry: MethodEntry) -> type[Recipe]:
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
    return cast("type[Recipe]", found)


def _all_of(entry: MethodEntry, errors: list[str]) -> ConfigurationError:
    origin = f" ({entry.origin})" if entry.origin else ""
    head = f'method "{entry.name}"{origin}: {len(errors)} {"error" if len(errors) == 1 else "errors"}'
    return ConfigurationError("\n".join([head, *(f"  - {line}" for line in errors)]))
