"""What is fed, and what it must never do."""

from __future__ import annotations

import signal
import time
import tracemalloc
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from random import Random
from shutil import rmtree
from sys import getsizeof
from typing import Any, Callable, Iterator, Protocol, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from chat.course import SENDS_UNDER_WAY
from chat.errors import BadFrame, ChatError, FatalError
from chat.messages import (
    LOGIN_FRAME_BYTES,
    RECIPIENT_BYTES,
    USER_FRAME_BYTES,
    Accepted,
    AccountDeleted,
    Answer,
    Bye,
    ChangePassword,
    Delete,
    DeleteAccount,
    Deleted,
    Failed,
    Fatal,
    Frame,
    Incoming,
    List,
    Listing,
    Login,
    Message,
    Messages,
    NewPassword,
    Password,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Read,
    Username,
    Version,
    Welcome,
)
from chat.store.mailboxes import PAGE_BYTES
from chat.wire import Codec, deserialize, framing, serialize
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator
from tests.fuzz.mutation import MAKERS, READ_BYTES, cut
from tests.network import Hashing, Network
from tests.talker import password
from tests.wire import Wire

#: How much CPU time one frame may take, in seconds, and each further one in the same input.
CPU = 0.050
CPU_MORE = 0.0001
#: One that goes through session and store counts as so many that are only decoded.
STEPS = 5
#: What has taken so many seconds of CPU time has no end.
ENDLESS = 10.0
#: Beyond this a frame is only read, and its memory is always measured.
LONG_BYTES = 32 * 1024
#: How much memory one input may take: its own bytes, twice its size beyond them, and so much in any case.
TIMES = 3
SPARE_BYTES = 256 * 1024
#: The same at the text door, which takes lines apart: each is there as bytes, as text, and in its parts.
TIMES_IN_TEXT = 6
#: What a frame takes that is under way, whatever its size: its answer, for instance.
FRAME_BYTES = 1024
#: What a number in a list takes, which may be a single digit on the wire.
ELEMENT_BYTES = 40
#: What is said to a client costs as much as a frame, each time it comes to so many bytes.
HEARD_BYTES = 1024
#: Once it has heard so much, it reads no more.
HEARD_MOST = 256 * 1024
#: The text door is shown so much of an input as a message from somebody else.
DELIVERY_BYTES = 4096
#: How many inputs one server of a L{SessionTarget} is fed.
INPUTS_EACH = 1000
TIME = "2026-11-22T21:07:00.123Z"
#: As the first octet of an input of a L{SessionTarget} names them.
DOORS = ("json", "der", "text")


class Fault(Exception):
    """A target did what it must never do."""


class Target(Protocol):
    """Something that takes hostile bytes."""

    def allowed(self, wire: bytes) -> int:
        """How much memory an input may take."""

    def make(self, random: Random) -> bytes:
        """An input."""

    def run(self, wire: bytes) -> int:
        """Take an input; how many frames it was.

        @raise Fault: what came of it is wrong; any other exception is as bad.
        """

    def close(self) -> None:
        """No more inputs."""


