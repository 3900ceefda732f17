"""Terms: the weighted parts of a pretext objective.

A term is two things in two modules:

* its *configuration*, a frozen dataclass without torch (hashable, comparable, part of every digest);
* its *bound* module, found by the dotted path ``bound`` of the configuration, which holds what is trained or
  remembered: projection head, key encoder, queue, discriminator.

The bound module implements ``methods.terms.bound.BoundTerm``. A term of one's own is named by its dotted path
``my_package.my_module:MyTerm`` wherever a built-in's short name may stand.

Traps (each has a test):

* A class attribute ``opponent = None`` on a module shadows the registered sub-module of that name for ever: declare
  it in ``__init__``.
* ``dataclasses.asdict`` drops class names, so two terms without fields would share a digest: ``to_json`` keeps them.
* Opponent parameters stay out of the backbone's optimiser, and their gradients are cleared before their own step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from pydantic import JsonValue
from pydantic.errors import PydanticUserError

from harness.dotted import import_dotted
from harness.errors import ConfigurationError, unknown
from harness.typed import read

TERMS: dict[str, str] = {
    "moco_v2": "methods.terms.moco_v2:MocoV2",
    "barlow_twins": "methods.terms.barlow_twins:BarlowTwins",
    "simsiam": "methods.terms.simsiam:SimSiam",
    "visual_words": "methods.terms.visual_words:VisualWords",
    "restoration": "methods.terms.restoration:Restoration",
    "adversary": "methods.terms.adversary:Adversary",
}


class Term(Protocol):
    """The configuration of a term: a frozen dataclass whose fields all change numbers.

    Attributes:
        role: What it does in the objective: ``discrimination``, ``restoration`` or ``adversary``.
        needs_decoder: Whether the restored image must be computed for it.
        bound: Dotted path of the class that is built from it, called with (configuration, backbone, seed, image_px).
        component: Its key in ``methods/versions.yaml``, or "" for a term from outside.

    A class attribute ``zero_init_residual`` (left out: False) says whether the method starts every residual block at
    γ = 0.
    """

    role: ClassVar[str]
    needs_decoder: ClassVar[bool]
    bound: ClassVar[str]
    component: ClassVar[str]


def load(path: str) -> Any:
    """Import the object a dotted path ``module:name`` stands for.

    Raises:
        ConfigurationError: If the path is malformed.
        BrokenCode: If the module cannot be imported, whatever it raises, or does not hold the name.
    """
    return import_dotted(path)


def term_class(name: str, role: str) -> type[Term]:
    """Return the configuration class of a term given by short name or dotted path.

    Args:
        name: ``moco_v2`` or ``my_package.my_module:MyTerm``.
        role: The role it must have.

    Raises:
        ConfigurationError: If there is none (with near names), or it has another role.
    """
    if ":" not in name and name not in TERMS:
        available = [short for short, path in TERMS.items() if load(path).role == role]
        raise unknown(f"{role} term", name, available, "the terms of the pretext recipe")
    found: type[Term] = load(TERMS.get(name, name))
    if getattr(found, "role", None) != role:
        raise ConfigurationError(
            f'"{name}" is a term of role {getattr(found, "role", None)}; expected one of role {role}'
        )
    return found


def build(name: str, role: str, fields: Mapping[str, object]) -> Term:
    """Make a term's configuration from plain values, naming every key that it does not have.

    Raises:
        ConfigurationError: For an unknown term or an unknown or invalid field.
    """
    cls = term_class(name, role)
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    stray = [key for key in fields if key not in known]
    if stray:
        notes = []
        for key in stray:
            near = difflib.get_close_matches(key, known, n=2, cutoff=0.5)
            notes.append(f'"{key}"' + (f' (did you mean "{near[0]}"?)' if near else ""))
        raise ConfigurationError(f"term {name} has no {', '.join(notes)}; expected {', '.join(known)}")
    with contextlib.suppress(PydanticUserError):  # types that only its own module knows are that module's to check
        read(cls, dict(fields), f"term {name}: ")
    return cls(**fields)


def to_json(term: Term) -> dict[str, JsonValue]:
    """Write a term as JSON values with its type, so that ``from_json`` gives an equal one."""
    values = {f.name: getattr(term, f.name) for f in dataclasses.fields(term)}  # type: ignore[arg-type]
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {"type": f"{type(term).__module__}:{type(term).__qualname__}", **values}


def from_json(values: Mapping[str, JsonValue]) -> Term:
    """Make the term that ``to_json`` wrote."""
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key != "type"}
    term: Term = load(str(values["type"]))(**fields)
    return term
