"""The load generator: many senders and recipients in one process, on bare sockets.

It speaks to any server that keeps the wire contract, counts every answer and every
delivery, and stops at the first one that is missing, doubled or out of order: a
server is not fast if it is wrong.  It costs a fraction of what a server costs, so
that one core of load can keep one core of server busy.

As a program it measures a server that is already running, see C{--help}; C{bench.run}
starts servers and takes whole series of figures.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Protocol, TypeVar

from bench.doors import DOORS, Door, Incoming

#: A sequence number has this many digits, in bodies and in refs, so that one encoded
#: message serves as a pattern for all of them: also where lengths are encoded.
DIGITS = 9
#: Stands for the sequence number in that pattern, and for a part of nothing else.
HOLE = "#" * DIGITS
#: What every account of a benchmark has for a password.
PASSWORD = "correct horse battery"
#: Give up when nothing at all happened for so many seconds.
PATIENCE = 60.0
#: The most bytes read from one socket at once.
READ_BYTES = 1 << 18
#: Connections opened at once; more would overrun a listening socket's backlog.
AT_ONCE = 32
#: A server rests that has used less than this share of a core for so many seconds.
RESTING = 0.005
RESTS = 0.8


class LoadError(Exception):
    """The server did not do what was asked of it: one line that says what."""


# --- sockets ---------------------------------------------------------------------------


class Wire(Protocol):
    """What a session needs of a socket that does not block."""

    def fileno(self) -> int:
        """What to wait for."""

    def recv(self, most: int, /) -> bytes:
        """What has arrived; raises L{BlockingIOError} where that is nothing."""

    def send(self, wire: bytes, /) -> int:
        """How many of these bytes were taken; raises L{BlockingIOError} where that is none."""

    def close(self) -> None:
        """Hang up."""


#: Opens a connection.
Connect = Callable[[tuple[str, int]], Wire]


def plain(address: tuple[str, int]) -> socket.socket:
    """A TCP connection."""
    connected = socket.create_connection(address, timeout=PATIENCE)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setblocking(False)
    return connected


class Encrypted:
    """A TLS connection to a server whose certificate nobody vouches for: a L{Wire}."""

    def __init__(self, address: tuple[str, int]) -> None:
        connected = plain(address)
        connected.settimeout(PATIENCE)
        self._socket = _trusting().wrap_socket(connected)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """See L{Wire.fileno}."""
        return self._socket.fileno()

    def recv(self, most: int) -> bytes:
        """See L{Wire.recv}: TLS gives one record of 16 KiB at a time, and would hide the others."""
        pieces: list[bytes] = []
        try:
            while piece := self._socket.recv(most):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            if not pieces:
                raise BlockingIOError from None
        return b"".join(pieces)

    def send(self, wire: bytes) -> int:
        """See L{Wire.send}."""
        sent = 0
        rest = memoryview(wire)
        try:
            while sent < len(wire):
                sent += self._socket.send(rest[sent:])
        except ssl.SSLWantWriteError:
            if not sent:
                raise BlockingIOError from None
        return sent

    def close(self) -> None:
        """See L{Wire.close}."""
        self._socket.close()


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Loop:
    """Waits for sockets and tells their sessions; nothing else."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sessions: dict[int, Session] = {}

    def add(self, session: Session) -> None:
        """Tell this session when its socket has something to read."""
        number = session.socket.fileno()
        self._sessions[number] = session
        self._epoll.register(number, select.EPOLLIN)

    def remove(self, session: Session) -> None:
        """Forget a session before its socket is closed."""
        number = session.socket.fileno()
        del self._sessions[number]
        self._epoll.unregister(number)

    def watch_writing(self, session: Session, wanted: bool) -> None:
        """Tell this session when its socket takes bytes again, or no longer."""
        mask = select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN
        self._epoll.modify(session.socket.fileno(), mask)

    def run(self, done: Callable[[], bool], due: Callable[[], float] | None = None) -> None:
        """Serve the sockets until C{done}.

        @param due: called in each turn; does what is due now and tells in how many
            seconds it wants to be called again.
        @raise LoadError: nothing happened for a long time.
        """
        while not done():
            patience = PATIENCE
            if due is not None:
                # epoll counts in milliseconds, select in microseconds.
                select.select([self._epoll.fileno()], [], [], max(0.0, due()))
                patience = 0.0
            events = self._epoll.poll(patience, 1024)
            if not events and due is None:
                raise LoadError(f"nothing came from the server for {PATIENCE:.0f} seconds")
            for number, event in events:
                session = self._sessions.get(number)
                if session is None:
                    continue
                if event & select.EPOLLOUT:
                    session.flush()
                if event & ~select.EPOLLOUT:
                    session.read()

    def close(self) -> None:
        """Hang up on everybody."""
        for session in list(self._sessions.values()):
            session.close()
        self._epoll.close()


