"""One account's client, across any number of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from secrets import token_hex
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.client.address import endpoint_from
from chat.client.asking import Asking
from chat.client.attempts import Attempts
from chat.client.backoff import Backoff
from chat.client.connection import Connection, ConnectionFactory
from chat.client.entrance import Entrance
from chat.client.errors import ClientError, Disconnected, Ended, Refused, Stopped, Unanswerable, for_good
from chat.client.fates import Fate, Fates
from chat.client.inbox import Inbox, OnMessage
from chat.client.outbox import Outbox
from chat.client.text import is_text
from chat.client.token import OnToken, TokenKeeper
from chat.client.trust import Trust
from chat.errors import Code
from chat.messages import (
    Accepted,
    AccountDeleted,
    Bye,
    ChangePassword,
    Created,
    Delete,
    DeleteAccount,
    Deleted,
    Delivered,
    Failed,
    Fatal,
    Frame,
    LoggedOut,
    Logout,
    Message,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    TokenIssued,
    Welcome,
)
from chat.wire import Codec

OnFate = Callable[[Fate], object]
OnCreated = Callable[[Created], object]
OnConnected = Callable[[Welcome], object]
OnDisconnected = Callable[[Exception, float], object]
OnStopped = Callable[[Exception | None], object]


class Client(Asking):
    """An account's mailbox, as if there were no network in between.

    It connects again by itself, with growing delays, until it is stopped.  What was
    given to L{send} is kept and repeated under the same C{ref} until it is accepted,
    and a message is confirmed only after the application's callback has taken it: so
    nothing is lost and nothing is doubled, however often the connection breaks.

    It stops for good when trying again cannot help: wrong password, no such account,
    the account deleted, a server that speaks another codec, or that shows another
    certificate than it should.

    After the first login it asks the server for a token and logs in with that from then
    on, which costs the server far less than a password does: so a server that was started
    anew has all its clients back in seconds.  The token is kept in memory only, unless the
    application keeps it; when it is not taken, the password is used again.

    @ivar stopped: whether it has stopped for good.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: str | IStreamClientEndpoint,
        username: str,
        password: str | None,
        *,
        codec: Codec | str = Codec.JSON,
        create: bool = False,
        invite: str | None = None,
        recovery: str | None = None,
        trust: Trust | None = None,
        plaintext: bool = False,
        on_message: OnMessage | None = None,
        on_fate: OnFate | None = None,
        on_created: OnCreated | None = None,
        on_connected: OnConnected | None = None,
        on_disconnected: OnDisconnected | None = None,
        on_stopped: OnStopped | None = None,
        tokens: bool = True,
        token: TokenIssued | None = None,
        on_token: OnToken | None = None,
        timeout: float = 60.0,
        idle: float = 60.0,
        backoff: Backoff | None = None,
        most_unaccepted: int = 10_000,
        most_unaccepted_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """
        @param reactor: the reactor, or any L{IReactorTime} when C{endpoint} is an object.
        @param endpoint: C{HOST:PORT}, C{[IPv6]:PORT}, C{tls://HOST:PORT}, C{unix:PATH}, a
            Twisted client endpoint string, or an endpoint; see L{endpoint_from}.
        @param password: C{None}: only the C{token} can log in.
        @param create: create the account, if the server says that the name is free.
        @param invite: the code of an invitation, for a server that asks for one.
        @param recovery: one of the account's recovery codes: C{password} becomes the new one.
        @param trust: decides about the server's certificate, where C{endpoint} is a string;
            by default one that an authority vouches for, or that this user has accepted.
        @param plaintext: no TLS, where C{endpoint} is a string.
        @param on_message: called with each message, once; it may return a Deferred or a
            coroutine.  A message is confirmed when that has succeeded; if it fails, the
            message is delivered again after the next login.  Without a callback nothing
            is confirmed and everything stays waiting.
        @param on_fate: called when the server tells of the delivery of a message for which nobody
            waits: one that was sent by an earlier run, or by another program of the same account.
        @param on_created: called with C{created}, which has the account's recovery codes.
        @param on_connected: called with C{welcome} after each login.
        @param on_disconnected: called with the reason and the seconds until the next
            attempt, after each lost connection and each attempt that failed.
        @param on_stopped: called once, with the reason or C{None} when asked to stop.
        @param tokens: whether to ask for tokens.
        @param token: one that C{on_token} was told of in an earlier run.
        @param on_token: called with each new token, which is as much a secret as a password, and
            with C{None} when it is worth nothing any more.
        @param timeout: seconds that the server may leave a question unanswered.
        @param idle: seconds of silence after which the server is asked whether it lives.
        @param most_unaccepted: how many messages may wait to be accepted.
        @param most_unaccepted_bytes: how many bytes these may have together.
        @raise ValueError: the endpoint string or the codec is none, or the name, the password or a
            code cannot be written in UTF-8.
        @raise Distrust: C{plaintext} to a server whose certificate is known, or there is a list
            of known servers that cannot be read.
        """
        if not all(map(is_text, filter(None, (username, password, invite, recovery)))):
            raise ValueError("the name, the password or a code cannot be written in UTF-8")
        self.stopped = False
        self._clock: IReactorTime = reactor
        self._codec = Codec(codec)
        self._token = TokenKeeper(reactor, tokens, token, on_token)
        self._entrance = Entrance(username, password, create, self._token, invite, recovery)
        self._on_fate = on_fate
        self._on_created = on_created
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_stopped = on_stopped
        self._timeout = timeout
        self._idle = idle
        self._attempts = Attempts(
            self._clock,
            endpoint_from(reactor, endpoint, codec=self._codec, trust=trust, plaintext=plaintext)
            if isinstance(endpoint, str)
            else endpoint,
            ConnectionFactory(self._make_connection, self._codec),
            Backoff() if backoff is None else backoff,
            timeout,
            self._unreachable,
        )
        self._not_before = 0.0
        self._outbox = Outbox(self._clock, self._codec, most_unaccepted, most_unaccepted_bytes)
        self._inbox = Inbox(on_message)
        self._fates = Fates(self._clock, idle)
        self._unique = token_hex(16)
        self._count = 0
        self._started: Deferred[Welcome] | None = None
        self._connection: Connection | None = None
        self._closing: list[Deferred[None]] = []

    # --- what an application asks -------------------------------------------------------

    @property
    def username(self) -> str:
        """The account's name; in its prepared form once logged in."""
        return self._entrance.username

    @property
    def server(self) -> str:
        """The server's software, as it names itself; empty before the first connection."""
        return self._entrance.server

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is logged in."""
        return self._connection is not None and self._connection.settled

    @property
    def unaccepted(self) -> int:
        """How many sends wait to be accepted."""
        return len(self._outbox)

    def start(self) -> Deferred[Welcome]:
        """Connect and log in, and stay so until stopped.

        @return: fires with C{welcome} after the first login, however many attempts that
            takes; fails with the reason when the client stops before.  When cancelled,
            the client stops.
        """
        if self._started is not None or self.stopped:
            raise RuntimeError("a client is started once")
        self._started = Deferred(lambda _: self._stop(None))
        self._attempts.begin()
        return self._started

    def send(
        self,
        recipient: str,
        body: str,
        subject: str | None = None,
        *,
        receipt: bool = False,
        ref: str | None = None,
        automatic: bool = False,
        answers: int = 0,
    ) -> Deferred[Accepted]:
        """Send a message.

        It may be called at any time, also while there is no connection.  Sends are
        written in the order of the calls.  When the server asks to slow down, the
        message is sent again by itself after the time it names, and may be overtaken
        by others.

        @param receipt: ask to be told of the delivery; see L{delivered}.
        @param ref: the application's own identifier, at most 64 bytes, which makes it
            harmless to send the same message again even after the program was started
            anew; without one, the client makes its own.
        @param automatic: a program writes it of itself, and no program is to answer it.
        @param answers: the id of the message that it answers; the server refuses an automatic one that
            answers what no program is to answer.
        @return: fires with C{accepted} once the message is safe with the server; fails
            with L{Refused} when it was refused (C{too-large}, C{storage-full} and so
            on), with L{Ended} when the server has failed at it three times, and with
            L{Stopped} when the client stops before its fate is known.  When cancelled,
            it is not sent or repeated any more.
        @raise OutboxFull: too much waits to be accepted.
        @raise ValueError: the text cannot be written in UTF-8, or a message with the
            same C{ref} is on its way.
        """
        if self.stopped:
            return fail(Stopped())
        if ref is None:
            self._count += 1
            ref = f"{self._unique}-{self._count}"
        return self._outbox.send(
            Message(
                recipient=recipient,
                subject=subject,
                body=body,
                ref=ref,
                receipt=receipt,
                automatic=automatic,
                answers=answers,
            )
        )

    def answer(self, message: Message, body: str, subject: str | None = None) -> Deferred[Accepted]:
        """Answer a message as a program: what is sent is L{automatic<send>}.

        Sent again for the same message, after a restart, say, the same answer goes out once.

        @return: as of L{send}; fails with L{Unanswerable}, and nothing is sent, when the message was
            automatic itself or has come back.
        """
        if message.automatic or message.returned is not None:
            return fail(Unanswerable())
        return self.send(
            message.sender,
            body,
            subject,
            ref=f"answer-{message.id}",
            automatic=True,
            answers=message.id,
        )

    def delivered(self, id: int) -> Deferred[Fate]:
        """Wait for the fate of a message that this account sent.

        Disconnections do not matter.  The server tells at once of a message that was
        sent with C{receipt=True}; others are looked up at intervals.

        @return: fires with the L{Fate}; fails with L{UnknownMessage} when this account
            sent no such message, and with L{Stopped}.  May be cancelled.
        """
        if self.stopped:
            return fail(Stopped())
        return self._fates.wait(id)

    def delete(self, ids: Iterable[int]) -> Deferred[Deleted]:
        """Remove messages from the mailbox; recall those sent that still wait."""

        def learn(deleted: Deleted) -> Deleted:
            self._fates.learn()
            return deleted

        return self._ask(Delete(ids=list(ids)), Deleted).addCallback(learn)

    def change_password(self, present: str, new: str) -> Deferred[PasswordChanged]:
        """Change the account's password, here too."""

        def changed(answer: PasswordChanged) -> PasswordChanged:
            self._entrance.changed(True)
            self._token.revoked()
            return answer

        def unchanged(failure: Failure) -> Failure:
            # When the connection was lost before the answer, either may be the right one.
            if isinstance(failure.value, Refused):
                self._entrance.changed(False)
            return failure

        if self.connected:
            self._entrance.perhaps(new)
        answer = self._ask(ChangePassword(password=present, new=new), PasswordChanged)
        return answer.addCallbacks(changed, unchanged)

    def log_out(self, everywhere: bool = False) -> Deferred[LoggedOut]:
        """Revoke the tokens that this client was given since its last login; then it stops.

        @param everywhere: revoke all tokens of the account.
        """

        def logged_out(answer: LoggedOut) -> LoggedOut:
            self._token.refused()
            self._stop(None)
            return answer

        return self._ask(Logout(all=everywhere), LoggedOut).addCallback(logged_out)

    def delete_account(self, password: str) -> Deferred[AccountDeleted]:
        """Delete the account; then the client stops.

        Messages that wait for the account return to their senders.
        """

        def deleted(answer: AccountDeleted) -> AccountDeleted:
            self._token.refused()
            self._stop(None)
            return answer

        return self._ask(DeleteAccount(password=password), AccountDeleted).addCallback(deleted)

    def close(self) -> Deferred[None]:
        """Stop for good, after the server has answered everything that was asked.

        Without a connection it stops at once; what was not accepted fails with L{Stopped}.

        @return: fires when the connection is closed.
        """
        connection = self._connection
        if connection is None:
            self._stop(None)
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        if not connection.settled:
            self._stop(None)
        elif not self.stopped and len(self._closing) == 1:
            # Called by on_message itself, this comes before that message is confirmed;
            # so the goodbye waits for one more answer.
            leaving: Deferred[Any] = connection.ask(Ping(), Pong)
            leaving.addCallback(lambda _: self._inbox.part())
            leaving.addCallback(lambda _: connection.ask(Quit(), Bye))
            leaving.addBoth(lambda _: self._stop(None))
        return closed

    def _ask(self, question: Frame, kind: type[Any]) -> Deferred[Any]:
        if self.stopped:
            return fail(Stopped())
        if self._connection is None or not self._connection.settled:
            return fail(Disconnected("There is no connection to the server at the moment."))
        return self._connection.ask(question, kind)

    # --- connecting ---------------------------------------------------------------------

    def _make_connection(self) -> Connection:
        return Connection(self._clock, self, self._codec, self._timeout, self._idle)

    def _unreachable(self, error: Exception) -> None:
        if self.stopped:
            return
        if for_good(error, self._entrance.welcomed):
            self._stop(error)
        else:
            self._try_again(error)

    def _try_again(self, error: Exception) -> None:
        delay = self._attempts.again(self._not_before)
        self._not_before = 0.0
        self._tell(self._on_disconnected, error, delay)

    def _stop(self, error: Exception | None) -> None:
        if self.stopped:
            return
        self.stopped = True
        reason = Stopped(error)
        self._attempts.stop()
        if self._connection is not None:
            self._connection.leave(error or reason)
        else:
            self._attempts.give_up()
        self._inbox.close()
        self._outbox.close(reason)
        self._fates.close(reason)
        if self._started is not None and not self._started.called:
            self._started.errback(error or reason)
        self._tell(self._on_stopped, error)

    def _tell(self, callback: Callable[..., object] | None, *what: object) -> None:
        """Call the application; its mistakes do not disturb the client."""
        if callback is not None:
            try:
                callback(*what)
            except Exception:
                self._log.failure("a callback of the application failed")

    # --- what the connection tells ------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """See L{Listener.opened<chat.client.connection.Listener.opened>}."""
        self._connection = connection
        if self.stopped:
            connection.drop(Stopped())

    def heard(self, connection: Connection, frame: Frame) -> None:
        """See L{Listener.heard<chat.client.connection.Listener.heard>}."""
        if isinstance(frame, Fatal):
            connection.leave(Ended.by(frame))
        elif not connection.settled:
            self._log_in(connection, frame)
        elif isinstance(frame, Message):
            if frame.returned is not None:
                self._fates.settle(Fate(frame.id, "returned", frame.returned))
            self._inbox.arrived(frame)
        elif isinstance(frame, Delivered):
            for fate in [Fate(id, "delivered", time=frame.time) for id in frame.ids]:
                if not self._fates.settle(fate):
                    self._tell(self._on_fate, fate)
        elif isinstance(frame, Failed):
            self._log.warn("the server refused something unasked: {code}", code=frame.code)

    def paused(self, connection: Connection) -> None:
        """See L{Listener.paused<chat.client.connection.Listener.paused>}."""
        self._inbox.turn()

    def lost(self, connection: Connection, error: Exception) -> None:
        """See L{Listener.lost<chat.client.connection.Listener.lost>}."""
        self._connection = None
        self._inbox.disconnected()
        self._fates.disconnected()
        self._token.disconnected()
        self._outbox.disconnected(error)
        if for_good(error, self._entrance.welcomed):
            self._stop(error)
        elif self._closing:
            self._stop(None)
        elif not self.stopped:
            self._try_again(error)
        closing, self._closing = self._closing, []
        for closed in closing:
            closed.callback(None)

    def _log_in(self, connection: Connection, frame: Frame) -> None:
        try:
            login = self._entrance.answer(frame)
        except ClientError as error:
            if isinstance(error, Refused) and error.code == Code.SLOW_DOWN:
                self._not_before = float(error.seconds or 0)
                connection.leave(error)
            else:
                self._stop(error)
            return
        if login is not None:
            connection.tell(login)
        elif isinstance(frame, Created):
            self._tell(self._on_created, frame)
        elif isinstance(frame, Welcome):
            connection.settled = True
            self._attempts.succeeded()
            self._inbox.connected(connection)
            self._outbox.connected(connection)
            self._fates.connected(connection)
            self._token.connected(connection)
            self._tell(self._on_connected, frame)
            if self._started is not None and not self._started.called:
                self._started.callback(frame)
