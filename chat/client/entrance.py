"""The answers to the server's prompts, from the first word to C{welcome}."""

from __future__ import annotations

from chat.client.errors import NoSuchAccount, NotChat, Refused
from chat.client.token import TokenKeeper
from chat.errors import Code
from chat.messages import (
    PROTOCOL_VERSION,
    Created,
    Failed,
    Frame,
    Login,
    NewPassword,
    Password,
    Username,
    Version,
    Welcome,
)

#: How servers refuse a token: those that know tokens, and those that do not.
_TOKEN_REFUSED = frozenset({Code.WRONG_TOKEN, Code.BAD_FRAME})


class Entrance:
    """Knows the name, the password and the token, and what to say when.

    The token is tried first; when it is not taken, the password is.  Either waits for its
    prompt: sent along with the name, a password would create an account when the name is
    free.

    @ivar username: in its prepared form once logged in.
    @ivar server: the server's software, as it names itself.
    @ivar welcomed: whether it has ever been let in.
    """

    def __init__(self, username: str, password: str | None, create: bool, token: TokenKeeper) -> None:
        self.username = username
        self.server = ""
        self.welcomed = False
        self._passwords = [] if password is None else [password]
        self._present = self._passwords
        self._tried = 0
        self._token = token
        self._shown = False  # the last thing said was the token
        self._create = create

    def answer(self, frame: Frame) -> Login | None:
        """What to say to this frame, if anything.

        @raise Refused: the server did not let us in; C{slow-down} says to try later.
        @raise NoSuchAccount: the name is free, and was not to be signed up.
        @raise NotChat: this is no conversation that we could hold.
        """
        if isinstance(frame, Version):
            self._check(frame)
        elif isinstance(frame, Username):
            return Login(field="username", value=self.username)
        elif isinstance(frame, Password):
            if self._token.value is not None:
                self._shown = True
                return Login(field="token", value=self._token.value)
            return self._password()
        elif isinstance(frame, NewPassword):
            if not self._create:
                raise NoSuchAccount(self.username)
            return self._password()
        elif isinstance(frame, Failed) and self._shown and frame.code in _TOKEN_REFUSED:
            self._shown = False
            self._token.refused()
        elif isinstance(frame, Failed):
            if frame.code != Code.WRONG_PASSWORD or self._tried + 1 >= len(self._passwords):
                raise Refused.by(frame)
            self._tried += 1  # the name is asked again, and we have another password
        elif isinstance(frame, Welcome):
            self.username = frame.username
            self.welcomed = True
            if not self._shown:
                self._passwords = [self._passwords[self._tried]]
            self._shown = False
            self._tried = 0
            self._create = False  # should the account vanish, it must not rise again empty
        elif not isinstance(frame, Created):
            raise NotChat.by(frame)
        return None

    def perhaps(self, new: str) -> None:
        """The password is being changed: from now on either may be the right one."""
        self._present = self._passwords[:1]
        self._passwords = [*self._present, new]

    def changed(self, done: bool) -> None:
        """The password was changed, or was not."""
        self._passwords = self._passwords[-1:] if done else self._present

    def _check(self, version: Version) -> None:
        self.server = version.server
        if version.protocol != PROTOCOL_VERSION:
            raise NotChat.of_version(version.protocol)

    def _password(self) -> Login:
        if not self._passwords:
            raise Refused(Code.WRONG_TOKEN.value, "The token was not taken, and there is no password.")
        return Login(field="password", value=self._passwords[self._tried])