class Session:
    """One connection: it signs up if need be, logs in, and hands on what comes after."""

    def __init__(
        self, loop: Loop, door: Door, address: tuple[str, int], name: str, connect: Connect = plain
    ) -> None:
        self.name = name
        self.door = door
        self.ready = False
        self.waiting = 0
        self._loop = loop
        self._rest = b""
        self._unsent = b""
        self.socket = connect(address)
        loop.add(self)
        self._login = door.login(name, PASSWORD)
        self.write(self._login)

    def write(self, wire: bytes) -> None:
        """Send these bytes, now or as soon as the server takes them."""
        if self._unsent or not wire:
            self._unsent += wire
            return
        try:
            sent = self.socket.send(wire)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise LoadError(f"{self.name}: {error}") from None
        if sent < len(wire):
            self._unsent = wire[sent:]
            self._loop.watch_writing(self, True)

    def flush(self) -> None:
        """Go on with what did not fit earlier."""
        wire, self._unsent = self._unsent, b""
        self._loop.watch_writing(self, False)
        self.write(wire)

    def read(self) -> None:
        """Take what came."""
        try:
            buffer = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise LoadError(f"{self.name}: {error}") from None
        if not buffer:
            raise LoadError(f"the server hung up on {self.name}")
        frames, self._rest = self.door.cut(self._rest + buffer if self._rest else buffer)
        if not self.ready:
            frames = self._log_in(frames)
        if frames:
            self.talk(frames)

    def _log_in(self, frames: list[Incoming]) -> list[Incoming]:
        """Answer until C{welcome}, and give back what follows it."""
        for at, frame in enumerate(frames):
            keyword = frame.data.keyword
            if keyword == "welcome":
                self.ready = True
                self.waiting = frame.data.waiting
                return frames[at + 1 :]
            if keyword == "new-password":
                self.write(self.door.again(PASSWORD))
            elif keyword == "created":
                self.write(self._login)
            elif keyword in ("failed", "fatal"):
                raise self.refused(frame)
        return []

    def talk(self, frames: list[Incoming]) -> None:
        """Take what comes after C{welcome}."""

    def refused(self, frame: Incoming) -> LoadError:
        """What to raise for a frame that should not have come."""
        said = frame.data
        return LoadError(
            f"{self.name}: the server said {frame.type} {said.keyword} {said.code} {said.reason}"
        )

    def close(self) -> None:
        """Hang up."""
        self._loop.remove(self)
        self.socket.close()


class Sender(Session):
    """Sends messages, never more than so many of them unanswered."""

    accepted = 0
    newest = 0
    total = 0
    #: How many are sent by themselves, one for each answer.
    left = 0

    def prepare(self, recipient: str, size: int, run: str) -> None:
        """Encode what all messages of this run have in common."""
        body = HOLE + " " + "x" * (size - DIGITS - 1)
        wire = self.door.message(recipient, body, run + HOLE)
        self._parts = wire.split(HOLE.encode())
        self._run = run
        self.write(self.door.opening(recipient))
        self.accepted = self.sent = self.total = self.left = 0

    def start(self, total: int, in_flight: int) -> None:
        """Send so many messages."""
        first = min(total, in_flight)
        self.total = total
        self.left = total - first
        self.send(first)

    def send(self, count: int) -> None:
        """Send the next so many at once."""
        join = b"%09d".__mod__
        numbers = map(join, range(self.sent, self.sent + count))
        self.write(b"".join([number.join(self._parts) for number in numbers]))
        self.sent += count

    def talk(self, frames: list[Incoming]) -> None:
        """Count C{accepted}, each in its turn, and send as many again."""
        expected, run, newest = self.accepted, self._run, self.newest
        refs = self.door.refs
        for frame in frames:
            fields = frame.data
            if fields.keyword != "accepted":
                raise self.refused(frame)
            if fields.state != "waiting" or (refs and fields.ref != f"{run}{expected:09d}"):
                raise LoadError(f"{self.name}: {fields} is not the answer to send {expected}")
            if fields.id <= newest:
                raise LoadError(f"{self.name}: message {fields.id} was accepted behind {newest}")
            newest = fields.id
            expected += 1
        self.accepted, self.newest = expected, newest
        again = min(len(frames), self.left)
        if again:
            self.left -= again
            self.send(again)


