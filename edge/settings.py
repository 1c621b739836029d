"""TOML text → one frozen pydantic tree, or every mistake in it at once."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import tomllib
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import ConfigurationError, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

WHOLE_FILE = "(whole file)"
"""The path of a mistake that belongs to no single key."""
_REQUIRED = "a value (this key is required)"


class Settings(BaseModel):
    """Base of every configuration and profile table: unknown keys refused, frozen, no silent conversion.

    Strict is meant for text: `parse` reads a TOML array as a tuple and a string as an enum, as JSON would be;
    it refuses `"9600"` or `true` for an integer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def parse(text: str, file: str, model: type[Model]) -> Model:
    """Read TOML `text` as a `model`; `file` is the name that mistakes carry.

    Raises:
        ConfigurationError: the text is no TOML or does not fit; every mistake is in it.
    """
    tree = tree_of(text, file)
    try:
        return model.model_validate_json(json.dumps(tree, default=_json_of))
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _is_consequence(detail)]
        raise ConfigurationError([_mistake(file, detail, model, tree) for detail in details]) from error


def tree_of(text: str, file: str) -> dict[str, Any]:
    """Read TOML `text` as plain tables.

    Raises:
        ConfigurationError: the text is no TOML; the mistake names the line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([_syntax_mistake(text, file, str(error))]) from error


def nearest(word: object, names: Iterable[str]) -> str | None:
    """Find the right name that a mistyped `word` most likely meant."""
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def dotted(location: Iterable[str | int]) -> str:
    """Write a place in the tree as a person would: `bus[0].baud`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".") or WHOLE_FILE


def _json_of(value: object) -> str:
    """TOML's dates and times are the only values that JSON has not."""
    assert isinstance(value, dt.date | dt.time)
    return value.isoformat()


def _syntax_mistake(text: str, file: str, message: str) -> Mistake:
    """`tomllib` gives the place in words only: "… (at line 3, column 5)" or "(at end of document)"."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    lines = text.splitlines() or [""]
    number = int(found[1]) if found and found[1] else len(lines)
    reason = message[: found.start()] if found else message
    return Mistake(file, f"line {number}", lines[min(number, len(lines)) - 1].strip(), f"TOML ({reason})")


def _is_consequence(detail: ErrorDetails) -> bool:
    """Pydantic counts the right items only: an array of one wrong item is also "too short" for it."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _mistake(file: str, detail: ErrorDetails, model: type[BaseModel], tree: dict[str, Any]) -> Mistake:
    kind, context = detail["type"], detail.get("ctx", {})
    place, types = _find(kind, detail["loc"], model, tree)
    if kind == "missing":
        return Mistake(file, dotted(place), None, _REQUIRED)
    if kind == "extra_forbidden":
        names = sorted({name for each in types if _is_model(each) for name in _keys(each)})
        return Mistake(file, dotted(place), detail["input"], f"one of {', '.join(names)}", nearest(place[-1], names))
    if kind == "union_tag_not_found":
        return Mistake(file, dotted([*place, *_quoted(context["discriminator"])]), None, _REQUIRED)
    if kind == "union_tag_invalid":
        tags, key = _quoted(context["expected_tags"]), _quoted(context["discriminator"])
        tag = context["tag"]
        return Mistake(file, dotted([*place, *key]), tag, f"one of {', '.join(tags)}", nearest(tag, tags))
    if kind == "too_short":
        return Mistake(file, dotted(place), detail["input"], f"at least {context['min_length']} item(s)")
    value = None if isinstance(detail["input"], dict) else detail["input"]
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    choices = _quoted(context["expected"]) if kind in {"enum", "literal_error"} else []
    return Mistake(file, dotted(place), value, expected, nearest(value, choices))


def _quoted(text: object) -> list[str]:
    """Pydantic gives choices in words only: "'rtu' or 'tcp'"."""
    return re.findall(r"'([^']*)'", str(text))


def _find(
    kind: str, location: tuple[str | int, ...], model: type[BaseModel], tree: Any
) -> tuple[list[str | int], list[Any]]:
    """Turn pydantic's location into the place in the file, and the types of the table it stands in.

    pydantic adds a step for the chosen member of a union; it stands in no file, and narrows the types.
    """
    place: list[str | int] = []
    types: list[Any] = [model]
    for step in location[:-1]:
        if _holds(tree, step):
            place.append(step)
            tree = tree[step]
            types = [below for each in types for below in _below(each, step)]
        else:
            types = [each for each in types if step in _labels(each)] or types
    if kind == "missing" or _holds(tree, *location[-1:]):
        place.extend(location[-1:])
    return place, types


def _holds(tree: Any, step: str | int | None = None) -> bool:
    return isinstance(step, int) if isinstance(tree, list) else isinstance(tree, dict) and step in tree


def _below(annotation: Any, step: str | int) -> Iterator[Any]:
    """The types that can stand at `step` of a value of this type."""
    arguments = get_args(annotation)
    if _is_model(annotation):
        yield from _members(_keys(annotation).get(str(step)))
    elif get_origin(annotation) is tuple and isinstance(step, int) and Ellipsis not in arguments:
        yield from _members(arguments[step] if step < len(arguments) else None)
    elif arguments:
        yield from _members(arguments[1 if get_origin(annotation) is dict else 0])


def _members(annotation: Any) -> Iterator[Any]:
    """Open unions and Annotated: the types that can stand in one place."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _members(arguments[0])
    elif origin in {Union, UnionType}:
        for each in arguments:
            yield from _members(each)
    else:
        yield annotation


def _labels(annotation: Any) -> set[str | int]:
    """What pydantic may call a member of a union: its class, or a value of its Literal tag."""
    if not _is_model(annotation):
        return set()
    return {annotation.__name__, *(tag for key in _keys(annotation).values() for tag in get_args(key))}


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    """The names a file uses for a model's fields, and their types."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
