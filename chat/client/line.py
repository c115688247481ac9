"""The line client: logs a person in, and then lets them talk."""

from __future__ import annotations

from time import time
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
from chat.client.errors import (
    ClientError,
    Disconnected,
    Distrust,
    KnownServersError,
    NoSuchAccount,
    NotChat,
    Refused,
    UnknownServer,
    for_good,
    told,
)
from chat.client.introduction import asked_to_trust
from chat.client.knock import Welcoming, knock
from chat.client.memory import Memory
from chat.client.teller import Teller, WordTeller
from chat.client.trust import Trust
from chat.client.wording import Wording
from chat.errors import Code
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
        invite: str | None = None,
        recover: bool = False,
        trust: Trust | None = None,
        complain: Callable[[str], object],
        teller: Teller | None = None,
        memory: Callable[[], Memory] | None = None,
        programs: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        """
        @param username: log in under this name; otherwise it is asked.
        @param password: log in with this password; otherwise it is asked.
        @param sign_up: create the account with that password, if the name is free.
        @param invite: the code of an invitation to make an account.
        @param recover: ask for a recovery code, and make the password the new one.
        @param trust: what the endpoint asks about certificates; it is told when the person
            accepts one. Without it a server that is not known is refused.
        @param complain: told why the program ends, if it does not end well.
        @param teller: tells what happens; by default in words.
        @param memory: makes what is remembered of one account; by default nothing is.
        @param programs: a line that begins with a brace is a request in JSON.
        @param backoff: how long to wait before each attempt to connect, the first time and later.
        """
        self._reactor = reactor
        self._endpoint = endpoint
        self._codec = codec
        self._console = console
        self._username = username
        self._password = password
        self._sign_up = sign_up
        self._invite = invite
        self._recover = recover
        self._trust = trust
        self._complain = complain
        self._teller = WordTeller(console, Wording(time)) if teller is None else teller
        self._memory = memory or (lambda: Memory(reactor, None, ""))
        self._programs = programs
        self._backoff = Backoff() if backoff is None else backoff

    async def run(self) -> int:
        """Converse until the person leaves; the exit status of the program."""
        conversation = None
        try:
            await self._reach()
            conversation = await self._stay() or await self._log_in()
            while True:
                try:
                    await conversation.run()
                except LoggedOut:
                    if not self._console.interactive:
                        return DONE
                    self._username = self._password = None
                    conversation = await self._log_in()
                else:
                    return DONE
        except Leave as leave:
            return leave.status
        except EndOfInput:
            if conversation is None and not self._console.interactive:
                self._complain("The input has ended before anybody was logged in.")
                return REFUSED
            return DONE
        except ClientError as error:  # the server has refused us at its door
            self._complain(told(error))
            return REFUSED
        except OutputGone:
            return REFUSED
        except CancelledError:  # the console was closed while it asked
            return INTERRUPTED

    async def _reach(self, username: str | None = None) -> Welcoming:
        """Knock until somebody opens; a script is told at once that nobody does."""
        while True:
            try:
                there = await knock(self._reactor, self._endpoint, self._codec, username, self._invite)
            except UnknownServer as error:
                await self._meet(error)
            except Distrust as error:
                raise self._refuse(error) from None
            except Disconnected as error:
                if username is not None and for_good(error, False):
                    raise  # of another name the server may think better
                if isinstance(error, NotChat) or not self._console.interactive:
                    self._complain(told(error))
                    raise Leave(UNREACHABLE) from None
                delay = self._backoff.next()
                self._teller.disconnected(error, delay)
                await deferLater(self._reactor, delay)
            else:
                self._backoff.reset()
                if username is None:
                    self._teller.note(f"Connected to {visible(there.server)}.")
                return there

    async def _meet(self, error: UnknownServer) -> None:
        """Only the person can tell whether this server is the right one."""
        if self._trust is None or not self._console.interactive:
            raise self._refuse(error)
        if not await asked_to_trust(self._console, error):
            self._complain("Nothing was sent.")
            raise Leave(REFUSED)
        try:
            self._trust.accept(error)
        except KnownServersError as unwritten:
            self._teller.note(f"{unwritten} So you will be asked again the next time.")
        except Distrust as changed:
            raise self._refuse(changed) from None

    def _refuse(self, error: Distrust) -> Leave:
        self._complain(told(error))
        return Leave(REFUSED)

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
                password, create, recovery = self._password, self._sign_up, None
                if self._recover:
                    password, recovery = await self._ask_recovery(username)
                elif password is None:
                    password, create = await self._ask_password(username)
                if password:
                    conversation = self._conversation(self._memory())
                    await conversation.start(
                        self._endpoint, self._codec, username, password, create, self._invite, recovery
                    )
                    self._invite, self._recover = None, False
                    return conversation
            except ClientError as error:
                self._failed(error, fixed)
            self._username = None

    def _failed(self, error: ClientError, useless: bool = False) -> None:
        """Tell why somebody was not let in.

        @param useless: it is of no use to ask the person again.
        @raise Leave: it is not, for that or another reason.
        """
        if isinstance(error, Distrust):
            raise self._refuse(error) from None
        useless = useless or (isinstance(error, Refused) and error.code == Code.WRONG_INVITE)
        if useless or not self._console.interactive or isinstance(error, NotChat):
            self._complain(told(error))
            raise Leave(UNREACHABLE if isinstance(error, Disconnected) else REFUSED) from None
        self._teller.note(told(error))

    async def _stay(self) -> Conversation | None:
        """Log in without a password, if somebody has stayed logged in."""
        memory = self._memory()
        stayed = memory.stayed(self._username)
        if stayed is None or self._password is not None or self._recover or self._invite is not None:
            return None
        conversation = self._conversation(memory)
        try:
            await conversation.start(self._endpoint, self._codec, stayed[0], None, token=stayed[1])
        except Refused as error:
            self._teller.note(f"{visible(stayed[0])} does not stay logged in any more: {told(error)}")
        except ClientError as error:
            self._failed(error)
        else:
            return conversation
        return None

    def _conversation(self, memory: Memory) -> Conversation:
        return Conversation(
            self._reactor,
            self._console,
            self._teller,
            memory,
            self._complain,
            self._backoff,
            self._programs,
        )

    async def _ask_password(self, username: str) -> tuple[str, bool]:
        there = await self._reach(username)
        if there.new and not (self._console.interactive or self._sign_up):
            raise NoSuchAccount(username)
        if there.new:
            self._teller.note("This name is free. A password makes the account; Enter goes back.")
            return await self._ask_new_password(), True
        if self._invite is not None:
            self._teller.note("This name is taken. If it is yours, type its password; Enter goes back.")
        return await self._ask("Password: ", hidden=True), False

    async def _ask_recovery(self, username: str) -> tuple[str, str]:
        """A new password, and the code that makes it valid; both are asked unless they are given."""
        there = await self._reach(username)
        if there.new:
            raise NoSuchAccount(username)
        code = await self._ask("Recovery code: ", hidden=True)
        if not code:
            return "", ""
        return self._password or await self._ask_new_password(), code

    async def _ask_new_password(self) -> str:
        while True:
            password = await self._ask("New password: ", hidden=True)
            if not password or await self._ask("Again: ", hidden=True) == password:
                return password
            self._teller.note("The two were not the same. Type both again.")

    async def _ask(self, prompt: str, hidden: bool = False) -> str:
        while (line := await self._console.ask(prompt, hidden)) is None:
            self._teller.note("That line was not text; type it again.")
        return line
