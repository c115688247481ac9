"""What one account says and hears at a console, from the login until it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Optional

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.backoff import Backoff
from chat.client.client import Client
from chat.client.commands import ClientCommands, from_program
from chat.client.completion import Acquaintances
from chat.client.console import Console, EndOfInput, OutputGone
from chat.client.errors import ClientError, Distrust, Refused, Stopped, told
from chat.client.letters import Letters
from chat.client.memory import Memory
from chat.client.questions import ask
from chat.client.teller import Teller
from chat.client.wording import unsent
from chat.messages import (
    Answer,
    Created,
    DeleteAccount,
    Failed,
    Frame,
    Incoming,
    Logout,
    Message,
    Quit,
    TokenIssued,
    Welcome,
)
from chat.wire import Codec
from chat.wire import text_words as words
from chat.wire.text_words import NOTHING, Ask, Asked, Said

#: Exit statuses.
DONE, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 5, 130

#: How long the end of the input waits for messages on their way in, since the last one.
_ARRIVING_SECONDS = 5.0
#: How long the end of the input waits for a lost connection, when something is unsent.
_LEAVING_SECONDS = 60.0


class LoggedOut(Exception):
    """The conversation is over; somebody else may log in."""


class Leave(Exception):
    """The program ends, with this exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Conversation:
    """What one account says and hears, from the login until it leaves."""

    def __init__(
        self,
        reactor: Any,
        console: Console,
        teller: Teller,
        memory: Memory,
        complain: Callable[[str], object],
        backoff: Backoff,
        programs: bool = False,
    ) -> None:
        """
        @param memory: what is remembered of this account from one run to the next.
        @param backoff: how long to wait before each attempt to connect again.
        @param programs: a line that begins with a brace is a request in JSON.
        """
        self._reactor = reactor
        self._console = console
        self._teller = teller
        self._memory = memory
        self._complain = complain
        self._backoff = backoff
        self._programs = programs
        self._commands: ClientCommands | None = None
        self._prompt = Ask(prompt="")
        self._typing: Deferred[Optional[str]] | None = None
        self._pending: set[Deferred[Any]] = set()
        self._due = 0
        self._down = False
        self._over: Exception | None = None
        self._unreachable: Exception | None = None
        self._change: Deferred[None] | None = None

    async def start(
        self,
        endpoint: IStreamClientEndpoint,
        codec: Codec,
        username: str,
        password: str | None,
        create: bool = False,
        invite: str | None = None,
        recovery: str | None = None,
        token: TokenIssued | None = None,
    ) -> None:
        """Log in.

        @raise ClientError: the server does not let us in; or, for a script, it cannot be
            reached.
        """
        self._client = Client(
            self._reactor,
            endpoint,
            username,
            password,
            codec=codec,
            create=create,
            invite=invite,
            recovery=recovery,
            token=token,
            on_token=self._token_changed,
            on_message=self._message,
            on_fate=lambda fate: self._tell(self._teller.fate, fate, ""),
            on_created=self._created,
            on_connected=self._connected,
            on_disconnected=self._disconnected,
            on_stopped=self._stopped,
            backoff=self._backoff,
        )
        try:
            await self._client.start()
        except Stopped:
            if self._unreachable is None:
                raise
            raise self._unreachable from None
        if recovery is not None:
            self._note("The new password is in force.")

    async def run(self) -> None:
        """Do what is typed until the end of the input or C{/quit}.

        @raise LoggedOut: the account is gone, or no longer lets us in.
        """
        try:
            await self._send_what_was_left()
            while self._over is None:
                self._typing = self._console.ask(self._prompt.prompt, self._prompt.hidden)
                try:
                    line = await self._typing
                finally:
                    self._typing = None
                self._prompt = Ask(prompt="")
                await self._do(line)
        except EndOfInput:
            await self._leave()
            return
        except CancelledError:
            pass  # somebody asks us to leave, and says why in self._over
        finally:
            self._letters.close()
            self._memory.close(self._names.met)
        raise self._over or Leave(INTERRUPTED)

    # --- from the person ----------------------------------------------------------------

    async def _do(self, line: str | None) -> None:
        assert self._commands is not None
        if self._programs and line is not None and line.startswith("{"):
            try:
                frame = from_program(line)
            except ValueError as error:
                self._teller.failed(str(error))
            else:
                about = Asked(recipient=frame.recipient) if isinstance(frame, Message) else NOTHING
                await self._request(frame, about)
            return
        for step in self._commands.typed(line):
            await self._request(step.incoming, step.asked or NOTHING)

    async def _request(self, incoming: Incoming, asked: Asked) -> None:
        if isinstance(incoming, Answer):
            self._say(incoming.frame, asked)
        elif isinstance(incoming, Quit):
            raise EndOfInput
        elif isinstance(incoming, DeleteAccount):
            await self._delete_account(incoming.password)
        elif isinstance(incoming, Logout):
            await self._log_out(incoming.all)
        elif isinstance(incoming, Message):
            self._names.meet(incoming.recipient)
            while not self._letters.room and self._over is None:
                # A script types faster than the server accepts.
                await self._changed(_LEAVING_SECONDS)
            self._letters.send(incoming)
        else:
            answer = ask(self._client, incoming)
            self._watch(answer.addCallback(self._teller.answer, asked), asked)

    def _say(self, frame: Frame, asked: Asked) -> None:
        """What the commands themselves have to say."""
        if isinstance(frame, Ask):
            self._prompt = frame
        elif isinstance(frame, Said):
            self._note(*frame.lines)
        elif isinstance(frame, Failed):
            self._teller.refused(frame, asked)

    async def _send_what_was_left(self) -> None:
        """Send what earlier clients had not sent when they ended."""
        if count := self._letters.left_behind():
            what = "1 message" if count == 1 else f"{count} messages"
            self._note(f"Sending {what} that you wrote earlier and the server did not have yet.")
        while not self._letters.send_left() and self._over is None:
            await self._changed(_LEAVING_SECONDS)

    async def _delete_account(self, password: str) -> None:
        await self._settle()
        try:
            await self._client.delete_account(password)
        except ClientError as error:
            self._teller.failed(f"Failed: {told(error)}")
            return
        self._letters.clear()
        self._note("Your account is deleted.")
        raise LoggedOut

    async def _log_out(self, everywhere: bool) -> None:
        await self._settle()
        try:
            await self._client.log_out(everywhere)
        except ClientError as error:
            self._teller.failed(f"Failed: {told(error)}")
            return
        self._note(words.LOGGED_OUT)
        raise LoggedOut

    def _watch(self, under_way: Deferred[Any], asked: Asked = NOTHING) -> None:
        """Remember what is under way, and tell what goes wrong with it."""
        self._pending.add(under_way)

        def failed(failure: Failure) -> Failure | None:
            error = failure.value
            if isinstance(error, Refused):
                frame = Failed(code=error.code, reason=error.reason, seconds=error.seconds)
                self._tell(self._teller.refused, frame, asked)
            elif isinstance(error, ClientError) and not isinstance(error, Stopped):
                self._tell(self._teller.failed, f"Failed: {told(error)}")
            elif isinstance(error, OutputGone):
                self._end(error)
            elif not isinstance(error, Stopped):
                return failure
            return None

        def done(result: object) -> object:
            self._pending.discard(under_way)
            self._touch()
            return result

        under_way.addErrback(failed).addBoth(done)

    # --- from the server ----------------------------------------------------------------

    def _message(self, message: Message) -> Awaitable[None]:
        self._due -= 1
        self._touch()
        try:
            self._teller.message(message)
        except OutputGone as gone:
            return self._unseen(gone)
        shown = self._console.seen()
        return shown.addCallbacks(lambda _: self._seen(message), self._not_shown)

    def _seen(self, message: Message) -> None:
        assert self._commands is not None
        if message.returned is None:
            self._commands.heard = message.sender
            self._names.meet(message.sender)

    def _not_shown(self, failure: Failure) -> Deferred[None]:
        gone = failure.value
        if not isinstance(gone, OutputGone):
            failure.raiseException()
        return self._unseen(gone)

    def _unseen(self, gone: OutputGone) -> Deferred[None]:
        self._end(gone)
        return Deferred()  # never taken, so never confirmed

    def _created(self, created: Created) -> None:
        self._tell(self._teller.answer, created)

    def _token_changed(self, token: TokenIssued | None) -> None:
        self._tell(self._memory.token_changed, self._client.username, token)

    def _connected(self, welcome: Welcome) -> None:
        again = self._commands is not None
        if not again:
            self._memory.account = welcome.username
            self._letters = Letters(
                self._reactor, self._client, self._memory.keeping(), self._teller, self._watch
            )
            self._commands = ClientCommands(welcome.username, self._letters.unsent)
            self._names = Acquaintances(self._memory.names())
            self._console.offer(self._names.completions)
            self._due = welcome.waiting
        if not again or self._down:
            self._tell(self._teller.connected, welcome, again)
        self._down = False

    def _disconnected(self, error: Exception, delay: float) -> None:
        if self._commands is None and not self._console.interactive:
            # A script is told at once that the server is not there.
            self._unreachable = error
            self._client.close()
            return
        self._tell(self._teller.disconnected, error, delay)
        self._down = True

    def _stopped(self, error: Exception | None) -> None:
        if self._commands is None or error is None:
            return
        if self._letters:
            self._note(unsent(len(self._letters), self._letters.kept))
        self._tell(self._teller.over, error)
        if not self._console.interactive:
            self._complain(told(error))
        again = self._console.interactive and not isinstance(error, Distrust)
        self._end(LoggedOut() if again else Leave(REFUSED))

    # --- leaving ------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Wait for what is under way, then say goodbye."""
        await self._settle()
        if not self._console.interactive:
            await self._catch_up()
        left = len(self._letters)
        await self._client.close()
        if left:
            self._complain(unsent(left, self._letters.kept))
            raise Leave(UNREACHABLE)

    async def _settle(self) -> None:
        """Wait until everything asked is answered, if there is hope for it."""
        while self._pending and not self._client.stopped:
            if not self._client.connected and self._console.interactive:
                break  # a person who leaves now has seen that the connection is lost
            if not await self._changed(_LEAVING_SECONDS) and not self._client.connected:
                break

    async def _catch_up(self) -> None:
        """Wait for the messages that were waiting at the login: a script may want just them."""
        while self._due > 0 and await self._changed(_ARRIVING_SECONDS):
            pass

    async def _changed(self, seconds: float) -> bool:
        """Wait until an answer or a message comes; whether one did within so many seconds."""
        self._change = change = Deferred[None]()
        try:
            await change.addTimeout(seconds, self._reactor)
        except TimeoutError:
            return False
        return True

    def _touch(self) -> None:
        """An answer or a message has come."""
        change, self._change = self._change, None
        if change is not None and not change.called:
            change.callback(None)

    def _end(self, over: Exception) -> None:
        """Nothing more is to be typed, because of this."""
        if self._over is None:
            self._over = over
            self._touch()
            if self._typing is not None:
                self._typing.cancel()

    def _note(self, *lines: str) -> None:
        self._tell(self._teller.note, *lines)

    def _tell(self, tell: Callable[..., None], *what: object) -> None:
        """Tell something; that nobody hears it ends the conversation soon."""
        try:
            tell(*what)
        except OutputGone as gone:
            self._end(gone)
