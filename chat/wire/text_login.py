"""What a person types before the login: lines to login frames."""

from __future__ import annotations

from typing import Callable, Generator, Union

from chat.messages import Answer, Bye, Login
from chat.wire.text_commands import (
    NEW_PASSWORD,
    PASSWORD,
    TOKEN,
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
    "To log in with a token: /token NAME. /quit leaves. After the login, /help lists the commands.",
)


class LoginLines:
    """The lines of one login; what a line means depends on the prompt before it."""

    def __init__(self) -> None:
        self._typed: Callable[[str], list[Step]] = self._name
        self._with_token = False  # the name was given to be followed by a token
        self._choosing: Generator[list[Step], Union[str, None], str] | None = None

    def prompted(self, prompt: Ask) -> Ask:
        """The session asks for this now; what the person is asked."""
        self._choosing = None
        if self._with_token and prompt == PASSWORD:
            prompt = TOKEN
        self._with_token = False
        self._typed = {
            USERNAME: self._name,
            PASSWORD: self._password,
            TOKEN: self._token,
            NEW_PASSWORD: self._new_password,
        }[prompt]
        return prompt

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
        command, _, rest = line.partition(" ")
        if command == "/token":
            if not rest.strip():
                return [say("To log in with a token: /token NAME"), Step(Answer(USERNAME))]
            self._with_token = True
            return [request(Login(field="username", value=rest))]
        name = line[1:] if line.startswith("//") else line
        return [request(Login(field="username", value=name))]

    def _password(self, line: str) -> list[Step]:
        return [request(Login(field="password", value=line))]

    def _token(self, line: str) -> list[Step]:
        return [request(Login(field="token", value=line.strip()))]

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
