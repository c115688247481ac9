"""What a person types before the login: lines to login frames."""

from __future__ import annotations

from typing import Callable, Generator, Union

from chat.messages import Answer, Bye, Login
from chat.wire.text_commands import (
    NEW_PASSWORD,
    PASSWORD,
    GivenUp,
    Step,
    confirm_password,
    not_utf8,
    request,
    say,
)
from chat.wire.text_words import Ask

USERNAME = Ask(prompt="Username: ")

_HELP = (
    "Type your user name, then your password. A name that is not taken makes a new account.",
    "/quit leaves. After the login, /help lists the commands.",
)


class LoginLines:
    """The lines of one login; what a line means depends on the prompt before it."""

    def __init__(self) -> None:
        self._typed: Callable[[str], list[Step]] = self._name
        self._choosing: Generator[list[Step], Union[str, None], str] | None = None

    def prompted(self, prompt: Ask) -> None:
        """The session asks for this now."""
        self._choosing = None
        self._typed = {
            USERNAME: self._name,
            PASSWORD: self._password,
            NEW_PASSWORD: self._new_password,
        }[prompt]

    def typed(self, line: str | None) -> list[Step]:
        """What one line asks for; C{None} is a line that was not UTF-8."""
        return [not_utf8()] if line is None else self._typed(line)

    def _name(self, line: str) -> list[Step]:
        if line == "/quit":
            return [Step(Answer(Bye()))]
        if line == "/help":
            return [say(*_HELP), Step(Answer(USERNAME))]
        if not line.strip():
            return [Step(Answer(USERNAME))]
        name = line[1:] if line.startswith("//") else line
        return [request(Login(field="username", value=name))]

    def _password(self, line: str) -> list[Step]:
        return [request(Login(field="password", value=line))]

    def _new_password(self, line: str) -> list[Step]:
        try:
            if self._choosing is None:
                self._choosing = confirm_password("" if line == "/cancel" else line)
                return next(self._choosing)
            return self._choosing.send(line)
        except StopIteration as end:
            return self._password(end.value)
        except GivenUp:
            return self._password("")  # which the session refuses, and asks for a name
