"""The states of one conversation: login (see L{chat.login}), user, (login again,) closed.

No I/O: frames come in as lists, answers go out through a L{Peer}, in the order
of the frames they answer (see L{chat.course}).
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Optional, Sequence

from chat.accounts import Accounts, Admission
from chat.alone import alone
from chat.course import Course, State
from chat.errors import Code, FatalError, Refusal
from chat.feed import Feed
from chat.health import gauges
from chat.ledger import Arrival
from chat.login import Introduction, Outcome
from chat.mailroom import Mailroom
from chat.messages import (
    LOGIN_FRAME_BYTES,
    PROTOCOL_VERSION,
    USER_FRAME_BYTES,
    Answer,
    Bye,
    DeleteAccount,
    Delivered,
    Failed,
    Fatal,
    Frame,
    Incoming,
    Login,
    Logout,
    Message,
    Ping,
    Pong,
    Quit,
    Received,
    System,
    Version,
    Welcome,
)
from chat.notices import Notices
from chat.ports import Peer
from chat.refusals import failed
from chat.requests import Requests, is_request, not_before_login, said_by_servers


class Session(Course):
    """One conversation.

    @ivar limit: the most bytes that the next frame may have.
    @ivar shown_after: what a door may decide before a login: to be shown only what arrived behind the message
        of this id, not all that waits (0), or nothing of the mailbox at all (C{None}): then nobody is
        here who could confirm anything, and what comes is not counted as shown.
    """

    __slots__ = (
        "_accounts",
        "_feed",
        "_introduction",
        "_notices",
        "_requests",
        "_server",
        "limit",
        "shown_after",
    )

    def __init__(self, peer: Peer, accounts: Accounts, mailroom: Mailroom, server: str) -> None:
        """Converse with C{peer}; C{server} is the name and version the greeting gives."""
        super().__init__(peer, mailroom)
        self._accounts = accounts
        self._introduction = Introduction(accounts, peer.origin)
        self._server = server
        self._feed: Optional[Feed] = None
        self._notices: Optional[Notices] = None  # deliveries the peer was too busy to be told of
        self._requests: Optional[Requests] = None
        self.shown_after: Optional[int] = 0
        self._become(State.LOGIN)

    # --- what the connection says ---

    def start(self) -> None:
        """The connection stands: the server speaks first."""
        self._peer.send([Version(protocol=PROTOCOL_VERSION, server=self._server), self.prompt])

    def tell_logins_by(self, tell: Callable[..., None]) -> None:
        """Let this log the logins; without it, L{chat.journal.tell} does."""
        self._introduction.tell_login = tell

    @property
    def prompt(self) -> System:
        """What is awaited of a client that is not logged in."""
        return self._introduction.prompt

    def drained(self) -> None:
        """The peer has read enough to be told more."""
        if self._notices is not None:
            self._notices.tell()
        if self._feed is not None:
            self._feed.drained()
        self._proceed()

    def lost(self) -> None:
        """See L{Course.lost}: what is only looked for need not be found any more."""
        if self._requests is not None:
            self._requests.awaited = False
        super().lost()

    # --- what the mailroom and the directory say ---

    @property
    def live(self) -> bool:
        """See L{chat.directory.Resident.live}."""
        feed = self._feed
        return feed is not None and feed.shows_next

    @alone
    def push(self, arrivals: Sequence[Arrival]) -> None:
        """See L{chat.directory.Resident.push}."""
        if self._feed is not None:
            self._feed.push(arrivals)

    @alone
    def more(self) -> None:
        """See L{chat.directory.Resident.more}."""
        if self._feed is not None:
            self._feed.more()

    @alone
    def notify(self, frame: Delivered) -> None:
        """See L{chat.directory.Resident.notify}."""
        if self._feed is None:
            return  # not welcome yet: whoever asks after the welcome sees the delivery in the listing
        if not self._peer.paused:
            self._peer.send([frame])
            return
        if self._notices is None:
            self._notices = Notices(self._peer)
        if not self._notices.keep(frame):
            self.end(FatalError(Code.SLOW_DOWN, "This connection does not read what it is sent."))

    @alone
    def expel(self, error: FatalError) -> None:
        """See L{chat.directory.Resident.expel}."""
        self.end(error)

    # --- what each frame does ---

    def _login(self, frame: Incoming) -> None:
        if self.closed:
            return
        if isinstance(frame, Answer):
            self._door_says(frame.frame)
            if isinstance(frame.frame, Failed):
                self._answer(self.prompt)
        elif isinstance(frame, Login):
            try:
                step = self._introduction.take(frame)
            except Refusal as refusal:
                self._refuse_login(refusal)
            else:
                self._hold(self._log_in(step))
        else:
            ref = frame.ref if isinstance(frame, Message) else None
            self._refuse_login(not_before_login(ref) if is_request(frame) else said_by_servers(frame))

    def _door_says(self, frame: Frame) -> None:
        if isinstance(frame, (Failed, Fatal)):
            gauges.refusals[frame.code] += 1
        if isinstance(frame, Fatal):
            self._last(frame)
        else:
            self._answer(frame)

    def _refuse_login(self, refusal: Refusal) -> None:
        self._answer(failed(refusal))
        self._answer(self.prompt)

    def _user(self, frame: Incoming) -> None:
        requests = self._requests
        assert requests is not None
        if isinstance(frame, Received):
            self._confirm(frame.ids)
        elif isinstance(frame, Answer):
            self._door_says(frame.frame)
        elif isinstance(frame, Ping):
            self._answer(Pong())
        elif isinstance(frame, DeleteAccount):
            self._hold(self._departure(requests.delete_account(self, frame)))
        elif isinstance(frame, Logout):
            self._hold(self._departure(requests.log_out(self, frame)))
        elif isinstance(frame, Quit):
            self._last(Bye())
        elif isinstance(frame, Login):
            self._answer(failed(Refusal(Code.BAD_STATE, "This session is logged in already.")))
        else:
            request = requests.request(frame)
            if request is None:
                self._answer(failed(said_by_servers(frame)))
            else:
                self._hold(self._command(request))

    # --- commands of several steps ---

    async def _command(self, steps: Coroutine[Any, Any, Frame]) -> list[Frame]:
        try:
            return [await steps]
        except Refusal as refusal:
            return [failed(refusal)]

    async def _departure(self, steps: Coroutine[Any, Any, Frame]) -> list[Frame]:
        """Carry out C{steps}, and leave the account if they are not refused."""
        answers = await self._command(steps)
        return answers if isinstance(answers[0], Failed) else [*answers, self._begin_again()]

    def _begin_again(self) -> System:
        """Leave the account, unless the session has ended meanwhile; what is asked then."""
        self._leave()
        if not self.closed:
            self._become(State.LOGIN)
        return self.prompt

    async def _log_in(self, step: Coroutine[Any, Any, Outcome]) -> list[Frame]:
        outcome = await step
        if not isinstance(outcome, Admission):
            return outcome
        return [] if self.closed else await self._enter(outcome)

    async def _enter(self, admission: Admission) -> list[Frame]:
        """Become a session of this account.

        Called when it has proven itself, with nothing awaited in between: an
        account that is deleted from here on finds this session and ends it.
        """
        self._requests = Requests(admission, self._accounts, self._mailroom, self._peer.origin)
        self.account = account = admission.account
        self._mailroom.enter(account, self)
        mailbox = await self._mailroom.mailbox(account)
        after = self.shown_after
        position = await self._mailroom.position(account, after) if after else 0
        if self.closed:
            return []
        self._become(State.USER)
        self._feed = Feed(account, self._mailroom, self._peer, mailbox.offered, position)
        if after is None:
            self._feed.stop()
        return [Welcome(username=account.name, waiting=mailbox.waiting)]

    def _become(self, state: State) -> None:
        """From here on the conversation stands there."""
        self.state = state
        self.logged_in = state is State.USER
        self.limit = USER_FRAME_BYTES if self.logged_in else LOGIN_FRAME_BYTES
        self._weigh()

    def _shut(self) -> None:
        """The conversation is over: what arrived and was not looked at is not looked at any more."""
        self._leave()
        self._become(State.CLOSED)
        self._queue.clear()

    def _leave(self) -> None:
        """Nothing of the account's mailbox reaches this session any more."""
        if self.account is not None:
            self._mailroom.leave(self.account, self)
            self.account = None
            self._requests = None
        if self._feed is not None:
            self._feed.stop()
            self._feed = None
        if self._notices is not None:
            self._notices.forget()
            self._notices = None
