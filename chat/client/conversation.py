"""What one account says and hears at a console, from the login until it leaves."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Awaitable, Callable, Optional

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.client import Client
from chat.client.console import Console, EndOfInput, OutputGone
from chat.client.errors import (
    ClientError,
    Distrust,
    OutboxFull,
    Refused,
    Stopped,
    told,
)
from chat.client.fates import Fate
from chat.messages import (
    Accepted,
    Answer,
    Block,
    Blocked,
    Blocks,
    ChangePassword,
    Created,
    Delete,
    DeleteAccount,
    Deleted,
    Failed,
    Frame,
    List,
    Listing,
    Logout,
    Message,
    Messages,
    Ping,
    Quit,
    Read,
    Recovery,
    RecoveryCodes,
    Token,
    TokenIssued,
    Unblock,
    Welcome,
)
from chat.wire import Codec
from chat.wire import text_words as words
from chat.wire.text_commands import Commands
from chat.wire.text_words import Ask, Asked, Said, visible

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

    def __init__(self, reactor: Any, console: Console, complain: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._console = console
        self._complain = complain
        self._commands: Commands | None = None
        self._prompt = Ask(prompt="")
        self._typing: Deferred[Optional[str]] | None = None
        self._pending: set[Deferred[Any]] = set()
        self._due = 0
        self._down = False
        self._dropped = 0
        self._over: Exception | None = None
        self._unreachable: Exception | None = None
        self._change: Deferred[None] | None = None

    async def start(
        self,
        endpoint: IStreamClientEndpoint,
        codec: Codec,
        username: str,
        password: str,
        create: bool,
        invite: str | None = None,
        recovery: str | None = None,
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
            on_message=self._message,
            on_created=self._created,
            on_connected=self._connected,
            on_disconnected=self._disconnected,
            on_stopped=self._stopped,
        )
        try:
            await self._client.start()
        except Stopped:
            if self._unreachable is None:
                raise
            raise self._unreachable from None
        if recovery is not None:
            self._show("The new password is in force.")

    async def run(self) -> None:
        """Do what is typed until the end of the input or C{/quit}.

        @raise LoggedOut: the account is gone, or no longer lets us in.
        """
        try:
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
        raise self._over or Leave(INTERRUPTED)

    # --- from the person ----------------------------------------------------------------

    async def _do(self, line: str | None) -> None:
        assert self._commands is not None
        for step in self._commands.typed(line):
            incoming, asked = step.incoming, step.asked or Asked()
            if isinstance(incoming, Answer):
                self._say(incoming.frame, asked)
            elif isinstance(incoming, Quit):
                raise EndOfInput
            elif isinstance(incoming, DeleteAccount):
                await self._delete_account(incoming.password)
            elif isinstance(incoming, Logout):
                await self._log_out(incoming.all)
            elif isinstance(incoming, Message):
                await self._send(incoming, asked)
            else:
                self._ask(incoming, asked)

    def _say(self, frame: Frame, asked: Asked) -> None:
        """What the commands themselves have to say."""
        if isinstance(frame, Ask):
            self._prompt = frame
        elif isinstance(frame, Said):
            self._show(*frame.lines)
        elif isinstance(frame, Failed):
            self._show(words.failed(frame, asked))

    async def _send(self, message: Message, asked: Asked) -> None:
        while True:
            try:
                sent = self._client.send(
                    message.recipient, message.body, message.subject, receipt=message.receipt
                )
                break
            except OutboxFull:
                # A script types faster than the server accepts.
                await self._changed(_LEAVING_SECONDS)
            except ValueError as error:
                self._show(f"Not sent: {error}.")
                return
        if not self._client.connected:
            self._show("There is no connection; this will be sent as soon as there is one.")

        def accepted(answer: Accepted) -> None:
            self._show(words.fate(answer.id, message.recipient, answer.state))
            if message.receipt and answer.state == "waiting":
                fate = self._client.delivered(answer.id)
                fate.addCallback(self._settled, message.recipient)
                fate.addErrback(lambda failure: failure.trap(ClientError, OutputGone) and None)

        self._watch(sent.addCallback(accepted), asked)

    def _settled(self, fate: Fate, recipient: str) -> None:
        # What came back is shown itself; what was recalled was recalled by this person.
        if fate.state == "delivered":
            at = "" if fate.time is None else words.moment(fate.time)
            self._show(words.fate(fate.id, recipient, fate.state, at))

    def _ask(self, question: Frame, asked: Asked) -> None:
        """Ask the server, and show what it says when it says it."""
        client = self._client
        if isinstance(question, List):
            listing = client.listing(question.box, question.after, question.limit)
            self._watch(listing.addCallback(self._show_listing, asked), asked)
        elif isinstance(question, Read):
            self._watch(client.read(question.ids).addCallback(self._show_messages), asked)
        elif isinstance(question, Delete):
            self._watch(client.delete(question.ids).addCallback(self._show_deleted), asked)
        elif isinstance(question, ChangePassword):
            changed = client.change_password(question.password, question.new)
            self._watch(changed.addCallback(lambda _: self._show("Your password is changed.")), asked)
        elif isinstance(question, Token):
            self._watch(client.new_token().addCallback(self._show_token), asked)
        elif isinstance(question, (Block, Unblock, Blocks)):
            self._watch(self._change_blocks(question).addCallback(self._show_blocked), asked)
        elif isinstance(question, Recovery):
            codes = client.recovery_codes(question.password)
            self._watch(codes.addCallback(self._show_recovery_codes), asked)
        elif isinstance(question, Ping):
            self._watch(client.ping().addCallback(lambda _: self._show("The server is there.")), asked)

    def _change_blocks(self, question: Block | Unblock | Blocks) -> Deferred[Blocked]:
        if isinstance(question, Blocks):
            return self._client.blocked()
        change = self._client.block if isinstance(question, Block) else self._client.unblock
        return change(question.username)

    def _show_blocked(self, blocked: Blocked) -> None:
        self._show(words.blocked(blocked))

    def _show_listing(self, listing: Listing, asked: Asked) -> None:
        self._show(*words.listing(listing, asked))

    def _show_messages(self, answer: Messages) -> None:
        for message in answer.messages:
            self._show(*words.message(message, self._client.username))
        if answer.missing:
            self._show(words.missing(answer.missing))

    def _show_token(self, token: TokenIssued) -> None:
        self._show(*words.token(token))

    def _show_recovery_codes(self, answer: RecoveryCodes) -> None:
        self._show(*words.recovery_codes(answer.codes))

    def _show_deleted(self, deleted: Deleted) -> None:
        self._show(*words.deleted(deleted))

    async def _delete_account(self, password: str) -> None:
        await self._settle()
        try:
            await self._client.delete_account(password)
        except ClientError as error:
            self._show(f"Failed: {told(error)}")
            return
        self._show("Your account is deleted.")
        raise LoggedOut

    async def _log_out(self, everywhere: bool) -> None:
        await self._settle()
        try:
            await self._client.log_out(everywhere)
        except ClientError as error:
            self._show(f"Failed: {told(error)}")
            return
        self._show(words.LOGGED_OUT)
        raise LoggedOut

    def _watch(self, asked_of_server: Deferred[Any], asked: Asked) -> None:
        """Remember what is under way, and show what goes wrong with it."""
        self._pending.add(asked_of_server)

        def failed(failure: Failure) -> Failure | None:
            error = failure.value
            if isinstance(error, Refused):
                frame = Failed(code=error.code, reason=error.reason, seconds=error.seconds)
                self._show(words.failed(frame, asked))
            elif isinstance(error, Stopped):
                self._dropped += bool(asked.recipient)  # we leave, and say how much is unsent
            elif isinstance(error, ClientError):
                self._show(f"Failed: {told(error)}")
            elif not isinstance(error, OutputGone):
                return failure
            return None

        def done(result: object) -> object:
            self._pending.discard(asked_of_server)
            self._touch()
            return result

        asked_of_server.addErrback(failed).addBoth(done)

    # --- from the server ----------------------------------------------------------------

    def _message(self, message: Message) -> Awaitable[None] | None:
        assert self._commands is not None
        self._due -= 1
        self._touch()
        try:
            self._show(*words.message(message, self._client.username, again=message.again))
        except OutputGone:
            return Deferred()  # never taken, so never confirmed
        if message.returned is None:
            self._commands.heard = message.sender
        return None

    def _created(self, created: Created) -> None:
        if created.recovery:
            self._announce(*words.recovery_codes(created.recovery))

    def _connected(self, welcome: Welcome) -> None:
        if self._commands is None:
            self._commands = Commands(welcome.username)
            self._due = welcome.waiting
            name, waiting = visible(welcome.username), words.waiting(welcome.waiting)
            self._announce(f"Welcome, {name}. {waiting} /help lists the commands.")
        elif self._down:
            self._announce("Connected again.")
        self._down = False

    def _disconnected(self, error: Exception, delay: float) -> None:
        if self._commands is None and not self._console.interactive:
            # A script is told at once that the server is not there.
            self._unreachable = error
            self._client.close()
            return
        self._announce(f"{told(error)} Trying again in {delay:.0f} s.")
        self._down = True

    def _stopped(self, error: Exception | None) -> None:
        if self._commands is None or error is None:
            return
        self._announce(*f"The conversation is over: {told(error)}".split("\n"))
        if self._dropped:
            self._announce(_unsent(self._dropped))
        again = self._console.interactive and not isinstance(error, Distrust)
        self._end(LoggedOut() if again else Leave(REFUSED))

    # --- leaving ------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Wait for what is under way, then say goodbye."""
        await self._settle()
        if not self._console.interactive:
            await self._catch_up()
        unsent = self._client.unaccepted
        await self._client.close()
        if unsent:
            self._complain(_unsent(unsent))
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
            if self._typing is not None:
                self._typing.cancel()

    def _announce(self, *lines: str) -> None:
        """Show what nobody asked for; that it cannot be shown ends the conversation soon."""
        with suppress(OutputGone):
            self._show(*lines)

    def _show(self, *lines: str) -> None:
        try:
            for line in lines:
                self._console.show(line)
        except OutputGone as gone:
            self._end(gone)
            raise


def _unsent(count: int) -> str:
    return f"{'1 message is' if count == 1 else f'{count} messages are'} not known to be sent."
