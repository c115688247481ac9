"""The modules of the page in one file, which a browser has sooner than two dozen that name each other.

They stay what they are, modules that any browser runs one by one; here each becomes a function that gives
what it exports, and they stand behind those that they need.
"""

from __future__ import annotations

import re
from typing import Mapping

_IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+) from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|class|(?:async )?function\*?) ([\w$]+))", re.MULTILINE)
_STRANGE = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def joined(modules: Mapping[str, str], first: str) -> str:
    """A script that does what this module does, with all that it needs.

    @raise ValueError: a module imports or exports in a way that is not known here, something that is not
        there, or one that needs it itself.
    """
    order: list[str] = []
    _gather(modules, first, (), order)
    return "".join(_as_function(name, modules[name]) for name in order)


def _gather(modules: Mapping[str, str], name: str, asking: tuple[str, ...], order: list[str]) -> None:
    """Put this one into the order, behind those that it needs, in the order of its imports."""
    if name in order:
        return
    if name in asking or name not in modules:
        raise ValueError(f"{name} is not there, or needs itself: {' needs '.join((*asking, name))}")
    for _, needed in _IMPORT.findall(modules[name]):
        _gather(modules, needed, (*asking, name), order)
    order.append(name)


def _as_function(name: str, module: str) -> str:
    """A module as a constant that has what it exports."""

    def imported(found: re.Match[str]) -> str:
        names, needed = found.groups()
        names = names.removeprefix("* as ") if names.startswith("*") else names.replace(" as ", ": ")
        return f"const {names} = {_constant(needed)};\n"

    exports = _EXPORT.findall(module)
    body = _EXPORT.sub("", _IMPORT.sub(imported, module))
    if (strange := _STRANGE.search(body)) is not None:
        raise ValueError(f"{name} has an import or export that is not known: {strange[0]}")
    return (
        f"// {name}\nconst {_constant(name)} = (() => {{\n{body}return {{ {', '.join(exports)} }};\n}})();\n"
    )


def _constant(name: str) -> str:
    return "$" + name.removesuffix(".js").replace("-", "_")