class Recipient(Session):
    """Confirms what comes, a receipt for each piece read, and checks that nothing is amiss."""

    arrived = 0
    total = 0
    settled = False
    times: list[float] | None = None

    def prepare(self, total: int, *, times: list[float] | None = None) -> None:
        """Expect so many messages; note the moment of each arrival in C{times}."""
        self.arrived = 0
        self.total = total
        self.settled = not total
        self.times = times

    def talk(self, frames: list[Incoming]) -> None:
        """Confirm messages; after the last one, ask whether all was heard."""
        ids = []
        answers = b""
        expected = self.arrived
        for frame in frames:
            fields = frame.data
            if frame.type == "mark":
                answers += self.door.mark
                continue
            if frame.type != "message":
                if fields.keyword != "pong":
                    raise self.refused(frame)
                self.settled = True
                continue
            number = int(fields.body[:DIGITS])
            if number != expected:
                raise LoadError(f"{self.name}: message {number} came where {expected} was due")
            expected += 1
            ids.append(fields.id)
        if ids:
            if self.times is not None:
                self.times.extend([time.perf_counter()] * len(ids))
            self.arrived = expected
            answers += self.door.received(ids)
        # Where marks are asked for, the one behind the last message has to be answered, too.
        confirmed = frames[-1].type == "mark" if self.door.mark else ids
        if confirmed and expected == self.total:
            answers += self.door.ping
        self.write(answers)


# --- scenarios -------------------------------------------------------------------------


@dataclass
class Result:
    """What one measured part took."""

    messages: int
    seconds: float
    server_cpu: float
    own_cpu: float
    latencies: list[float] = field(default_factory=list)

    @property
    def cpu_each(self) -> float:
        """Microseconds of the server's CPU for each message."""
        return self.server_cpu / self.messages * 1e6

    @property
    def own_cpu_each(self) -> float:
        """Microseconds of the generator's CPU for each message."""
        return self.own_cpu / self.messages * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def latency(self, percent: float) -> float:
        """This percentile of the time from send to arrival, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1e3


def cpu_seconds(pid: int | None) -> float:
    """The CPU time that a process and all its threads have used, to the nanosecond.

    It is the sum that C{/proc/PID/stat} gives in ticks of 10 ms (utime + stime),
    read through the clock that the kernel keeps for each process:
    clock_getcpuclockid(3) makes its number like this.
    """
    return 0.0 if pid is None else time.clock_gettime((~pid << 3) | 2)


def until_it_rests(pid: int | None, longest: float = 60.0) -> float:
    """The CPU time that a server goes on using by itself, until it has used next to none for a while.

    What it has put off (the index of what was sent) is done then, and does not disturb what is measured next.
    """
    begun = used = cpu_seconds(pid)
    for _ in range(round(longest / RESTS)):
        time.sleep(RESTS)
        before, used = used, cpu_seconds(pid)
        if used - before < RESTING * RESTS:
            break
    return used - begun


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """The memory of a process that is in RAM: now, or (VmHWM) at the most."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise LoadError(f"process {pid} has no {field}: it is gone")


def forget_peak(pid: int) -> None:
    """Let VmHWM begin anew from what is in RAM now: proc(5), C{clear_refs}."""
    with open(f"/proc/{pid}/clear_refs", "w") as clear_refs:
        clear_refs.write("5")


