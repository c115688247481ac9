"""The course of a conversation: what arrives is taken in order, and answered in that order.

What arrives together is handed to the mailroom together, and a client may have many sends
under way; a command that needs more than one step (a login, a listing, the deletion of the
account) holds back the frames behind it until it is answered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from enum import Enum
from functools import partial
from typing import Any, Coroutine, Optional, Sequence

from msgspec import Struct

from chat.alone import alone
from chat.errors import Code, FatalError
from chat.ledger import Account
from chat.mailroom import Mailroom
from chat.messages import Answer, Bye, Fatal, Frame, Incoming, Message, Ping, Quit, Received
from chat.ports import Peer
from chat.refusals import fatal

#: How much one session may have under way in the mailroom: messages, and bytes of bodies and ids.
SENDS_UNDER_WAY = 500
BYTES_UNDER_WAY = 1024 * 1024
ID_BYTES = 512
#: How many messages are confirmed in one go; a frame that confirms more waits for each go.
RECEIPTS_AT_ONCE = 1000
#: The kinds of frames in what nearly always arrives at a time.
_ONLY_MESSAGES = {Message}
#: What is answered in its turn, and asks for nothing that is being written.
_ALWAYS_IN_ORDER = (Received, Answer, Ping, Quit)


class State(Enum):
    """Where a conversation stands."""

    LOGIN = "not logged in"
    USER = "logged in"
    CLOSED = "closed"


class _Turn(Struct, gc=False):
    """The place of one frame, or of a batch of sends, in the order of the answers.

    @ivar count: how many messages are sent with it.
    @ivar size: how many bytes their bodies have.
    @ivar frames: the answers, once they are known.
    """

    count: int = 0
    size: int = 0
    frames: Optional[list[Frame]] = None


class Course(ABC):
    """A conversation as far as it is a matter of order; whoever is in it says what each frame does.

    @ivar ready: whether more frames may be handed in.
    @ivar logged_in: whether the login is complete.
    """

    __slots__ = (
        "_behind",
        "_bytes",
        "_held",
        "_mailroom",
        "_peer",
        "_proceeding",
        "_queue",
        "_sends",
        "_turns",
        "account",
        "logged_in",
        "ready",
        "state",
    )

    def __init__(self, peer: Peer, mailroom: Mailroom) -> None:
        """Take what C{peer} sends, and hand its messages and receipts to C{mailroom}."""
        self._peer = peer
        self._mailroom = mailroom
        self._queue: deque[Incoming] = deque()
        self._proceeding = False  # frames are being taken from the queue
        self._turns: deque[_Turn] = deque()
        self._sends = 0  # under way in the mailroom
        self._bytes = 0
        self._held = 0  # so many commands and rests are not over; the frames behind them wait
        self._behind = False  # a command waits for the sends and receipts before it
        self.account: Optional[Account] = None
        self.state = State.LOGIN
        self.logged_in = False
        self.ready = True

    # --- what one is in it for ---

    @abstractmethod
    def _login(self, frame: Incoming) -> None:
        """Do what this frame says before the login is complete."""

    @abstractmethod
    def _user(self, frame: Incoming) -> None:
        """Do what this frame says, which is no message, once it is."""

    @abstractmethod
    def drained(self) -> None:
        """The peer has read enough to be told more."""

    @abstractmethod
    def _shut(self) -> None:
        """The conversation is over: what arrived and was not looked at is not looked at any more."""

    # --- the ends of it ---

    @property
    def closed(self) -> bool:
        """Whether the conversation is over, though its last answers may be due."""
        return self.state is State.CLOSED

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

    # --- frames, in order ---

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

    def _proceed(self) -> None:
        """Take frames from the queue until one has to be waited for."""
        if self._proceeding:
            return  # an answer that was there at once; the loop below goes on with the next frame
        self._proceeding = True
        self._weigh()
        try:
            queue = self._queue
            while queue and not self._held and not self._peer.paused:
                if not self.logged_in:
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

    def _weigh(self) -> None:
        """Find out whether more frames may be handed in."""
        self.ready = (
            not (self._held or self._behind)
            and not self._proceeding  # an answer that was there at once; whoever takes the frames goes on
            and self._sends < SENDS_UNDER_WAY
            and self._bytes < BYTES_UNDER_WAY
            and self.state is not State.CLOSED
        )

    # --- sends and receipts ---

    @property
    def settling(self) -> bool:
        """Whether something that was said by the client is not on disk yet, receipts included."""
        return self._sends > 0 or self._bytes > 0

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
            self._held += 1  # there may be another one, of what was refused at once and asked for more
            self._weigh()
            self._peer.run(self._rest(wait))

    def _confirm(self, ids: Sequence[int]) -> None:
        assert self.account is not None
        if len(ids) > RECEIPTS_AT_ONCE:
            self._held += 1
            self._weigh()
            self._confirm_rest(self.account, ids, 0)
            return
        size = len(ids) * ID_BYTES
        self._bytes += size
        if self._bytes >= BYTES_UNDER_WAY:
            self._weigh()
        self._mailroom.confirm(self.account, ids, partial(self._confirmed, size), self._broken)

    @alone
    def _confirmed(self, size: int) -> None:
        """A receipt is on disk."""
        self._bytes -= size
        self._catch_up()
        if not self.ready:
            self._look_again()

    @alone
    def _confirm_rest(self, account: Account, ids: Sequence[int], start: int) -> None:
        """One part of very many receipts after the other, so that others have their turn in between."""
        if start < len(ids):
            end = start + RECEIPTS_AT_ONCE
            done = partial(self._confirm_rest, account, ids, end)
            self._mailroom.confirm(account, ids[start:end], done, self._broken)
            return
        self._held -= 1
        self._weigh()
        self._proceed()
        self._peer.resume()

    @alone
    def _answered(self, turn: _Turn, frames: list[Frame]) -> None:
        """These are the answers to a batch of sends, or to the first of it that had none yet."""
        if len(frames) < turn.count:
            turn = self._first_of(turn, len(frames))
        self._sends -= turn.count
        self._bytes -= turn.size
        turn.frames = frames
        self._flush()
        self._catch_up()
        if not self.ready:
            self._look_again()

    def _first_of(self, turn: _Turn, count: int) -> _Turn:
        """A place of their own for the first messages of a batch, before that of the others."""
        first = _Turn(count)
        turn.count -= count
        for place, each in enumerate(self._turns):
            if each is turn:
                self._turns.insert(place, first)
                break  # else the session has ended, and nobody is answered
        return first

    @alone
    def _broken(self, error: Exception) -> None:
        """The store could not do it, and has logged why."""
        self.fail()

    def _catch_up(self) -> None:
        """Go on with the command that waits for what was said before it, if nothing of that is left."""
        if self._behind and not self.settling:
            self._behind = False
            self._weigh()
            self._proceed()
            # If it was answered at once, nobody else asks for what came behind it.
            self._peer.resume()

    def _look_again(self) -> None:
        """Less is under way now: perhaps more frames can be taken."""
        self._weigh()
        if self.ready:
            self._peer.resume()

    # --- what takes several steps ---

    def _hold(self, steps: Coroutine[Any, Any, list[Frame]]) -> None:
        """Carry out C{steps}, whose frames are the answer; what follows waits."""
        self._held += 1
        self._weigh()
        self._peer.run(self._carry_out(self._turn(), steps))

    async def _carry_out(self, turn: _Turn, steps: Coroutine[Any, Any, list[Frame]]) -> None:
        try:
            turn.frames = await steps
        except FatalError as error:
            turn.frames = [fatal(error)]
        finally:
            self._held -= 1
            self._weigh()
        self._flush()
        self.drained()
        self._peer.resume()

    async def _rest(self, seconds: float) -> None:
        """Who has sent too much is not heard for so long."""
        await self._peer.wait(seconds)
        self._held -= 1
        self._weigh()
        self._proceed()
        self._peer.resume()

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
