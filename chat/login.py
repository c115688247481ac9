"""The login part of a conversation: prompt by prompt, from a stranger to an account.

It ends with the account that has proven itself, or begins again with the user
name; creating an account and replacing a forgotten password are ways through it,
too, and then the user logs in.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Union

from chat.accounts import Accounts, Admission, Recovering
from chat.errors import Code, Refusal
from chat.journal import Event, tell
from chat.limits.throttle import WRONG
from chat.messages import (
    Created,
    Frame,
    Login,
    NewPassword,
    Password,
    PasswordChanged,
    System,
    Username,
    keyword,
)
from chat.origin import Origin
from chat.prepared import prepare_name
from chat.refusals import failed

#: What one step of a login comes to: its answer, or the account that is logged in now.
Outcome = Union["list[Frame]", Admission]

#: Which prompts each field answers. A token or a recovery code is shown in place of a password, also
#: of one to be chosen: the client need not know whether the name is known.
_FIELDS = {
    "username": (Username,),
    "invite": (Username,),
    "password": (Password, NewPassword),
    "token": (Password, NewPassword),
    "recovery": (Password, NewPassword),
}


class Introduction:
    """Asks one stranger for a name and its password."""

    __slots__ = (
        "_accounts",
        "_begun",
        "_invitation",
        "_name",
        "_origin",
        "_recovering",
        "prompt",
        "tell_login",
    )

    def __init__(self, accounts: Accounts, origin: Origin) -> None:
        """Ask for the name of one of these accounts.

        @param origin: where the stranger comes from.
        @ivar prompt: what the stranger is asked now.
        @ivar tell_login: logs a login; as L{tell} does.
        """
        self._accounts = accounts
        self._origin = origin
        self._name = ""  # the prepared name whose password is awaited
        self._invitation: bytes | None = None  # until it is used
        self._begun = 0.0  # the step under way
        self._recovering: Recovering | None = None  # who has shown a code, and chooses a password
        self.prompt: System = Username()
        self.tell_login: Callable[..., None] = tell

    def take(self, frame: Login) -> Coroutine[Any, Any, Outcome]:
        """The step that this answer to a prompt asks for.

        @raise chat.errors.Refusal: C{bad-frame}, C{bad-state}: it answers no prompt, or another one.
        """
        prompts = _FIELDS.get(frame.field)
        if prompts is None:
            fields = "username, invite, password, token or recovery"
            raise Refusal(Code.BAD_FRAME, f"A login frame's field is {fields}.")
        if not isinstance(self.prompt, prompts):
            raise Refusal(Code.BAD_STATE, f"The {keyword(self.prompt)} is awaited now.")
        self._begun = self._accounts.begin()
        accounts, name, network, value = self._accounts, self._name, self._origin.network, frame.value
        if frame.field == "invite":
            return self._take_invitation(value)
        if isinstance(self.prompt, Username):
            return self._take_name(value)
        recovering, self._recovering = self._recovering, None
        if frame.field == "token":
            return self._prove(accounts.resume(name, value, network))
        if frame.field == "recovery":
            return self._take_code(value)
        if isinstance(self.prompt, Password):
            return self._prove(accounts.log_in(name, value, network))
        if recovering is not None:
            return self._recover(recovering, value)
        return self._take_new_password(value, frame.codes)

    async def _take_invitation(self, value: str) -> Outcome:
        self._name = ""  # it is nobody's
        try:
            self._invitation = await self._accounts.invited(value, self._origin.network)
        except Refusal as refusal:
            return await self._refused(refusal)
        return [self.prompt]

    async def _take_name(self, value: str) -> Outcome:
        try:
            self._name = prepare_name(value)
            offered = await self._accounts.offer(self._name, self._invitation, self._origin.network)
        except Refusal as refusal:
            return self._again(failed(refusal))
        self.prompt = NewPassword() if offered else Password()
        return [self.prompt]

    async def _prove(self, proof: Coroutine[Any, Any, Admission]) -> Outcome:
        try:
            admission = await proof
        except Refusal as refusal:
            return await self._refused(refusal)
        shown = "password" if admission.token is None else "token"
        self.tell_login(Event.LOGGED_IN, self._origin, admission.account.name, proof=shown)
        # Whoever logs out is asked who they are anew.
        self.prompt = Username()
        self._invitation = None
        return admission

    async def _take_code(self, value: str) -> Outcome:
        try:
            self._recovering = await self._accounts.recovering(self._name, value, self._origin.network)
        except Refusal as refusal:
            return await self._refused(refusal)
        self.prompt = NewPassword()
        return [self.prompt]

    async def _recover(self, recovering: Recovering, value: str) -> Outcome:
        try:
            await self._accounts.recover(recovering, value)
        except Refusal as refusal:
            return await self._refused(refusal)
        tell(Event.RECOVERED, self._origin, recovering.account.name)
        return self._again(PasswordChanged())

    async def _take_new_password(self, value: str, wanted: bool) -> Outcome:
        codes = self._accounts.new_recovery_codes() if wanted else []
        try:
            account = await self._accounts.sign_up(
                self._name, value, codes, self._invitation, self._origin.network
            )
        except Refusal as refusal:
            return self._again(failed(refusal))
        self._invitation = None
        tell(Event.SIGNED_UP, self._origin, account.name)
        return self._again(Created(username=account.name, recovery=codes))

    async def _refused(self, refusal: Refusal) -> list[Frame]:
        """Begin again; log it if something was wrong that could have been guessed."""
        # Where too many guess, the answer hides what was wrong; from the log it is not hidden.
        wrong = refusal if refusal.code in WRONG else refusal.__cause__
        if isinstance(wrong, Refusal):
            # In the same way whether there is such an account or not.
            known = await self._accounts.exists(self._name)
            tell(Event.LOGIN_FAILED, self._origin, self._name if known else None, code=wrong.code.value)
        # Whoever is too fast, too, may have been looked up before that was found.
        await self._accounts.may_refuse(self._begun)
        return self._again(failed(refusal))

    def _again(self, frame: Frame) -> list[Frame]:
        """Say C{frame}, and ask for the name."""
        self.prompt = Username()
        return [frame, self.prompt]
