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
    PasswordChanged,
    Username,
    Version,
    Welcome,
)

#: How servers refuse a token: those that know tokens, and those that do not.
_TOKEN_REFUSED = frozenset({Code.WRONG_TOKEN, Code.BAD_FRAME})
#: How they refuse a code that is used up, or none.
_CODE_REFUSED = frozenset({Code.WRONG_INVITE, Code.WRONG_RECOVERY})


class Entrance:
    """Knows the name, the password and the token, and what to say when.

    The token is tried first; when it is not taken, the password is.  Either waits for its
    prompt: sent along with the name, a password would create an account when the name is
    free.

    @ivar username: in its prepared form once logged in.
    @ivar server: the server's software, as it names itself.
    @ivar welcomed: whether it has ever been let in.
    """

    def __init__(
        self,
        username: str,
        password: str | None,
        create: bool,
        token: TokenKeeper,
        invite: str | None = None,
        recovery: str | None = None,
    ) -> None:
        """
        @param create: sign up, if the name is free.
        @param invite: the code of an invitation to do so.
        @param recovery: a code with which to replace the account's password by this one.
        """
        self.username = username
        self.server = ""
        self.welcomed = False
        self._passwords = [] if password is None else [password]
        self._present = self._passwords
        self._tried = 0
        self._token = token
        self._shown = False  # the last thing said was the token
        self._create = create
        self._invite = invite
        self._invited = False  # in this conversation
        self._recovery = recovery
        self._recovering = False  # the last thing said was the recovery code
        self._chosen = False  # the last thing said was a password for the server to keep
        self._perhaps_kept = False  # the connection was lost after that

    def answer(self, frame: Frame) -> Login | None:
        """What to say to this frame, if anything.

        @raise Refused: the server did not let us in; C{slow-down} says to try later.
        @raise NoSuchAccount: the name is free, and was not to be signed up.
        @raise NotChat: this is no conversation that we could hold.
        """
        if isinstance(frame, Version):
            self._begin(frame)
        elif isinstance(frame, Username):
            if self._invite is None or self._invited:
                return Login(field="username", value=self.username)
            self._invited = True
            return Login(field="invite", value=self._invite)
        elif isinstance(frame, Password):
            if self._recovery is not None:
                self._recovering = True
                return Login(field="recovery", value=self._recovery)
            if self._token.value is not None:
                self._shown = True
                return Login(field="token", value=self._token.value)
            return self._password()
        elif isinstance(frame, NewPassword):
            if not (self._create or self._recovering):
                raise NoSuchAccount(self.username)
            self._chosen = True
            return self._password(codes=not self._recovering)
        elif isinstance(frame, Failed):
            self._refused(frame)
        elif isinstance(frame, Welcome):
            self.username = frame.username
            self.welcomed = True
            if not self._shown:
                self._passwords = self._passwords[self._tried : self._tried + 1]
            self._shown = False
            self._tried = 0
            self._create = False  # should the account vanish, it must not rise again empty
            self._kept()
        elif isinstance(frame, Created) or (isinstance(frame, PasswordChanged) and self._chosen):
            self._kept()
        else:
            raise NotChat.by(frame)
        return None

    def _refused(self, frame: Failed) -> None:
        """Find another way in.

        @raise Refused: there is none.
        """
        if self._shown and frame.code in _TOKEN_REFUSED:
            self._shown = False
            self._token.refused()
        elif self._perhaps_kept and frame.code in _CODE_REFUSED:
            # It was taken before the connection was lost: the password is in force.
            self._kept()
        elif frame.code == Code.WRONG_PASSWORD and self._tried + 1 < len(self._passwords):
            self._tried += 1  # the name is asked again, and we have another password
        else:
            raise Refused.by(frame)

    def _kept(self) -> None:
        """The server has the password; the codes that were good for that are of no more use."""
        self._invite = self._recovery = None
        self._recovering = self._chosen = self._perhaps_kept = False

    def perhaps(self, new: str) -> None:
        """The password is being changed: from now on either may be the right one."""
        self._present = self._passwords[:1]
        self._passwords = [*self._present, new]

    def changed(self, done: bool) -> None:
        """The password was changed, or was not."""
        self._passwords = self._passwords[-1:] if done else self._present

    def _begin(self, version: Version) -> None:
        """A conversation begins; of the last one we may not have heard the end."""
        self._perhaps_kept = self._perhaps_kept or self._chosen
        self._invited = self._recovering = self._chosen = False
        self.server = version.server
        if version.protocol != PROTOCOL_VERSION:
            raise NotChat.of_version(version.protocol)

    def _password(self, codes: bool = False) -> Login:
        if not self._passwords:
            raise Refused(Code.WRONG_TOKEN.value, "The token was not taken, and there is no password.")
        return Login(field="password", value=self._passwords[self._tried], codes=codes)
