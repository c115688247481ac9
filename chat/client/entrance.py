"""The answers to the server's prompts, from the first word to C{welcome}."""

from __future__ import annotations

from chat.client.errors import NoSuchAccount, NotChat, Refused
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


class Entrance:
    """Knows the name and the password, and what to say when.

    The password waits for its prompt: sent along with the name, it would create an
    account when the name is free.

    @ivar username: in its prepared form once logged in.
    @ivar server: the server's software, as it names itself.
    @ivar welcomed: whether it has ever been let in.
    """

    def __init__(self, username: str, password: str, create: bool) -> None:
        self.username = username
        self.server = ""
        self.welcomed = False
        self._passwords = [password]
        self._tried = 0
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
            return self._password()
        elif isinstance(frame, NewPassword):
            if not self._create:
                raise NoSuchAccount(self.username)
            return self._password()
        elif isinstance(frame, Failed):
            if frame.code != Code.WRONG_PASSWORD or self._tried + 1 >= len(self._passwords):
                raise Refused.by(frame)
            self._tried += 1  # the name is asked again, and we have another password
        elif isinstance(frame, Welcome):
            self.username = frame.username
            self.welcomed = True
            self._passwords = [self._passwords[self._tried]]
            self._tried = 0
            self._create = False  # should the account vanish, it must not rise again empty
        elif not isinstance(frame, Created):
            raise NotChat.by(frame)
        return None

    def perhaps(self, new: str) -> None:
        """The password is being changed: from now on either may be the right one."""
        self._passwords = [self._passwords[0], new]

    def changed(self, done: bool) -> None:
        """The password was changed, or was not."""
        self._passwords = self._passwords[-1:] if done else self._passwords[:1]

    def _check(self, version: Version) -> None:
        self.server = version.server
        if version.protocol != PROTOCOL_VERSION:
            raise NotChat.of_version(version.protocol)

    def _password(self) -> Login:
        return Login(field="password", value=self._passwords[self._tried])