class Stopwatch:
    """Time and CPU between two moments."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._server = cpu_seconds(pid)
        self._own = time.process_time()
        self.started = time.perf_counter()

    def stop(self, messages: int, latencies: list[float] | None = None) -> Result:
        """The figures since the start."""
        return Result(
            messages=messages,
            seconds=time.perf_counter() - self.started,
            server_cpu=cpu_seconds(self._pid) - self._server,
            own_cpu=time.process_time() - self._own,
            latencies=latencies or [],
        )


@dataclass
class Target:
    """The server under load: where it listens, how to speak to it, its process."""

    address: tuple[str, int]
    codec: str = "json"
    pid: int | None = None
    connect: Connect = plain

    def door(self) -> Door:
        """A fresh door."""
        return DOORS[self.codec]()


AnySession = TypeVar("AnySession", bound=Session)


def open_all(loop: Loop, makers: Iterable[Callable[[], AnySession]]) -> list[AnySession]:
    """Open sessions and wait until all of them are logged in, a few at once."""
    left = deque(makers)
    opened: list[AnySession] = []
    while left:
        opened += [left.popleft()() for _ in range(min(AT_ONCE, len(left)))]
        loop.run(partial(_all_ready, opened[-AT_ONCE:]))
    return opened


def _all_ready(sessions: Iterable[Session]) -> bool:
    return all(session.ready for session in sessions)


class Crowd:
    """N senders, each with one recipient of its own."""

    def __init__(self, target: Target, size: int, *, body: int = 200, prefix: str = "") -> None:
        """Sign up and log in everybody.

        @param body: bytes in the body of each message.
        @param prefix: begins all account names, so that several crowds can share a server.
        """
        self._target = target
        self._body = body
        self._loop = loop = Loop()
        self._door = door = target.door()
        self._names = [(f"{prefix}s{n}", f"{prefix}r{n}") for n in range(size)]
        self.recipients: list[Recipient] = []
        self.arrive()
        self.senders = open_all(
            loop,
            [partial(Sender, loop, door, target.address, name, target.connect) for name, _ in self._names],
        )

    def _recipients(self) -> list[partial[Recipient]]:
        target, door = self._target, self._door
        return [
            partial(Recipient, self._loop, door, target.address, name, target.connect)
            for _, name in self._names
        ]

    def arrive(self) -> None:
        """Log in the recipients."""
        self.recipients = open_all(self._loop, self._recipients())

    def leave(self) -> None:
        """Hang up for the recipients: what is sent now has to wait."""
        for recipient in self.recipients:
            recipient.close()
        self.recipients = []

    def return_to(self, waiting: int) -> None:
        """Log in the recipients and take what waited for them, so many for each."""
        for make in self._recipients():
            recipient = make()
            # Deliveries may come right behind "welcome": say first what to expect.
            recipient.prepare(waiting)
            self.recipients.append(recipient)
        self._loop.run(lambda: all(recipient.settled for recipient in self.recipients))

    def _prepare(self) -> None:
        run = os.urandom(4).hex() + "-"
        for sender, (_, recipient) in zip(self.senders, self._names):
            sender.prepare(recipient, self._body, run)

    def _finished(self) -> bool:
        return all(s.accepted == s.total for s in self.senders) and all(r.settled for r in self.recipients)

    def pipelined(self, each: int, in_flight: int) -> Result:
        """Every sender sends C{each} messages, C{in_flight} of them unanswered at a time."""
        self._prepare()
        for recipient in self.recipients:
            recipient.prepare(each)
        watch = Stopwatch(self._target.pid)
        for sender in self.senders:
            sender.start(each, in_flight)
        self._loop.run(self._finished)
        return watch.stop(each * len(self.senders))

    def steady(self, rate: float, seconds: float) -> Result:
        """All together send C{rate} messages a second; latency counts from when each was due."""
        self._prepare()
        count = len(self.senders)
        each = max(1, int(rate * seconds / count))
        for sender in self.senders:
            sender.total = each
        arrivals: list[list[float]] = [[] for _ in self.recipients]
        for recipient, times in zip(self.recipients, arrivals):
            recipient.prepare(each, times=times)
        sent = 0
        watch = Stopwatch(self._target.pid)
        start = watch.started

        def due() -> float:
            nonlocal sent
            while sent < each * count:
                wait = start + sent / rate - time.perf_counter()
                if wait > 0:
                    return wait
                self.senders[sent % count].send(1)
                sent += 1
            return 0.1

        last = start + seconds + PATIENCE

        def finished() -> bool:
            if time.perf_counter() > last:
                raise LoadError(f"not all of it arrived within {PATIENCE:.0f} seconds")
            return sent == each * count and self._finished()

        self._loop.run(finished, due)
        latencies = [
            arrival - (start + (round_ * count + n) / rate)
            for n, times in enumerate(arrivals)
            for round_, arrival in enumerate(times)
        ]
        return watch.stop(each * count, latencies)

    def check(self) -> None:
        """Log in every recipient once more: nothing may wait for it any longer.

        @raise LoadError: something does, so a receipt was lost.
        """
        self.leave()
        self.arrive()
        for recipient in self.recipients:
            if recipient.waiting:
                raise LoadError(f"{recipient.waiting} confirmed messages wait for {recipient.name}")

    def close(self) -> None:
        """Hang up."""
        self._loop.close()


def collect(target: Target, count: int, body: int = 200) -> tuple[Result, int]:
    """One recipient logs in to C{count} waiting messages and confirms them as they come.

    @return: the figures, and by how many bytes the server's memory was larger at its
        peak than before.
    """
    crowd = Crowd(target, 1, body=body, prefix=f"c{os.urandom(4).hex()}")
    crowd.leave()
    crowd.pipelined(count, 100)
    before = 0
    if target.pid is not None:
        forget_peak(target.pid)
        before = resident_bytes(target.pid)
    watch = Stopwatch(target.pid)
    crowd.return_to(count)
    result = watch.stop(count)
    after = resident_bytes(target.pid, "VmHWM") if target.pid is not None else 0
    crowd.close()
    return result, after - before


def idle(target: Target, count: int, *, settle: float = 1.0) -> tuple[float, float]:
    """The bytes of the server's memory for each of C{count} idle sessions, and its CPU a second.

    The accounts must exist; see L{sign_up}.  A fifth as many sessions are opened before,
    to use up the memory that the start of the server left free.
    """
    if target.pid is None:
        raise LoadError("the server's process is needed to measure its memory")
    loop, door = Loop(), target.door()
    open_idle(loop, door, target, range(count, count + count // 5))
    time.sleep(settle)
    before = resident_bytes(target.pid)
    open_idle(loop, door, target, range(count))
    time.sleep(1)  # what the last logins have set going comes to its end
    watch = Stopwatch(target.pid)
    time.sleep(settle)
    idled = watch.stop(0)
    after = resident_bytes(target.pid)
    loop.close()
    return (after - before) / count, idled.server_cpu / idled.seconds


def sign_up(target: Target, count: int) -> None:
    """Make the accounts that L{idle} logs in, and leave."""
    door = target.door()
    total = count + count // 5
    for start in range(0, total, AT_ONCE):
        loop = Loop()
        open_idle(loop, door, target, range(start, min(start + AT_ONCE, total)))
        loop.close()


def open_idle(loop: Loop, door: Door, target: Target, numbers: Iterable[int]) -> None:
    """Log in the accounts with these numbers."""
    open_all(
        loop,
        [partial(Session, loop, door, target.address, f"idle{number}", target.connect) for number in numbers],
    )


# --- the program -----------------------------------------------------------------------


def pin(core: int, cores: Iterable[int] | None = None) -> None:
    """Stay on one core, and start children there; where there is a single one, do nothing.

    @param cores: the cores to choose from; by default, those that this process may use.
    """
    usable = sorted(os.sched_getaffinity(0) if cores is None else cores)
    if len(usable) > 1:
        os.sched_setaffinity(0, {usable[core % len(usable)]})


def describe(result: Result) -> str:
    """The figures of one measured part, as a line."""
    text = f"{result.messages} messages in {result.seconds:.2f} s: {result.rate:,.0f}/s"
    if result.server_cpu:
        text += f", server CPU {result.cpu_each:.1f} us each"
    text += f", own CPU {result.own_cpu_each:.1f} us each"
    if result.latencies:
        text += f", p50 {result.latency(50):.2f} ms, p99 {result.latency(99):.2f} ms"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a running server once, as the command line says."""
    parser = argparse.ArgumentParser(
        description="Put a load on a running server; its accounts are made as needed.",
    )
    parser.add_argument("address", metavar="HOST:PORT", help="where the door listens")
    parser.add_argument("--codec", choices=sorted(DOORS), default="json")
    parser.add_argument("--pid", type=int, help="the server's process, to measure its CPU")
    parser.add_argument("--senders", type=int, default=50, help="and as many recipients")
    parser.add_argument("--messages", type=int, default=2000, help="for each sender")
    parser.add_argument("--body", type=int, default=200, help="bytes in each body")
    parser.add_argument("--in-flight", type=int, default=100, help="for each sender")
    parser.add_argument("--rate", type=float, help="a steady rate instead, messages a second")
    parser.add_argument("--seconds", type=float, default=10, help="how long the steady rate lasts")
    parser.add_argument("--offline", action="store_true", help="the recipients are away")
    options = parser.parse_args(arguments)
    host, _, port = options.address.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"{options.address!r} is not HOST:PORT")
    if options.body <= DIGITS:
        parser.error(f"a body has at least {DIGITS + 1} bytes")
    target = Target((host, int(port)), options.codec, options.pid)
    try:
        crowd = Crowd(target, options.senders, body=options.body, prefix=os.urandom(3).hex())
        if options.offline:
            crowd.leave()
        if options.rate:
            result = crowd.steady(options.rate, options.seconds)
        else:
            result = crowd.pipelined(options.messages, options.in_flight)
        if not options.offline:
            crowd.check()
        crowd.close()
    except (LoadError, OSError) as error:
        print(f"load.py: {error}", file=sys.stderr)
        return 1
    print(describe(result))
    return 0


if __name__ == "__main__":
    pin(1)
    raise SystemExit(main())
