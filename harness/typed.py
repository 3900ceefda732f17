"""Values of a YAML file, typed: what a pydantic model says of them, as sentences with near names.

Everything is read as JSON and strictly: a list may stand for a tuple and 1 for 1.0, but ``true`` is no number, a number
is no text and a text is no number, and nothing else than mappings, lists, text, numbers, true, false and null can
stand in a file.
"""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, WrapValidator

from harness.errors import ConfigurationError

M = TypeVar("M")
IN_WORDS = {  # what pydantic calls by JSON's names
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "String should match pattern '^[a-z0-9_]+$'": "small letters, digits and underscores alone",
}
HOW_MANY = {  # pydantic's kinds of a wrong length: the bound, and what is counted
    "too_short": ("at least", "item"),
    "too_long": ("at most", "item"),
    "string_too_short": ("at least", "character"),
    "string_too_long": ("at most", "character"),
}


def _as_written(value: Any, check: Any) -> Any:
    check(value)
    return value


# A number that stays what the file says: 0 does not become 0.0, which would be another identity.
Number = Annotated[float, WrapValidator(_as_written)]
Rate = Annotated[Number, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0.0, allow_inf_nan=False)]


class Mistakes(ConfigurationError):
    """Everything that is wrong with a value, a sentence each.

    Attributes:
        lines: The sentences.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Keep the sentences; the text has one a line."""
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


def read(model: type[M], given: object, prefix: str = "", also: Iterable[str] = ()) -> M:
    """Make a model, or a plain dataclass, of what a file says.

    Args:
        model: What it should be.
        given: What was read.
        prefix: Written before each sentence, such as ``options.``.
        also: Keys that are known at the top although the model has them not, for near names.

    Raises:
        Mistakes: With every mistake at once: the place, what was found, what was expected or a near name.
    """
    unfit = [f"{prefix}{line}" for line in _unfit(given, "")]
    if unfit:
        raise Mistakes(unfit)
    adapter: TypeAdapter[M] = _adapter(cast("Any", model))
    try:
        made = adapter.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise Mistakes(f"{prefix}{line}" for line in sentences(error, model, also)) from None
    changed = list(_changed(given, adapter.dump_python(made, exclude_unset=True), ""))
    if changed:
        raise Mistakes(f"{prefix}{line}" for line in changed)
    return made


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def given(model: BaseModel, *, nulls: bool = False) -> dict[str, Any]:
    """Return what a file said, as JSON values and without the defaults: what of it enters an identity.

    Args:
        model: What was read.
        nulls: Whether a key that the file sets to null stays.
    """
    said: dict[str, Any] = json.loads(json.dumps(model.model_dump(exclude_unset=True, exclude_none=not nulls)))
    return said


def sentences(error: ValidationError, model: object, also: Iterable[str] = ()) -> list[str]:
    """Write what pydantic found as sentences: the place, what was found, what was expected, near names.

    Args:
        error: What pydantic raised.
        model: What was to be made.
        also: Keys that are known at the top besides the model's own.
    """
    lines = []
    for problem in error.errors(include_url=False):
        place, known = _place(model, problem["loc"])
        if len(problem["loc"]) == 1:
            known = [*known, *also]
        lines.append(_sentence(dict(problem), place, known))
    return list(dict.fromkeys(lines))


def unknown_nulls(model: object, given: object, prefix: str = "") -> Iterator[str]:
    """Find keys that are set to null, which takes back what another layer said, and that no layer can have said.

    Args:
        model: What the mapping is read as once the nulls are left out; of a union, each alternative's keys are known.
        given: The mapping.
        prefix: Written before each sentence.
    """
    bare = _bare(model)
    models = _alternatives(bare) or [bare]
    known = {name: field for one in models for name, field in _fields(one).items()}
    if not isinstance(given, Mapping) or not known:
        return
    for key, value in given.items():
        if value is None and key not in known:
            yield f"{prefix}{key}: unknown key; {near(str(key), known)}"
        elif key in known:
            yield from unknown_nulls(known[key], value, f"{prefix}{key}.")


def near(name: str, known: Iterable[str]) -> str:
    """Write which names come near, or which there are.

    Example:
        >>> near("rebeats", ["repeats", "alpha"])
        'did you mean "repeats"?'
    """
    names = sorted({str(one) for one in known})
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f'"{one}"' for one in close) + "?"
    return f"expected one of {', '.join(names)}." if names else "remove it."


