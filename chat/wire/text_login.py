"""What a person types before the login: lines to login frames."""

from __future__ import annotations

from typing import Callable, Generator, Union

from chat.errors import Code
from chat.invitation import looks_like, parse
from chat.messages import Answer, Bye, Login
from chat.wire.text_commands import (
    NEW_PASSWORD,
    PASSWORD,
    RECOVERY,
    TOKEN,
    GivenUp,
    Step,
    confirm_password,
    fail,
    not_utf8,
    request,
    say,
)
from chat.wire.text_words import Ask

USERNAME = Ask(prompt="Username: ")

_HELP = (
    "Type your user name, then your password. A name that is not taken makes a new account.",
    "Have you been invited? Paste the invitation, or type /invite CODE, before you choose a name.",
    "Have you forgotten your password? /recover NAME asks for one of your recovery codes.",
    "To log in with a token: /token NAME. /quit leaves. After the login, /help lists the commands.",
)
#: What is asked for in place of the password, by the command that a name was given with.
_INSTEAD = {"/token": TOKEN, "/recover": RECOVERY}
_USAGE = {
    "/token": "To log in with a token: /token NAME",
    "/recover": "To choose a new password with a recovery code: /recover NAME",
    "/invite": "To sign up with an invitation: /invite CODE",
}


class LoginLines:
    """The lines of one login; what a line means depends on the prompt before it."""

    def __init__(self) -> None:
        self._typed: Callable[[str], list[Step]] = self._name
        self._instead: Ask | None = None  # what is asked for next in place of the password
        self._asked = USERNAME  # what is asked for now
        self._recovering = False  # a recovery code was typed; what comes next is about that
        self._choosing: Generator[list[Step], Union[str, None], str] | None = None

    def prompted(self, prompt: Ask) -> Ask:
        """The session asks for this now; what the person is asked."""
        self._choosing = None
        if self._instead is not None and prompt == PASSWORD:
            prompt = self._instead
        self._instead = None
        self._asked = prompt
        self._recovering = self._recovering and prompt == NEW_PASSWORD
        self._typed = {
            USERNAME: self._name,
            PASSWORD: self._password,
            TOKEN: self._token,
            RECOVERY: self._code,
            NEW_PASSWORD: self._new_password,
        }[prompt]
        return prompt

    @property
    def about_new_password(self) -> str:
        """What a new password is asked for."""
        if self._recovering:
            return "That code is good. Choose a new password; Enter goes back, and the code stays good."
        return "This name is free. A password makes the account; Enter goes back."

    def typed(self, line: str | None) -> list[Step]:
        """What one line asks for; C{None} is a line that was not UTF-8."""
        if line is not None:
            return self._typed(line)
        if self._asked in _INSTEAD.values():  # and so it is when the session asks again
            self._instead = self._asked
        return [not_utf8()]

    def _name(self, line: str) -> list[Step]:
        if line == "/quit":
            return [Step(Answer(Bye()))]
        if line == "/help":
            return [say(*_HELP), Step(Answer(USERNAME))]
        if not line.strip():
            return [Step(Answer(USERNAME))]
        if looks_like(line):
            try:
                return [request(Login(field="invite", value=parse(line).code))]
            except ValueError as error:
                return [fail(Code.WRONG_INVITE, str(error))]  # behind which the session asks again
        command, _, rest = line.partition(" ")
        if command in _USAGE:
            if not rest.strip():
                return [say(_USAGE[command]), Step(Answer(USERNAME))]
            if command == "/invite":
                return [request(Login(field="invite", value=rest.strip()))]
            self._instead = _INSTEAD[command]
            return [request(Login(field="username", value=rest))]
        name = line[1:] if line.startswith("//") else line
        return [request(Login(field="username", value=name))]

    def _password(self, line: str) -> list[Step]:
        return [request(Login(field="password", value=line))]

    def _token(self, line: str) -> list[Step]:
        return [request(Login(field="token", value=line.strip()))]

    def _code(self, line: str) -> list[Step]:
        self._recovering = True
        return [request(Login(field="recovery", value=line.strip()))]

    def _new_password(self, line: str) -> list[Step]:
        try:
            if self._choosing is None:
                self._choosing = confirm_password("" if line == "/cancel" else line)
                return next(self._choosing)
            return self._choosing.send(line)
        except StopIteration as end:
            chosen = end.value
        except GivenUp:
            chosen = ""  # which the session refuses, and asks for a name
        return [request(Login(field="password", value=chosen, codes=not self._recovering))]
