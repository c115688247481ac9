"""The states of one conversation: login (see L{chat.login}), user, (login again,) closed.

No I/O: frames come in as lists, answers go out through a L{Peer}, in the order
of the frames they answer.  What arrives together is handed to the mailroom
together, and a client may have many sends under way; a command that needs more
than one step (a login, a listing, the deletion of the account) holds back the
frames behind it until it is answered.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from enum import Enum
from functools import partial, wraps
from typing import Any, Callable, Concatenate, Coroutine, Iterator, Optional, ParamSpec, Sequence

from msgspec import Struct

from chat.accounts import Accounts, Admission
from chat.errors import Code, FatalError, Refusal, account_gone
from chat.feed import Feed
from chat.health import gauges
from chat.journal import Event, tell
from chat.ledger import Account, Arrival
from chat.limits.throttle import WRONG
from chat.login import Introduction, Outcome
from chat.mailroom import Mailroom, failed, fatal
from chat.messages import (
    LOGIN_FRAME_BYTES,
    PROTOCOL_VERSION,
    USER_FRAME_BYTES,
    AccountDeleted,
    Answer,
    Block,
    Blocked,
    Blocks,
    Bye,
    ChangePassword,
    Delete,
    DeleteAccount,
    Delivered,
    Failed,
    Fatal,
    Frame,
    Incoming,
    List,
    LoggedOut,
    Login,
    Logout,
    Message,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Read,
    Received,
    Recovery,
    RecoveryCodes,
    Search,
    System,
    Token,
    TokenIssued,
    Unblock,
    Version,
    Welcome,
    keyword,
    rfc3339,
)
from chat.ports import Peer

#: How much one session may have under way in the mailroom: messages, and bytes of bodies and ids.
SENDS_UNDER_WAY = 500
BYTES_UNDER_WAY = 1024 * 1024
ID_BYTES = 512
#: How many messages are confirmed in one go; a frame that confirms more waits for each go.
RECEIPTS_AT_ONCE = 1000
#: What a delivery notice that a client is too busy for takes while it is kept, in bytes, and each id in it.
NOTICE_BYTES = 400
NOTICED_BYTES = 40
#: A client for which more bytes of them would have to be kept is hung up.
NOTICES_KEPT = 1024 * 1024


class State(Enum):
    """Where a conversation stands."""

    LOGIN = "not logged in"
    USER = "logged in"
    CLOSED = "closed"


_P = ParamSpec("_P")


def _alone(step: Callable[Concatenate[Session, _P], None]) -> Callable[Concatenate[Session, _P], None]:
    """Let an error in a step that others set going end this session, and not reach them."""

    @wraps(step)
    def guarded(session: Session, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            step(session, *args, **kwargs)
        except Exception as error:
            session._peer.run(_raise(error))

    return guarded


async def _raise(error: Exception) -> None:
    raise error


class _Turn(Struct, gc=False):
    """The place of one frame, or of a batch of sends, in the order of the answers.

    @ivar count: how many messages are sent with it.
    @ivar size: how many bytes their bodies have.
    @ivar frames: the answers, once they are known.
    """

    count: int = 0
    size: int = 0
    frames: Optional[list[Frame]] = None


class Session:
    """One conversation.

    @ivar ready: whether more frames may be handed in.
    @ivar logged_in: whether the login is complete.
    @ivar limit: the most bytes that the next frame may have.
    @ivar shown_after: what a door may decide before a login: to be shown only what arrived behind the message
        of this id, not all that waits (0), or nothing of the mailbox at all (C{None}): then nobody is
        here who could confirm anything, and what comes is not counted as shown.
    """

    __slots__ = (
        "_accounts",
        "_admission",
        "_behind",
        "_bytes",
        "_feed",
        "_held",
        "_introduction",
        "_kept",
        "_mailroom",
        "_notices",
        "_peer",
        "_proceeding",
        "_queue",
        "_sends",
        "_server",
        "_tokens",
        "_turns",
        "account",
        "limit",
        "logged_in",
        "ready",
        "shown_after",
        "state",
    )

    def __init__(self, peer: Peer, accounts: Accounts, mailroom: Mailroom, server: str) -> None:
        """Converse with C{peer}; C{server} is the name and version the greeting gives."""
        self._peer = peer
        self._accounts = accounts
        self._introduction = Introduction(accounts, peer.origin)
        self._mailroom = mailroom
        self._server = server
        self._queue: deque[Incoming] = deque()
        self._proceeding = False  # frames are being taken from the queue
        self._turns: deque[_Turn] = deque()
        self._sends = 0  # under way in the mailroom
        self._bytes = 0
        self._held = False  # a command is being answered; the frames behind it wait
        self._behind = False  # a command waits for the sends and receipts before it
        self._feed: Optional[Feed] = None
        self._notices: dict[str, list[int]] = {}  # deliveries the peer was too busy to be told of
        self._kept = 0  # the bytes of these
        self._admission: Optional[Admission] = None
        self._tokens: tuple[int, ...] = ()  # the numbers of those shown and given in this login
        self.account: Optional[Account] = None
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

    @property
    def closed(self) -> bool:
        """Whether the conversation is over, though its last answers may be due."""
        return self.state is State.CLOSED

    def receive(self, incoming: Sequence[Incoming]) -> None:
        """These frames arrived, in this order."""
        if self.ready and self.logged_in and not (self._queue or self._peer.paused):
            # What is of one kind, as nearly always, need not queue.
            frame = incoming[0]
            if type(frame) is Message and (len(incoming) == 1 or set(map(type, incoming)) == _ONLY_MESSAGES):
                self._accept(incoming)  # type: ignore[arg-type]
                return
            if type(frame) is Received and len(incoming) == 1:
                self._confirm(frame.ids)
                return
        self._queue.extend(incoming)
        self._proceed()

    def drained(self) -> None:
        """The peer has read enough to be told more."""
        while self._notices and not self._peer.paused:
            time, ids = next(iter(self._notices.items()))
            del self._notices[time]
            self._kept -= NOTICE_BYTES + NOTICED_BYTES * len(ids)
            self._peer.keep(self._kept)
            self._peer.send([Delivered(ids=ids, time=time)])
        if self._feed is not None:
            self._feed.drained()
        self._proceed()

    def end(self, error: FatalError) -> None:
        """No more conversation; C{error} is the last word, after the answers still due."""
        if self.state is not State.CLOSED:
            self._last(fatal(error))
            self._flush()

    def lost(self) -> None:
        """The connection is gone; answers under way go nowhere."""
        self._shut()

    def fail(self) -> None:
        """Something here went wrong that is not the client's doing: this session ends, alone."""
        self._shut()
        self._turns.clear()
        reason = "Something went wrong on the server. Connect again; what was accepted is safe."
        self._peer.send([fatal(FatalError(Code.INTERNAL_ERROR, reason))])
        self._peer.close()

    # --- what the mailroom and the directory say ---

    @property
    def settling(self) -> bool:
        """Whether something that was said by the client is not on disk yet, receipts included."""
        return self._sends > 0 or self._bytes > 0

    @property
    def live(self) -> bool:
        """See L{chat.directory.Resident.live}."""
        feed = self._feed
        return feed is not None and feed.shows_next

    @_alone
    def push(self, arrivals: Sequence[Arrival]) -> None:
        """See L{chat.directory.Resident.push}."""
        if self._feed is not None:
            self._feed.push(arrivals)

    @_alone
    def more(self) -> None:
        """See L{chat.directory.Resident.more}."""
        if self._feed is not None:
            self._feed.more()

    @_alone
    def notify(self, frame: Delivered) -> None:
        """See L{chat.directory.Resident.notify}."""
        if self._feed is None:
            return  # not welcome yet: whoever asks after the welcome sees the delivery in the listing
        if not self._peer.paused:
            self._peer.send([frame])
            return
        ids = self._notices.get(frame.time)
        if ids is None:
            ids = self._notices[frame.time] = []
            self._kept += NOTICE_BYTES
        ids.extend(frame.ids)
        self._kept += NOTICED_BYTES * len(frame.ids)
        self._peer.keep(self._kept)
        if self._kept > NOTICES_KEPT:
            self.end(FatalError(Code.SLOW_DOWN, "This connection does not read what it is sent."))

    @_alone
    def account_gone(self) -> None:
        """See L{chat.directory.Resident.account_gone}."""
        self.end(account_gone())

    # --- frames, in order ---

    def _proceed(self) -> None:
        """Take frames from the queue until one has to be waited for."""
        if self._proceeding:
            return  # an answer that was there at once; the loop below goes on with the next frame
        self._proceeding = True
        self._weigh()
        try:
            queue = self._queue
            while queue and not self._held and not self._peer.paused:
                if self.state is not State.USER:
                    self._login(queue.popleft())
                elif type(queue[0]) is Message:
                    self._accept(self._take_messages())
                elif self.settling and self._overtakes(queue[0]):
                    self._behind = True
                    break
                else:
                    self._user(queue.popleft())
        finally:
            self._proceeding = False
            self._weigh()
        self._flush()

    def _overtakes(self, frame: Incoming) -> bool:
        """Whether it could be carried out before what was sent before it, and not know of that."""
        assert self.account is not None
        return not isinstance(frame, _ALWAYS_IN_ORDER) and self._mailroom.waits(self.account)

    def _take_messages(self) -> list[Message]:
        """The messages at the front of the queue: they go to the mailroom together."""
        queue = self._queue
        messages: list[Message] = []
        while queue and isinstance(queue[0], Message):
            messages.append(queue[0])
            queue.popleft()
        return messages

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
            self._refuse_login(self._out_of_place(frame) or _not_before_login(ref))

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
        account = self.account
        assert account is not None
        if isinstance(frame, Received):
            self._confirm(frame.ids)
        elif isinstance(frame, Answer):
            self._door_says(frame.frame)
        elif isinstance(frame, Ping):
            self._answer(Pong())
        elif isinstance(frame, List):
            listing = self._mailroom.listing(account, frame.box, frame.after, frame.limit, frame.before)
            self._hold(self._command(listing))
        elif isinstance(frame, Search):
            self._hold(self._command(self._mailroom.search(account, frame)))
        elif isinstance(frame, Read):
            self._hold(self._command(self._mailroom.read(account, frame.ids)))
        elif isinstance(frame, Delete):
            self._hold(self._command(self._mailroom.remove(account, frame.ids)))
        elif isinstance(frame, ChangePassword):
            self._hold(self._command(self._change_password(account, frame)))
        elif isinstance(frame, DeleteAccount):
            self._hold(self._delete_account(account, frame.password))
        elif isinstance(frame, Recovery):
            self._hold(self._command(self._renew_codes(account, frame.password)))
        elif isinstance(frame, Token):
            self._hold(self._command(self._issue_token()))
        elif isinstance(frame, (Block, Unblock)):
            self._hold(self._command(self._block(account, frame.username, isinstance(frame, Block))))
        elif isinstance(frame, Blocks):
            self._hold(self._command(self._blocks(account)))
        elif isinstance(frame, Logout):
            self._hold(self._log_out(account, frame.all))
        elif isinstance(frame, Quit):
            self._last(Bye())
        elif isinstance(frame, Login):
            self._answer(failed(Refusal(Code.BAD_STATE, "This session is logged in already.")))
        else:
            refusal = self._out_of_place(frame)
            assert refusal is not None
            self._answer(failed(refusal))

    def _out_of_place(self, frame: Frame) -> Refusal | None:
        """The refusal of a frame that only servers say."""
        if isinstance(frame, _FROM_CLIENTS):
            return None
        assert isinstance(frame, System)
        return Refusal(Code.BAD_FRAME, f"{keyword(frame)} is said by servers, not by clients.")

    # --- sends ---

    def _accept(self, messages: Sequence[Message]) -> None:
        assert self.account is not None
        size = 0
        for message in messages:
            size += len(message.body)
        turn = _Turn(len(messages), size)
        self._turns.append(turn)
        self._sends += turn.count
        self._bytes += size
        if self._sends >= SENDS_UNDER_WAY or self._bytes >= BYTES_UNDER_WAY:
            self._weigh()
        wait = self._mailroom.accept(self.account, messages, partial(self._answered, turn), self._broken)
        if wait:
            self._held = True
            self._weigh()
            self._peer.run(self._rest(wait))

    def _confirm(self, ids: Sequence[int]) -> None:
        assert self.account is not None
        if len(ids) > RECEIPTS_AT_ONCE:
            self._held = True
            self._weigh()
            self._confirm_rest(self.account, ids, 0)
            return
        size = len(ids) * ID_BYTES
        self._bytes += size
        if self._bytes >= BYTES_UNDER_WAY:
            self._weigh()
        self._mailroom.confirm(self.account, ids, partial(self._confirmed, size), self._broken)

    @_alone
    def _confirmed(self, size: int) -> None:
        """A receipt is on disk."""
        self._bytes -= size
        self._catch_up()
        if not self.ready:
            self._look_again()

    @_alone
    def _confirm_rest(self, account: Account, ids: Sequence[int], start: int) -> None:
        """One part of very many receipts after the other, so that others have their turn in between."""
        if start < len(ids):
            end = start + RECEIPTS_AT_ONCE
            done = partial(self._confirm_rest, account, ids, end)
            self._mailroom.confirm(account, ids[start:end], done, self._broken)
            return
        self._held = False
        self._weigh()
        self._proceed()
        self._peer.resume()

    @_alone
    def _answered(self, turn: _Turn, frames: list[Frame]) -> None:
        """These are the answers to a batch of sends."""
        self._sends -= turn.count
        self._bytes -= turn.size
        turn.frames = frames
        self._flush()
        self._catch_up()
        if not self.ready:
            self._look_again()

    @_alone
    def _broken(self, error: Exception) -> None:
        """The store could not do it, and has logged why."""
        self.fail()

    def _catch_up(self) -> None:
        """Go on with the command that waits for what was said before it, if nothing of that is left."""
        if self._behind and not self.settling:
            self._behind = False
            self._weigh()
            self._proceed()

    def _look_again(self) -> None:
        """Less is under way now: perhaps more frames can be taken."""
        self._weigh()
        if self.ready:
            self._peer.resume()

    # --- commands of several steps ---

    def _hold(self, steps: Coroutine[Any, Any, list[Frame]]) -> None:
        """Carry out C{steps}, whose frames are the answer; what follows waits."""
        self._held = True
        self._weigh()
        self._peer.run(self._carry_out(self._turn(), steps))

    async def _carry_out(self, turn: _Turn, steps: Coroutine[Any, Any, list[Frame]]) -> None:
        try:
            turn.frames = await steps
        except FatalError as error:
            turn.frames = [fatal(error)]
        finally:
            self._held = False
            self._weigh()
        self._flush()
        if self._feed is not None:
            self._feed.drained()
        self._proceed()
        self._peer.resume()

    async def _rest(self, seconds: float) -> None:
        """Who has sent too much is not heard for so long."""
        await self._peer.wait(seconds)
        self._held = False
        self._weigh()
        self._proceed()
        self._peer.resume()

    async def _command(self, steps: Coroutine[Any, Any, Frame]) -> list[Frame]:
        try:
            return [await steps]
        except Refusal as refusal:
            return [failed(refusal)]

    async def _change_password(self, account: Account, frame: ChangePassword) -> Frame:
        with self._journal(account, "change-password"):
            self._admission = await self._accounts.change_password(account, frame.password, frame.new)
        tell(Event.PASSWORD_CHANGED, self._peer.origin, account.name)
        return PasswordChanged()

    async def _renew_codes(self, account: Account, password: str) -> Frame:
        with self._journal(account, "recovery"):
            codes = await self._accounts.renew_recovery_codes(account, password)
        tell(Event.CODES_MADE, self._peer.origin, account.name)
        return RecoveryCodes(codes=codes)

    async def _block(self, account: Account, name: str, blocked: bool) -> Frame:
        return Blocked(usernames=await self._accounts.block(account, name, blocked))

    async def _blocks(self, account: Account) -> Frame:
        return Blocked(usernames=await self._accounts.blocked(account))

    async def _issue_token(self) -> Frame:
        assert self._admission is not None
        token = await self._accounts.issue(self._admission)
        self._tokens += (token.number,)
        tell(Event.TOKEN_ISSUED, self._peer.origin, self._admission.account.name, number=token.number)
        return TokenIssued(value=token.value, expires=rfc3339(token.expires))

    async def _log_out(self, account: Account, everywhere: bool) -> list[Frame]:
        try:
            await self._accounts.revoke(account, None if everywhere else self._tokens)
        except Refusal as refusal:
            return [failed(refusal)]
        which = "all tokens" if everywhere else "the tokens of a login"
        tell(Event.TOKENS_REVOKED, self._peer.origin, account.name, which=which)
        return [LoggedOut(), self._begin_again()]

    async def _delete_account(self, account: Account, password: str) -> list[Frame]:
        try:
            with self._journal(account, "delete-account"):
                await self._accounts.delete(account, password, self)
        except Refusal as refusal:
            return [failed(refusal)]
        tell(Event.DELETED, self._peer.origin, account.name)
        return [AccountDeleted(), self._begin_again()]

    @contextmanager
    def _journal(self, account: Account, request: str) -> Iterator[None]:
        """Log it if the password for this request was wrong."""
        try:
            yield
        except Refusal as refusal:
            if refusal.code in WRONG:
                code = refusal.code.value
                tell(Event.REFUSED, self._peer.origin, account.name, request=request, code=code)
            raise

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
        self._admission = admission
        self._tokens = () if admission.token is None else (admission.token,)
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

    def _weigh(self) -> None:
        """Find out whether more frames may be handed in."""
        self.ready = (
            not (self._held or self._behind)
            and not self._proceeding  # an answer that was there at once; whoever takes the frames goes on
            and self._sends < SENDS_UNDER_WAY
            and self._bytes < BYTES_UNDER_WAY
            and self.state is not State.CLOSED
        )

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
        if self._feed is not None:
            self._feed.stop()
            self._feed = None
        if self._notices:
            self._notices.clear()
            self._kept = 0
            self._peer.keep(0)

    # --- answers, in order ---

    def _turn(self) -> _Turn:
        turn = _Turn()
        self._turns.append(turn)
        return turn

    def _answer(self, frame: Frame) -> None:
        """Say C{frame} in its turn."""
        self._turn().frames = [frame]

    def _last(self, frame: Frame) -> None:
        """Say C{frame} in its turn, then hang up; what arrived behind it is not looked at."""
        self._shut()
        self._answer(frame)

    def _flush(self) -> None:
        """Say what is answered up to the first frame that is not."""
        turns = self._turns
        frames: list[Frame] = []
        while turns and (answer := turns[0].frames) is not None:
            turns.popleft()
            frames += answer
            if answer and isinstance(answer[-1], (Fatal, Bye)):
                self._shut()
                turns.clear()
                self._peer.send(frames)
                self._peer.close()
                return
        if frames:
            self._peer.send(frames)


#: The kinds of frames in what nearly always arrives at a time.
_ONLY_MESSAGES = {Message}
#: What is answered in its turn, and asks for nothing that is being written.
_ALWAYS_IN_ORDER = (Received, Answer, Ping, Quit)
#: What a client may say.
_FROM_CLIENTS = (
    Login,
    Message,
    Received,
    Delete,
    List,
    Read,
    DeleteAccount,
    Ping,
    Quit,
    ChangePassword,
    Token,
    Logout,
    Recovery,
    Block,
    Unblock,
    Blocks,
    Search,
)


def _not_before_login(ref: str | None) -> Refusal:
    return Refusal(Code.BAD_STATE, "Log in first: only login frames are taken before the welcome.", ref=ref)