def shown(value: object, limit: int = 120) -> str:
    """Write what was found, shortened: a name of 300 letters or a number of 400 digits tells no more than its start."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of more than 4,300 digits"
    except RecursionError:
        return "something nested too deeply to be shown"
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _sentence(problem: dict[str, Any], place: str, known: list[str]) -> str:
    kind, found, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    at = f"{place}: " if place else ""
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{at}unknown key; {near(place.rpartition('.')[2], known)}"
    if kind == "missing":
        return f"{at}missing; add it."
    if kind == "union_tag_not_found":
        return f"{at}found {shown(found)} without a name; add name: {' or '.join(known)}."
    if kind == "union_tag_invalid":
        return f"{place}.name: found {context['tag']!r}; {near(str(context['tag']), known)}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    message = IN_WORDS.get(message, message)
    if kind in HOW_MANY:
        bound, one = HOW_MANY[kind]
        message = _how_many(bound, one, context)
    if message.startswith(("found ", "no ")):
        return f"{at}{message}."
    if kind == "value_error" and isinstance(found, Mapping):
        return f"{at}{message}."
    choice = near(found, _choices(context)) if kind == "literal_error" and isinstance(found, str) else ""
    hint = f" {choice}" if choice.startswith("did you mean") else ""
    return f"{at}found {shown(found)}; expected {message}.{hint}"


def _how_many(bound: str, one: str, context: Mapping[str, Any]) -> str:
    """Write how many items a list, or letters a text, may have, and how many it has where that is known."""
    many = context["min_length" if bound == "at least" else "max_length"]
    found = context.get("actual_length")
    return f"{bound} {many} {one}{'' if many == 1 else 's'}" + (f", not {found}" if found is not None else "")


def _choices(context: Mapping[str, object]) -> list[str]:
    return str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")


def _unfit(value: object, place: str) -> Iterator[str]:
    """Find what no JSON file could hold."""
    at = f"{place}: " if place else ""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int):
                yield f"{at}found the key {shown(key)}; expected text; write it in quotes."
            yield from _unfit(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _unfit(inner, f"{place}.{index}" if place else str(index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{at}found {value}; expected a finite number."
    elif value is not None and not isinstance(value, bool | int | float | str):
        yield f"{at}found {shown(value)}; expected text, a number, a list or a mapping; write text in quotes."


def _changed(given: object, made: object, place: str) -> Iterator[str]:
    """Find what a choice such as 1 or 3 took for its own although it is of another kind: ``true``, 1.0."""
    if isinstance(given, Mapping) and isinstance(made, Mapping):
        for key in given:
            if key in made:
                yield from _changed(given[key], made[key], f"{place}.{key}" if place else str(key))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for index, (one, other) in enumerate(zip(given, made, strict=False)):
            yield from _changed(one, other, f"{place}.{index}" if place else str(index))
    elif isinstance(given, bool | int | float) and isinstance(made, bool | int | float):
        whole = isinstance(given, float) and isinstance(made, int)
        if whole or isinstance(given, bool) != isinstance(made, bool):
            yield f"{place}: found {given!r}; expected {made!r}."


def _place(model: object, location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return where in the file a mistake is, and which names stand beside it.

    pydantic's location also names the alternatives of a union, which stand in no file; they are left out.
    """
    parts: list[str] = []
    here, known = model, _known(model)
    for part in location:
        here = _bare(here)
        if part == "[key]":
            continue
        options = _alternatives(here)
        if options:
            chosen = [option for option in options if _is_called(option, part)]
            here = chosen[0] if chosen else None
            known = _known(here) if chosen else known
            continue
        if here is None and parts:
            continue  # the inside of an alternative without a name
        known = _known(here)
        parts.append(str(part))
        here = _inner(here, part)
    if not _alternatives(_bare(here)):
        return ".".join(parts), known
    return ".".join(parts), [name for option in _alternatives(_bare(here)) for name in _tags(option)] or known


def _bare(annotation: object) -> object:
    """Take off what only qualifies a type: ``Annotated`` and ``| None``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (typing.Union, types.UnionType):
            rest = [one for one in get_args(annotation) if one is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def _alternatives(annotation: object) -> list[object]:
    if get_origin(annotation) not in (typing.Union, types.UnionType):
        return []
    return [_bare(one) for one in get_args(annotation) if one is not type(None)]


def _fields(annotation: object) -> dict[str, object]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    return dict(typing.get_type_hints(annotation)) if hasattr(annotation, "__dataclass_fields__") else {}


def _known(annotation: object) -> list[str]:
    return list(_fields(_bare(annotation)))


def _tags(annotation: object) -> list[str]:
    return [str(one) for one in get_args(_bare(_fields(annotation).get("name")))]


def _is_called(annotation: object, part: int | str) -> bool:
    return part in _tags(annotation) or part == getattr(annotation, "__name__", None)


def _inner(annotation: object, part: int | str) -> object:
    fields = _fields(annotation)
    if fields:
        return fields.get(str(part))
    arguments = [one for one in get_args(annotation) if one is not Ellipsis]
    if get_origin(annotation) is tuple and isinstance(part, int) and part < len(arguments):
        return arguments[part]
    return arguments[-1] if arguments else None
