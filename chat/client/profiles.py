"""Accounts and servers by a name of one's own: C{chat --profile work}."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Union

from chat.client import places

#: The profile of who names none.
DEFAULT = "default"

#: What a profile may say.
Setting = Union[str, bool]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


class ProfileError(Exception):
    """A profile, or the file of them, is none; the text says what is wrong with it."""


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("it is yes or no") from None


def _one_of(*words: str) -> Callable[[str], str]:
    def checked(text: str) -> str:
        if text not in words:
            raise ValueError(f"it is {' or '.join(words)}")
        return text

    return checked


#: What a profile can say, which is what the options of the same name say.
KEYS: Mapping[str, Callable[[str], Setting]] = {
    "server": str,
    "user": str,
    "password-file": os.path.expanduser,
    "codec": _one_of("json", "der"),
    "trust": str,
    "accept-new": _boolean,
    "plaintext": _boolean,
    "plain": _boolean,
    "color": _one_of("auto", "always", "never"),
    "bell": _boolean,
    "stay": _boolean,
    "history": _boolean,
    "outbox": _boolean,
}

_BEGINNING = """\
# Profiles of the chat client; see: chat profile --help. Never write a password here.
"""


class Profiles:
    """The profiles of this user, in a file that a person can edit."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = places.settings() / "profiles.ini" if path is None else path

    def __iter__(self) -> Iterator[str]:
        """Their names.

        @raise ProfileError: the file cannot be read.
        """
        yield from self._read().sections()

    def settings(self, name: str | None) -> dict[str, Setting]:
        """What a profile says, by the keys of L{KEYS}.

        @param name: C{None}: that of who names none, which need not exist.
        @raise ProfileError: there is none of this name, or it is not one.
        """
        if name is not None:
            checked(name)
        read = self._read()
        section = DEFAULT if name is None else name
        if not read.has_section(section):
            if name is None or name == DEFAULT:
                return {}
            there = ", ".join(read.sections()) or "none yet"
            raise ProfileError(
                f"there is no profile {name!r} in {self.path}; there: {there}."
                f" To make it: chat profile {name} HOST:PORT --user NAME"
            )
        return dict(self._setting(section, key, text) for key, text in read.items(section))

    def add(self, name: str, settings: Mapping[str, Setting]) -> None:
        """Write down a new profile, below those that are there.

        @raise ProfileError: there is one of this name, or it cannot be written.
        """
        checked(name)
        if name in self:
            raise ProfileError(f"there is a profile {name!r} already; to change it, edit {self.path}")
        lines = [f"[{name}]", *(f"{key} = {_said(value)}" for key, value in settings.items())]
        if any("\n" in line or "\r" in line for line in lines):
            raise ProfileError("what a profile says has no line ends in it")
        try:
            new = not self.path.exists()
            places.private(self.path.parent)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write((_BEGINNING if new else "") + "".join(f"{line}\n" for line in ("", *lines)))
        except OSError as error:
            raise ProfileError(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self) -> configparser.ConfigParser:
        read = configparser.ConfigParser(default_section="", interpolation=None)
        try:
            with open(self.path, encoding="utf-8") as file:
                read.read_file(file)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ProfileError(f"{self.path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ProfileError(f"{self.path} is not UTF-8 text") from None
        except configparser.Error as error:
            # Its own text would repeat lines of the file.
            line = getattr(error, "lineno", None) or (getattr(error, "errors", None) or [("?", "")])[0][0]
            raise ProfileError(
                f"line {line} of {self.path} is not understood: it should be [NAME] or KEY = VALUE,"
                " and nothing twice"
            ) from None
        return read

    def _setting(self, section: str, key: str, text: str) -> tuple[str, Setting]:
        where = f"[{section}] in {self.path}"
        if key in ("password", "token"):
            raise ProfileError(f"{where} holds a {key}, which is no place for it; use password-file or stay")
        if key not in KEYS:
            raise ProfileError(f"{where}: there is no {key!r}; there is {', '.join(KEYS)}")
        try:
            return key, KEYS[key](text)
        except ValueError as error:
            raise ProfileError(f"{where}: {key} is not {text!r}; {error}") from None


def checked(name: str) -> str:
    """A profile's name, as it is.

    @raise ProfileError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ProfileError(f"{name!r} is no name of a profile: letters, digits and ._- make one")
    return name


def _said(value: Setting) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"