class DecoderTarget:
    """One codec: bytes are a frame that can be written and read again, or are refused in words."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self.make = MAKERS[codec]

    def allowed(self, wire: bytes) -> int:
        """See L{Target.allowed}."""
        return TIMES * _size(wire) + _elements(wire) + SPARE_BYTES

    def run(self, wire: bytes) -> int:
        """See L{Target.run}."""
        count = 1 + self._taken(wire)
        try:
            frame = deserialize(wire, self._codec)
        except (BadFrame, FatalError) as error:
            _told(error)
            return count
        if len(wire) > LONG_BYTES:
            return count  # writing and reading it twice is not what is measured
        for codec in ("json", "der"):
            try:
                again = deserialize(serialize(frame, codec), codec)
            except ValueError:
                if _moment(frame):
                    raise
                continue  # of the form of a time, but none: only clients can say so, and nobody asks them
            if again != frame:
                raise Fault(f"read, written in {codec} and read again it differs")
        return count

    def _taken(self, wire: bytes) -> int:
        """How many frames the door makes of these bytes, as they come from a network."""
        door = FrameTranslator(Codec(self._codec))
        limit = LOGIN_FRAME_BYTES if len(wire) % 2 else USER_FRAME_BYTES
        count = 0
        end = b"\n" if self._codec == "json" else b""
        for at in range(0, len(wire), READ_BYTES):
            piece = wire[at : at + READ_BYTES]
            door.feed(piece if at + READ_BYTES < len(wire) else piece + end)
            taken: Sequence[Incoming] = [Answer(Pong())]
            while taken:
                taken = door.take(limit)
                count += len(taken)
                if taken and isinstance(taken[-1], Answer) and isinstance(taken[-1].frame, Fatal):
                    return count
        return count

    def close(self) -> None:
        """See L{Target.close}."""


def _moment(frame: Frame) -> bool:
    """Whether all times in a frame are moments that there are."""
    from chat.times import milliseconds

    for one in [frame, *getattr(frame, "messages", ())]:
        try:
            for field in ("time", "expires"):
                if time := getattr(one, field, None):
                    milliseconds(time)
        except ValueError:
            return False
    return True


def _size(wire: bytes) -> int:
    """What an input takes, as bytes or as text, whichever is more."""
    return max(len(wire), getsizeof(wire.decode("utf-8", "replace")))


def _elements(wire: bytes) -> int:
    """What the numbers in an input may take: those of an array in JSON, INTEGERs in DER."""
    return max(wire.count(b","), wire.count(b"\x02")) * ELEMENT_BYTES


def _told(error: ChatError) -> None:
    """A refusal can be said on the wire."""
    if not error.reason or len(error.reason.encode()) > 1000:
        raise Fault(f"a reason of {len(error.reason)} characters")


class TextTarget:
    """The text door alone, with a session that answers whatever is due."""

    make = staticmethod(MAKERS["text"])

    def allowed(self, wire: bytes) -> int:
        """See L{Target.allowed}."""
        return TIMES_IN_TEXT * _size(wire) + SPARE_BYTES

    def run(self, wire: bytes) -> int:
        """See L{Target.run}."""
        random = Random(len(wire))
        count = 1 + wire.count(b"\n") + wire.count(b"\xff")
        door = TextTranslator()
        door.render([Version(protocol=1, server="chat"), Username()])
        logged_in = random.random() < 0.7
        if logged_in:
            door.feed(random.choice((b"alice\npassword1\n", b"\xff\xfb\x1falice\r\npassword1\r\n")))
        state = "username"
        for piece in chain([b""], cut(random, wire)):
            door.feed(piece)
            limit = USER_FRAME_BYTES if state == "user" else LOGIN_FRAME_BYTES
            while (one := door.next(limit)) is not None:
                count += 1
                answers, state = _answers(one, state)
                door.render(answers)
                if any(isinstance(answer, (Fatal, Bye)) for answer in answers):
                    return count
                limit = USER_FRAME_BYTES if state == "user" else LOGIN_FRAME_BYTES
            if state == "user" and random.random() < 0.3:
                door.render([_delivery(random, wire)])
        if door.buffered > 2 * len(wire) + 64:
            raise Fault(f"{door.buffered} bytes are kept of {len(wire)}")
        return count

    def close(self) -> None:
        """See L{Target.close}."""


def _delivery(random: Random, wire: bytes) -> Message:
    body = wire[:DELIVERY_BYTES].decode("utf-8", "replace")
    return Message(id=random.randrange(1, 9), sender="bob", recipient="alice", time=TIME, body=body)


def _answers(incoming: Incoming, state: str) -> tuple[list[Frame], str]:
    """What a session says to this, roughly, and where it stands then."""
    if isinstance(incoming, Answer):
        return [incoming.frame], state
    if isinstance(incoming, Login):
        if incoming.field == "username":
            return ([NewPassword()], "new") if incoming.value != "alice" else ([Password()], "password")
        return [Welcome(username="alice", waiting=1)], "user"
    if isinstance(incoming, Message) and len(incoming.recipient) > RECIPIENT_BYTES:
        return [Failed(code="too-large", reason="That is no name.")], state
    if isinstance(incoming, Message):
        return [Accepted(id=7, time=TIME, state="waiting")], state
    if isinstance(incoming, DeleteAccount):
        return [AccountDeleted(), Username()], "username"
    if isinstance(incoming, List):
        return [Listing(box=incoming.box, messages=[], more=False)], state
    if isinstance(incoming, Read):
        message = Message(id=1, sender="bob", recipient="alice", time=TIME, body="x", state="waiting")
        return [Messages(messages=[message], missing=incoming.ids)], state
    if isinstance(incoming, Delete):
        return [Deleted(ids=incoming.ids, missing=[])], state
    simple: dict[type, Frame] = {Ping: Pong(), Quit: Bye(), ChangePassword: PasswordChanged()}
    return [simple[type(incoming)]] if type(incoming) in simple else [], state


class Remembered(Hashing):
    """Hashes computed once: the same passwords come again and again, and bcrypt is slow on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self._computed: dict[tuple[object, ...], Any] = {}

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See L{Hashing.__call__}."""
        asked = (function, *arguments)
        if asked not in self._computed:
            self._computed[asked] = function(*arguments)
        return succeed(self._computed[asked])


@implementer(ILogObserver)
class SessionTarget:
    """A whole server: an input is what one connection says, in pieces, at some door."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = 0
        self._inputs = 0
        self._faults: list[str] = []
        globalLogPublisher.addObserver(self)
        self._network = self._start()

    def _start(self) -> Network:
        self._servers += 1
        network = Network(self._directory / str(self._servers), hashing=Remembered())
        for name in ("alice", "bob"):
            network.user(name).hang_up()
        return network

    def __call__(self, event: LogEvent) -> None:
        """Whatever the server logs as an error is a fault."""
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            self._faults.append(failure.getTraceback() if failure else str(event.get("log_format")))

    def allowed(self, wire: bytes) -> int:
        """See L{Target.allowed}.

        What no input brought is there, too: a page of waiting mail, in each form it takes on its way,
        and what is known of each frame that is under way, of which there is a limit.
        """
        under_way = min(_frames(_door(wire), wire), SENDS_UNDER_WAY) * FRAME_BYTES
        times = TIMES_IN_TEXT if _door(wire) == "text" else TIMES
        return times * _size(wire) + _elements(wire) + SPARE_BYTES + 4 * PAGE_BYTES + under_way

    def make(self, random: Random) -> bytes:
        """A door, whether to log in first, then what is said there."""
        door = random.choice(("json", "json", "der", "der", "text"))
        frames = [MAKERS[door](random) for _ in range(random.choice((1, 1, 2, 5)))]
        if random.random() < 0.7:
            frames[0] = _lawful(door, random)
        end = b"\n" if door != "der" else b""
        opening = bytes((DOORS.index(door) * 2 + (random.random() < 0.8),))
        return opening + end.join(frames) + end

    def run(self, wire: bytes) -> int:
        """See L{Target.run}."""
        if not wire:
            return 0
        self._count()
        random = Random(len(wire) * 256 + wire[-1])
        network = self._network
        door = _door(wire)
        protocol = network.doors[door].buildProtocol(None)
        connection = Wire(protocol)
        protocol.makeConnection(connection)
        if wire[0] % 2:
            connection.arrive(_greeting(door, random))
            network.clock.advance(0)
        heard = 0
        for piece in cut(random, wire[1:]):
            connection.arrive(piece)
            if random.random() < 0.7 and heard < HEARD_MOST:
                network.clock.advance(0)
                heard += len(connection.read())
        network.clock.advance(random.choice((0, 0, 0, 1, 100)))
        connection.lose()
        network.clock.advance(0)
        self._complain()
        if network.doors[door].connections:
            raise Fault("a connection that was lost is still known")
        return 1 + STEPS * (_frames(door, wire) + heard // HEARD_BYTES)

    def _count(self) -> None:
        self._inputs += 1
        if self._inputs % INPUTS_EACH == 0:
            # What was accepted piles up; the files of a server that has been up for long are not the matter.
            self._network.close()
            rmtree(self._network.data)
            self._network = self._start()

    def _complain(self) -> None:
        if self._faults:
            faults, self._faults = self._faults, []
            raise Fault("\n".join(faults))

    def close(self) -> None:
        """See L{Target.close}."""
        globalLogPublisher.removeObserver(self)
        self._network.close()


def _door(wire: bytes) -> str:
    """Which door this input of a L{SessionTarget} goes to."""
    return DOORS[wire[0] // 2 % 3]


def _frames(door: str, wire: bytes) -> int:
    """How many frames these bytes are at most, at this door."""
    if door == "der":
        count = 0
        cutter = framing(door)
        cutter.feed(wire[1:])
        with suppress(FatalError):
            while cutter.next(USER_FRAME_BYTES) is not None:
                count += 1
        return count
    return sum([wire.count(end) for end in ((b"\n",) if door == "json" else (b"\n", b"\r", b"\xff"))])


def _greeting(door: str, random: Random) -> bytes:
    name = random.choice(("alice", "bob"))
    if door == "text":
        return f"{name}\n{password(name)}\n".encode()
    frames = [Login(field="username", value=name), Login(field="password", value=password(name))]
    return b"".join([serialize(frame, door) for frame in frames])


def _lawful(door: str, random: Random) -> bytes:
    ids = [random.randrange(1, 40) for _ in range(random.randrange(3))]
    frame = random.choice(
        (
            Message(
                recipient=random.choice(("alice", "bob", "nobody")), body="hello", ref=random.choice("abc")
            ),
            Read(ids=ids),
            Delete(ids=ids),
            List(box=random.choice(("inbox", "sent")), limit=5),
            DeleteAccount(password=password("bob") if random.random() < 0.05 else "wrong"),
            ChangePassword(password="wrong", new="also wrong"),
            Quit(),
        )
    )
    return serialize(frame, door).rstrip(b"\n") if door != "text" else MAKERS["text"](random)


def measured(run: Callable[[bytes], int], wire: bytes) -> tuple[float, float]:
    """How much CPU time an input takes, in seconds, and how much it may."""
    with _ending():
        begun = time.process_time()
        count = run(wire)
        return time.process_time() - begun, CPU + (count - 1) * CPU_MORE


@contextmanager
def _ending() -> Iterator[None]:
    """Interrupt what would take for ever."""

    def interrupt(*_: object) -> None:
        raise Fault(f"no end after {ENDLESS:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def check_time(run: Callable[[bytes], int], wire: bytes) -> float:
    """The CPU time of an input.

    @raise Fault: it takes too long, again and again (so that it is not the machine).
    """
    taken, allowed = measured(run, wire)
    for _ in range(4):
        if taken > allowed:
            taken = min(taken, measured(run, wire)[0])
    if taken > allowed:
        raise Fault(
            f"{taken * 1000:.0f} ms of CPU time for {len(wire)} bytes; {allowed * 1000:.0f} are allowed"
        )
    return taken


def check_memory(target: Target, wire: bytes) -> int:
    """The most memory that an input takes.

    @raise Fault: too much.
    """
    allowed = target.allowed(wire)
    peak = allowed + 1
    for _ in range(2):  # what is computed once and kept is not the matter
        if peak > allowed:
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                target.run(wire)
                peak = tracemalloc.get_traced_memory()[1] - before
            finally:
                tracemalloc.stop()
    if peak > allowed:
        raise Fault(f"{peak} bytes of memory for {len(wire)} bytes; {allowed} are allowed")
    return peak
