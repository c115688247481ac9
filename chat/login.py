"""The login part of a conversation: prompt by prompt, from a stranger to an account.

It ends with the account that has proven itself, or begins again with the user
name; creating an account is a way through it, too, and then the new user logs in.
"""

from __future__ import annotations

from typing import Any, Coroutine, Union

from chat.accounts import Accounts, Admission, prepare_name
from chat.errors import Code, Refusal
from chat.mailroom import failed
from chat.messages import Created, Frame, Login, NewPassword, Password, System, Username, keyword

#: What one step of a login comes to: its answer, or the account that is logged in now.
Outcome = Union["list[Frame]", Admission]

#: Which prompts each field answers. A token is shown in place of a password, also of one to be
#: chosen: the client need not know whether the name is known.
_FIELDS = {
    "username": (Username,),
    "password": (Password, NewPassword),
    "token": (Password, NewPassword),
}


class Introduction:
    """Asks one stranger for a name and its password."""

    __slots__ = ("_accounts", "_name", "prompt")

    def __init__(self, accounts: Accounts) -> None:
        """Ask for the name of one of these accounts.

        @ivar prompt: what the stranger is asked now.
        """
        self._accounts = accounts
        self._name = ""  # the prepared name whose password is awaited
        self.prompt: System = Username()

    def take(self, frame: Login) -> Coroutine[Any, Any, Outcome]:
        """The step that this answer to a prompt asks for.

        @raise chat.errors.Refusal: C{bad-frame}, C{bad-state}: it answers no prompt, or another one.
        """
        prompts = _FIELDS.get(frame.field)
        if prompts is None:
            raise Refusal(Code.BAD_FRAME, "A login frame's field is username, password or token.")
        if not isinstance(self.prompt, prompts):
            raise Refusal(Code.BAD_STATE, f"The {keyword(self.prompt)} is awaited now.")
        if isinstance(self.prompt, Username):
            return self._take_name(frame.value)
        if frame.field == "token":
            return self._prove(self._accounts.resume(self._name, frame.value))
        if isinstance(self.prompt, Password):
            return self._prove(self._accounts.log_in(self._name, frame.value))
        return self._take_new_password(frame.value)

    async def _take_name(self, value: str) -> Outcome:
        try:
            self._name = prepare_name(value)
            offered = await self._accounts.offer(self._name)
        except Refusal as refusal:
            return self._again(failed(refusal))
        self.prompt = NewPassword() if offered else Password()
        return [self.prompt]

    async def _prove(self, proof: Coroutine[Any, Any, Admission]) -> Outcome:
        try:
            admission = await proof
        except Refusal as refusal:
            return self._again(failed(refusal))
        # Whoever logs out is asked who they are anew.
        self.prompt = Username()
        return admission

    async def _take_new_password(self, value: str) -> Outcome:
        try:
            account = await self._accounts.sign_up(self._name, value)
        except Refusal as refusal:
            return self._again(failed(refusal))
        return self._again(Created(username=account.name))

    def _again(self, frame: Frame) -> list[Frame]:
        """Say C{frame}, and ask for the name."""
        self.prompt = Username()
        return [frame, self.prompt]
