"""The line client: logs a person in, and then lets them talk."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater

from chat.client.backoff import Backoff
from chat.client.console import Console, EndOfInput, OutputGone
from chat.client.conversation import (
    DONE,
    INTERRUPTED,
    REFUSED,
    UNREACHABLE,
    Conversation,
    Leave,
    LoggedOut,
)
from chat.client.errors import ClientError, Disconnected, NotChat
from chat.client.knock import Welcoming, knock
from chat.wire import Codec
from chat.wire.text_words import visible


class LineClient:
    """Logs a person in, and then is the conversation that L{Conversation} holds."""

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        codec: Codec,
        console: Console,
        *,
        username: str | None = None,
        password: str | None = None,
        sign_up: bool = False,
        complain: Callable[[str], object],
        backoff: Backoff | None = None,
    ) -> None:
        """
        @param username: log in under this name; otherwise it is asked.
        @param password: log in with this password; otherwise it is asked.
        @param sign_up: create the account with that password, if the name is free.
        @param complain: told why the program ends, if it does not end well.
        """
        self._reactor = reactor
        self._endpoint = endpoint
        self._codec = codec
        self._console = console
        self._username = username
        self._password = password
        self._sign_up = sign_up
        self._complain = complain
        self._backoff = Backoff() if backoff is None else backoff

    async def run(self) -> int:
        """Converse until the person leaves; the exit status of the program."""
        try:
            await self._reach()
            while True:
                conversation = await self._log_in()
                try:
                    await conversation.run()
                except LoggedOut:
                    self._username = self._password = None
                    continue
                return DONE
        except Leave as leave:
            return leave.status
        except EndOfInput:
            return DONE
        except OutputGone:
            return REFUSED
        except CancelledError:  # the console was closed while it asked
            return INTERRUPTED

    async def _reach(self, username: str | None = None) -> Welcoming:
        """Knock until somebody opens; a script is told at once that nobody does."""
        while True:
            try:
                there = await knock(self._reactor, self._endpoint, self._codec, username)
            except Disconnected as error:
                if isinstance(error, NotChat) or not self._console.interactive:
                    self._complain(str(error))
                    raise Leave(UNREACHABLE) from None
                delay = self._backoff.next()
                self._console.show(f"{visible(str(error))} Trying again in {delay:.0f} s.")
                await deferLater(self._reactor, delay)
            else:
                self._backoff.reset()
                if username is None:
                    self._console.show(f"Connected to {visible(there.server)}.")
                return there

    async def _log_in(self) -> Conversation:
        """Ask for what is not known, until the server is content."""
        while True:
            fixed = self._username is not None and self._password is not None
            username = self._username
            if username is None:
                username = await self._ask("Username: ")
                if not username:
                    continue
            try:
                password, create = self._password, self._sign_up
                if password is None:
                    password, create = await self._ask_password(username)
                if password:
                    conversation = Conversation(self._reactor, self._console, self._complain)
                    await conversation.start(self._endpoint, self._codec, username, password, create)
                    return conversation
            except ClientError as error:
                if fixed or not self._console.interactive or isinstance(error, NotChat):
                    self._complain(str(error))
                    status = UNREACHABLE if isinstance(error, Disconnected) else REFUSED
                    raise Leave(status) from None
                self._console.show(visible(str(error)))
            self._username = None

    async def _ask_password(self, username: str) -> tuple[str, bool]:
        there = await self._reach(username)
        if not there.new:
            return await self._ask("Password: ", hidden=True), False
        self._console.show("This name is free. A password makes the account; Enter goes back.")
        while True:
            password = await self._ask("New password: ", hidden=True)
            if not password or await self._ask("Again: ", hidden=True) == password:
                return password, True
            self._console.show("The two were not the same. Type both again.")

    async def _ask(self, prompt: str, hidden: bool = False) -> str:
        while (line := await self._console.ask(prompt, hidden)) is None:
            self._console.show("That line was not text; type it again.")
        return line
