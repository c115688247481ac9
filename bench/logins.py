"""What logins cost: with tokens after a restart, and what everybody else notices of passwords.

    python -m bench.logins

C{tokens}: so many clients that were logged in come back to a server that was started
anew.  C{storm}: messages at a steady rate, with nobody logging in and with so many
logins under way at every moment, at bcrypt's usual cost.  The server has one core, the
clients the other.
"""

from __future__ import annotations

import argparse
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from bench import load
from bench.run import CHAT, Server, chat_server, make_room
from bench.scratch import measured

#: Give up when nothing at all happened for so many seconds.
PATIENCE = 60.0
#: Accounts made, or hashes computed, at the same time.
AT_ONCE = 50
#: What every account has for a password.
PASSWORD = load.PASSWORD
#: The bcrypt cost of passwords where they are measured.
ROUNDS = 12


class Visit:
    """One connection, which asks something and waits for an answer."""

    def __init__(self, address: tuple[str, int], name: str, words: bytes, awaited: str) -> None:
        """Connect and say C{words}; C{awaited} is the keyword of the answer."""
        self.name = name
        self.value = ""
        self._words = words
        self._awaited = awaited
        self._rest = b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without waiting: when a server comes back, all its clients knock at the same time.
        self.socket.setblocking(False)
        self.socket.connect_ex(address)

    def speak(self) -> None:
        """The connection stands, or could not be made."""
        try:
            self.socket.send(self._words)
        except OSError as error:
            raise load.LoadError(f"{self.name}: {error}") from None

    def read(self) -> bool:
        """Take what came; whether the answer was among it.

        @raise load.LoadError: the server refused, or hung up.
        """
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            raise load.LoadError(f"{self.name}: {error}") from None
        if not data:
            raise load.LoadError(f"the server hung up on {self.name}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = msgspec.json.decode(line)["data"]
            if said["keyword"] in ("failed", "fatal"):
                raise load.LoadError(f"{self.name}: the server said {said}")
            if said["keyword"] == self._awaited:
                self.value = said.get("value", "")
                return True
        return False


def with_password(address: tuple[str, int], name: str) -> Visit:
    """Log in by name and password, said at once."""
    return Visit(address, name, _login("username", name) + _login("password", PASSWORD), "welcome")


def with_token(address: tuple[str, int], name: str, token: str) -> Visit:
    """Log in by name and token, said at once."""
    return Visit(address, name, _login("username", name) + _login("token", token), "welcome")


def sign_up(address: tuple[str, int], name: str) -> Visit:
    """Make the account, log in, and ask for a token."""
    twice = (_login("username", name) + _login("password", PASSWORD)) * 2
    return Visit(address, name, twice + _TOKEN, "token-issued")


def _login(field: str, value: str) -> bytes:
    return msgspec.json.encode({"type": "login", "data": {"field": field, "value": value}}) + b"\n"


_TOKEN = b'{"type":"system","data":{"keyword":"token"}}\n'


class Visitors:
    """Many visits, a bounded number of them under way."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._epoll = select.epoll()
        self._under_way: dict[int, Visit] = {}
        self.settled: list[Visit] = []

    def make(self, visits: Iterable[Visit]) -> None:
        """Make these, which connect one by one as they are taken, and wait for all their answers."""
        coming = iter(visits)
        while True:
            while len(self._under_way) < self._at_once and (visit := next(coming, None)) is not None:
                self._under_way[visit.socket.fileno()] = visit
                self._epoll.register(visit.socket.fileno(), select.EPOLLOUT)
            if not self._under_way:
                return
            events = self._epoll.poll(PATIENCE)
            if not events:
                raise load.LoadError(f"nothing came from the server for {PATIENCE:.0f} seconds")
            for number, event in events:
                if event & select.EPOLLOUT:
                    self._under_way[number].speak()
                    self._epoll.modify(number, select.EPOLLIN)
                elif self._under_way[number].read():
                    self._epoll.unregister(number)
                    self.settled.append(self._under_way.pop(number))

    def close(self) -> None:
        """Hang up."""
        for visit in (*self.settled, *self._under_way.values()):
            visit.socket.close()
        self._epoll.close()


@contextmanager
def server(data: Path, rounds: int) -> Iterator[Server]:
    """A server with passwords at this cost, stopped in the end."""
    data.mkdir(exist_ok=True)
    command = chat_server(data, "json")
    command[command.index("--bcrypt-rounds") + 1] = str(rounds)
    running = Server(CHAT, data, command=command)
    try:
        yield running
    finally:
        running.stop()


def tokens(data: Path, count: int, at_once: int) -> None:
    """Make accounts, start the server anew, and let all of them come back."""
    kept: dict[str, str] = {}
    with server(data, 4) as first:
        _visit(
            first, "sign up", AT_ONCE, (sign_up(first.target.address, f"u{n}") for n in range(count)), kept
        )
    with server(data, 4) as again:
        address = again.target.address
        _visit(again, "token", at_once, (with_token(address, name, kept[name]) for name in kept), {})
    with server(data, 4) as again:
        address = again.target.address
        _visit(again, "password, cost 4", at_once, (with_password(address, name) for name in kept), {})


def _visit(running: Server, what: str, at_once: int, visits: Iterable[Visit], kept: dict[str, str]) -> None:
    visitors = Visitors(at_once)
    try:
        watch = load.Stopwatch(running.pid)
        visitors.make(visits)
        result = watch.stop(len(visitors.settled))
    finally:
        visitors.close()
    kept.update((visit.name, visit.value) for visit in visitors.settled)
    print(
        f"  {what}: {result.messages} in {result.seconds:.2f} s, {result.rate:,.0f}/s,"
        f" server CPU {result.cpu_each:.0f} us each",
        flush=True,
    )


class Storm(threading.Thread):
    """Keeps so many logins by password under way, until it is told to stop."""

    def __init__(self, address: tuple[str, int], names: Sequence[str]) -> None:
        super().__init__(name="storm")
        self._address = address
        self._names = names
        self._ending = False
        self.error: Exception | None = None
        self.count = 0

    def run(self) -> None:
        """As one is welcome, it leaves and comes again."""
        visitors = Visitors(len(self._names))
        try:
            visitors.make(self._visits(visitors))
        except (load.LoadError, OSError) as error:
            self.error = error
        finally:
            visitors.close()

    def _visits(self, visitors: Visitors) -> Iterator[Visit]:
        for name in self._names:
            yield with_password(self._address, name)
        while not self._ending:
            visit = visitors.settled.pop()
            visit.socket.close()
            self.count += 1
            yield with_password(self._address, visit.name)

    def end(self) -> None:
        """Begin no more logins, and wait for those under way.

        @raise load.LoadError: one was refused.
        """
        self._ending = True
        self.join()
        if self.error is not None:
            raise load.LoadError(f"a login failed: {self.error}")


def storm(data: Path, logins: int, rate: float, seconds: float, people: int, runs: int) -> None:
    """Messages at a steady rate, in turns without logins and with so many under way."""
    names = [f"storm{number}" for number in range(logins)]
    with server(data, 4) as cheap:
        # What is hashed at a low cost here is hashed anew at the first login below.
        _visit(cheap, "sign up", AT_ONCE, (sign_up(cheap.target.address, name) for name in names), {})
        load.Crowd(cheap.target, people).close()
    with server(data, ROUNDS) as dear:
        crowd = load.Crowd(dear.target, people)
        _visit(dear, f"passwords to cost {ROUNDS}", logins, _by_password(dear, names), {})
        calm, stormy, logged_in = [], [], []
        for _ in range(runs):
            result = crowd.steady(rate, seconds)
            print(f"  no logins: {load.describe(result)}", flush=True)
            calm.append(result.latency(99))
            thread = Storm(dear.target.address, names)
            thread.start()
            result = crowd.steady(rate, seconds)
            logged_in.append(thread.count / result.seconds)
            thread.end()
            print(f"  {logins} logging in: {load.describe(result)}; {logged_in[-1]:.1f} logins/s", flush=True)
            stormy.append(result.latency(99))
        crowd.check()
        crowd.close()
    print(
        f"p99 {median(calm):.2f} ms without logins, {median(stormy):.2f} ms with {logins} under way:"
        f" {median(stormy) / median(calm):.1f} times; {median(logged_in):.1f} logins/s"
    )


def _by_password(running: Server, names: Iterable[str]) -> Iterator[Visit]:
    return (with_password(running.target.address, name) for name in names)


SCENARIOS = ("tokens", "storm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when the server failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins", description="Measure logins.")
    add = parser.add_argument
    add("--count", type=int, default=5000, help="clients that come back with tokens (%(default)s)")
    add("--at-once", type=int, default=100, help="of them under way at a time (%(default)s)")
    add("--logins", type=int, default=50, help="by password, under way at every moment (%(default)s)")
    add("--people", type=int, default=50, help="senders, and as many recipients (%(default)s)")
    add("--rate", type=float, default=500, help="messages a second meanwhile (%(default)s)")
    add("--seconds", type=float, default=10, help="of each measurement of them (%(default)s)")
    add("--runs", type=int, default=3, help="of the storm (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("scenarios", nargs="*", default=SCENARIOS, help=f"some of: {', '.join(SCENARIOS)}")
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; see --help")

    def measure(folder: Path) -> None:
        if "tokens" in options.scenarios:
            tokens(folder / "tokens", options.count, options.at_once)
        if "storm" in options.scenarios:
            seconds, people = options.seconds, options.people
            storm(folder / "storm", options.logins, options.rate, seconds, people, options.runs)

    return measured("bench.logins", options.data, measure)


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
