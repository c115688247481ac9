"""What a request may say in its query: how it is read, how it is described, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from chat.web.api.problem import bad_parameter

#: The longest time that a request may wait, in seconds: what is in between may not wait for longer.
LONGEST_WAIT = 300
#: The largest id there can be.
LARGEST_ID = 2**63 - 1

#: Up to L{LONGEST_WAIT}, and without zeros at the front.
_SPAN = re.compile("(?:[0-9]|[1-9][0-9]|[12][0-9][0-9]|300)s?|[0-5]m")
_NUMBER = re.compile("[0-9]{1,19}")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query.

    @ivar read: makes the value of a text; a L{ValueError} of it says what it must be.
    @ivar schema: what values it may have, in JSON Schema.
    """

    name: str
    about: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    required: bool = False


def number(name: str, about: str, least: int, most: int, default: int | None = None) -> Parameter:
    """A parameter that is a whole number."""

    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return Parameter(name, about, read, schema)


def span(name: str, about: str) -> Parameter:
    """A parameter that is a time, in seconds or minutes."""

    def read(text: str) -> float:
        found = _SPAN.fullmatch(text)
        if not found:
            raise ValueError(f"a time from 0s to {LONGEST_WAIT}s, as 30s or 2m")
        return float(text[:-1]) * 60 if text[-1] == "m" else float(text.removesuffix("s"))

    return Parameter(name, about, read, {"type": "string", "pattern": f"^(?:{_SPAN.pattern})$"})


def flag(name: str, about: str) -> Parameter:
    """A parameter that is true or false, and false if it is absent."""

    def read(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"

    return Parameter(name, about, read, {"type": "boolean", "default": False})


def text(name: str, about: str, least: int = 0) -> Parameter:
    """A parameter that is any text.

    @param least: how many characters it has, at least; it is for whoever uses it to see to that.
    """
    return Parameter(name, about, str, {"type": "string", **({"minLength": least} if least else {})})


def needed(name: str, about: str) -> Parameter:
    """A parameter that is any text, and must be there."""
    return Parameter(name, about, str, {"type": "string", "minLength": 1}, required=True)


def choice(name: str, about: str, *values: str) -> Parameter:
    """A parameter that is one of a few words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(" or ".join(values))
        return text

    return Parameter(name, about, read, {"type": "string", "enum": list(values)})


def read_all(query: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values of a query by the names of the parameters.

    @raise Problem: a parameter that is not among these, or is there twice, or has no such value.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    for pair in query.split(b"&") if query else ():
        name, _, value = (_decoded(part) for part in pair.partition(b"="))
        if name not in known:
            there_are = ", ".join(known) or "none"
            raise bad_parameter(
                name[:40], f"There is no parameter {name[:40]!r} here; there are: {there_are}."
            )
        if name in values:
            raise bad_parameter(name, f"The parameter {name} is there twice. Give it once.")
        try:
            values[name] = known[name].read(value)
        except ValueError as error:
            raise bad_parameter(name, f"The parameter {name} is {error}.") from None
    for name, parameter in known.items():
        if parameter.required and name not in values:
            raise bad_parameter(name, f"The parameter {name} is missing: {parameter.about}")
    return values


def _decoded(part: bytes) -> str:
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise bad_parameter("", "The query of the address is not UTF-8, percent-encoded.") from None
