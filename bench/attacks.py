"""What hostile clients cost the others: one attack after another, while honest users go on talking.

    python -m bench.attacks
    python -m bench.attacks --only slowloris,throng --seconds 10

A few pairs of honest users send at a steady rate, and the time from when each message was due
to its arrival is measured: first with nobody else there, then under each attack, which runs in
a process of its own.  The server's memory is measured at its highest.  docs/security.rst says
what each attack is, and has the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, NamedTuple

from bench import load
from bench.run import ROOT, TWISTD, Server, make_room, simple_table
from bench.scratch import measured
from bench.tls import certificate

HOST = "127.0.0.1"
#: How many connections the server takes while it is attacked, unless more are asked for.
PLACES = 3000
LOGIN_TIMEOUT = 20
#: What every account of an attacker has for a password.
SECRET = "password of mallory"


class Doors(NamedTuple):
    """The ports of a server."""

    json: int
    der: int
    text: int
    tls: int

    @property
    def plain(self) -> tuple[int, int, int]:
        """Those that do without TLS."""
        return self.json, self.der, self.text


class Attack:
    """One attack under way.

    @ivar doors: where the server listens.
    @ivar scale: how much of it: 1 is what the tables are made with.
    @ivar tried: how often it was tried: connections, frames or guesses.
    """

    def __init__(self, doors: Doors, scale: float) -> None:
        self.doors = doors
        self.scale = scale
        self.tried = 0
        self.ready = asyncio.Event()
        self._held: list[asyncio.StreamWriter] = []

    def many(self, number: int) -> int:
        """So many, on this scale."""
        return max(1, int(number * self.scale))

    async def call(self, port: int, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection(HOST, port, **options)

    async def hold(self, port: int) -> asyncio.StreamWriter:
        """A connection that stays and is not read."""
        _, writer = await self.call(port, limit=1)
        self._held.append(writer)
        self.tried += 1
        return writer

    async def log_in(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A JSON session that is logged in; the account is made if there is none."""
        reader, writer = await self.call(self.doors.json, limit=1 << 20)
        writer.write(login(name, SECRET) + login(name, SECRET))
        while b'"welcome"' not in (line := await reader.readline()):
            if not line:
                raise ConnectionError(f"{name} was not let in")
        return reader, writer


def login(name: str, value: str, field: str = "password") -> bytes:
    """Name and proof, in JSON."""
    return said("login", field="username", value=name) + said("login", field=field, value=value)


def said(kind: str, **fields: object) -> bytes:
    """A frame in JSON."""
    return json.dumps({"type": kind, "data": fields}).encode() + b"\n"


# --- connections ---


async def half_open_logins(attack: Attack) -> None:
    """2,000 connections that hear the greeting and say nothing; those cut off come back."""
    await _holding(attack, attack.many(2000), attack.doors.plain)


async def half_open_handshakes(attack: Attack) -> None:
    """1,000 connections to a TLS door that begin no handshake, or half of one."""

    async def half(port: int) -> None:
        writer = await attack.hold(port)
        if attack.tried % 2:
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

    await _together(attack, attack.many(1000), lambda: half(attack.doors.tls))


async def handshakes(attack: Attack) -> None:
    """TLS handshakes, one after the other, by 8 clients; each hangs up when it is complete."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def shake() -> None:
        _, writer = await asyncio.open_connection(HOST, attack.doors.tls, ssl=context)
        attack.tried += 1
        writer.transport.abort()

    await _again_and_again(attack, 8, shake)


async def slowloris(attack: Attack) -> None:
    """500 connections that say a login frame, a byte a second."""
    slow = said("login", field="username", value="x" * 3000)

    async def drip() -> None:
        _, writer = await attack.call(random.choice(attack.doors.plain), limit=1)
        attack.tried += 1
        for byte in slow:
            writer.write(bytes((byte,)))
            await asyncio.sleep(1)

    await _again_and_again(attack, attack.many(500), drip)


async def throng(attack: Attack) -> None:
    """10,000 connections from one address, more than three times what the server takes."""
    await _holding(attack, attack.many(10_000), attack.doors.plain)


async def churn(attack: Attack) -> None:
    """Connections that are opened and closed at once, by 16 clients."""

    async def come_and_go() -> None:
        _, writer = await attack.call(random.choice(attack.doors.plain))
        attack.tried += 1
        writer.transport.abort()

    await _again_and_again(attack, 16, come_and_go)


async def never_reading(attack: Attack) -> None:
    """50 sessions that read nothing, and are sent as many bodies of 60,000 bytes as are accepted."""
    count = attack.many(50)
    for number in range(count):
        _, writer = await attack.log_in(f"deaf{number}")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        attack._held.append(writer)
    reader, writer = await attack.log_in("mallory")
    attack.ready.set()
    names = itertools.cycle(f"deaf{number}" for number in range(count))

    async def send() -> None:
        while True:
            writer.write(said("message", recipient=next(names), body="x" * 60_000))
            await writer.drain()
            await reader.readline()
            attack.tried += 1

    await send()


# --- frames ---

#: What no client should say, for each kind of door: garbage, half frames, tricks.
WRONG_JSON = (
    b"x" * 5000 + b"\n",
    b"[" * 3000 + b"\n",
    b'{"a":' * 600 + b"\n",
    b"{" + b'"type":"login",' * 200 + b'"data":{}}\n',
    b'{"type":"login","data":{' + b'"field":"username",' * 150 + b'"value":"x"}}\n',
    b'{"type":"message","data":{"recipient":1e400,"body":{}}}\n',
    b'{"type":"login","data":{"field":"username","value":"\\ud800"}}\n',
    b'{"type":"system","data":{"keyword":"received","ids":[' + b"9" * 3000 + b"]}}\n",
    b"\xff\xfe\x00\n",
    b"\n" * 4000 + b"}\n",
    b'{"type":"sys',
)
WRONG_DER = (
    b"\x1f\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00",  # a tag number without end
    b"\x30\x80\x00\x00",  # a length that is not told
    b"\x30\x84\xff\xff\xff\xff",  # 4 GiB
    b"\x30\x88" + b"\xff" * 8,
    b"\x30\xfe" + b"\xff" * 126,
    b"\x30\x81\x03\x02\x01\x01",  # a length longer than it must be
    b"\xa0\x03\x02\x02\x00\x01",
    b"\x30\x82\x0b\xb8" + b"\x30\x82\x0b\xb4" * 700,
    b"\x00" * 4000,
    b"\xa0\x10\x01",
)
WRONG_TEXT = (
    b"\xff\xfb\x01" * 1000,  # telnet options
    b"\xff\xfa\x18" + b"x" * 4000,  # one that does not end
    b"\xff\xf4" * 2000,
    b"\x00\x1b[2J\x9b31m\xe2\x80\xae\r\n" * 200,
    b"x" * 5000 + b"\n",
    b"\xc3\x28\n" * 500,
)


async def wrong_frames(attack: Attack) -> None:
    """Garbage, half frames, depth, duplicate keys, DER tricks, telnet tricks; by 16 clients before login."""
    wrong = [
        *((attack.doors.json, each) for each in WRONG_JSON),
        *((attack.doors.der, each) for each in WRONG_DER),
        *((attack.doors.text, each) for each in WRONG_TEXT),
    ]

    async def say() -> None:
        port, octets = random.choice(wrong)
        reader, writer = await attack.call(port)
        attack.tried += 1
        writer.write(octets)
        writer.write_eof()
        while await reader.read(1 << 16):
            pass
        writer.transport.abort()

    await _again_and_again(attack, 16, say)


async def oversize_frames(attack: Attack) -> None:
    """Frames of a megabyte where half of one is the limit, after login, by 4 clients."""

    async def say() -> None:
        reader, writer = await attack.log_in("mallory")
        attack.tried += 1
        writer.write(said("message", recipient="mallory", body="x" * (1 << 20)))
        while await reader.read(1 << 16):
            pass
        writer.transport.abort()

    await _again_and_again(attack, 4, say)


def _flood(frame: Callable[[], bytes], sessions: int = 4) -> Callable[[Attack], Awaitable[None]]:
    """So many sessions, each of an account of its own, that say this frame as fast as the server takes it."""

    async def flood(attack: Attack) -> None:
        async def say(number: int) -> None:
            reader, writer = await attack.log_in(f"mallory{number}")
            attack.ready.set()

            async def hear() -> None:
                while await reader.read(1 << 16):
                    pass

            hearing = asyncio.ensure_future(hear())
            try:
                while not hearing.done():
                    writer.write(b"".join(frame() for _ in range(20)))
                    await writer.drain()
                    attack.tried += 20
                    await asyncio.sleep(0)
            finally:
                hearing.cancel()

        await asyncio.gather(*(say(number) for number in range(sessions)))

    return flood


async def help_flood(attack: Attack) -> None:
    """4 people who ask the text door for help as fast as it answers."""

    async def ask(number: int) -> None:
        name = f"helpless{number}"
        await attack.log_in(name)
        reader, writer = await attack.call(attack.doors.text)
        writer.write(f"{name}\n{SECRET}\n".encode())
        attack.ready.set()

        async def hear() -> None:
            while await reader.read(1 << 16):
                pass

        hearing = asyncio.ensure_future(hear())
        try:
            while not hearing.done():
                writer.write(b"/help\n" * 20)
                await writer.drain()
                attack.tried += 20
                await asyncio.sleep(0)
        finally:
            hearing.cancel()

    await asyncio.gather(*(ask(number) for number in range(4)))


# --- guesses ---


def _guessing(
    field: str, name: Callable[[], str], value: Callable[[], str]
) -> Callable[[Attack], Awaitable[None]]:
    """16 clients that guess as fast as they are answered."""

    async def guess(attack: Attack) -> None:
        async def one() -> None:
            reader, writer = await attack.call(attack.doors.json)
            await reader.readline()
            await reader.readline()
            while True:
                writer.write(login(name(), value(), field))
                await writer.drain()
                while b'"failed"' not in (line := await reader.readline()):
                    if not line:
                        return
                attack.tried += 1

        await _again_and_again(attack, 16, one)

    return guess


async def name_probing(attack: Attack) -> None:
    """16 clients that ask for one name after the other, to find out who has an account."""

    async def ask() -> None:
        reader, writer = await attack.call(attack.doors.json)
        while True:
            writer.write(said("login", field="username", value=_random()))
            writer.write(said("login", field="password", value="x"))
            await writer.drain()
            if not await reader.read(1 << 16):
                return
            attack.tried += 1

    await _again_and_again(attack, 16, ask)


def _random() -> str:
    return f"{random.getrandbits(128):032x}"


#: Every attack, by name.
ATTACKS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    "half-open-logins": half_open_logins,
    "half-open-handshakes": half_open_handshakes,
    "handshakes": handshakes,
    "slowloris": slowloris,
    "throng": throng,
    "churn": churn,
    "never-reading": never_reading,
    "wrong-frames": wrong_frames,
    "oversize-frames": oversize_frames,
    "pings": _flood(lambda: said("system", keyword="ping")),
    "receipts": _flood(lambda: said("system", keyword="received", ids=random.sample(range(1, 1 << 40), 100))),
    "listings": _flood(lambda: said("system", keyword="list", box="sent", after=0, limit=1000)),
    "bad-frames": _flood(lambda: said("system", keyword="nonsense")),
    "unknown-recipients": _flood(lambda: said("message", recipient=_random(), body="x")),
    "unknown-recipients-20": _flood(lambda: said("message", recipient=_random(), body="x"), 20),
    "help": help_flood,
    "passwords": _guessing("password", lambda: "s0", _random),
    "tokens": _guessing("token", lambda: "s0", _random),
    "recovery-codes": _guessing("recovery", lambda: "s0", _random),
    "names": name_probing,
}


async def _holding(attack: Attack, many: int, ports: Sequence[int]) -> None:
    chosen = itertools.cycle(ports)
    await _together(attack, many, lambda: attack.hold(next(chosen)))


async def _together(attack: Attack, many: int, step: Callable[[], Awaitable[object]]) -> None:
    """Do it so many times, some at once; then stay."""
    left = iter(range(many))

    async def work() -> None:
        for _ in left:
            with suppress(OSError):
                await step()

    await asyncio.gather(*(work() for _ in range(100)))
    attack.ready.set()
    await asyncio.Event().wait()


async def _again_and_again(attack: Attack, clients: int, step: Callable[[], Awaitable[object]]) -> None:
    """So many clients do it until they are stopped."""

    async def work() -> None:
        while True:
            with suppress(OSError, EOFError):
                await step()
            await asyncio.sleep(0.001)

    attack.ready.set()
    await asyncio.gather(*(work() for _ in range(clients)))


async def _insisting(act: Callable[[Attack], Awaitable[None]], attack: Attack) -> None:
    """Whoever is hung up on comes back."""
    while True:
        with suppress(OSError, EOFError):
            await act(attack)
        await asyncio.sleep(0.1)


async def attacking(name: str, doors: Doors, scale: float, most: float) -> None:
    """Say when the attack is under way, go on until standard input ends, say how often it was tried.

    @param name: an attack, or several at the same time, with a + between them.
    """
    attack = Attack(doors, scale)
    work = asyncio.gather(*(_insisting(ATTACKS[each], attack) for each in name.split("+")))
    beginning = asyncio.ensure_future(attack.ready.wait())
    await asyncio.wait((work, beginning), timeout=most, return_when=asyncio.FIRST_COMPLETED)
    print("under way", flush=True)
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait((over, work), timeout=most, return_when=asyncio.FIRST_COMPLETED)
    print(attack.tried, "" if not work.done() else repr(work.exception()), flush=True)
    os._exit(0)  # with thousands of connections, an orderly end takes longer than it is worth


# --- the one that is attacked, and the others ---


@contextmanager
def attacked(name: str, doors: Doors, scale: float, most: float = 120.0) -> Iterator[list[int]]:
    """A process that attacks meanwhile; how often it tried is in the list afterwards.

    @raise load.LoadError: the attack failed.
    """
    command = [sys.executable, "-m", "bench.attacks", "--be", name, *map(str, doors)]
    process = subprocess.Popen(
        [*command, "--scale", str(scale), "--most", str(most)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    tried: list[int] = []
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield tried
        rest, _ = process.communicate("", timeout=most)
        number, _, error = rest.strip().partition(" ")
        if error or not number:
            raise load.LoadError(f"the attack {name} ended by itself: {error or 'without a word'}")
        tried.append(int(number))
    finally:
        process.kill()
        process.wait()


@contextmanager
def defended(folder: Path, rounds: int = 10, places: int = PLACES) -> Iterator[tuple[Server, Doors]]:
    """A server with all kinds of doors."""
    folder.mkdir(exist_ok=True)
    key, public = certificate(folder)
    door = f"tcp:0:interface={HOST}"
    tls = f"ssl:0:interface={HOST}:privateKey={key}:certKey={public}"
    data = folder / "data"
    options = f"--nodaemon --pidfile= chat --data {data} --bcrypt-rounds {rounds} --registration open"
    limits = f"--connections {places} --login-timeout {LOGIN_TIMEOUT}"
    command = [sys.executable, "-c", TWISTD, *options.split(), *limits.split()]
    command += ["--json", door, "--json", tls, "--der", door, "--text", door]
    data.mkdir()
    server = Server("chat", data, "json", command)
    try:
        yield server, _doors(data.with_suffix(".log"))
    finally:
        server.stop()


def _doors(log: Path) -> Doors:
    """The ports that the log tells of."""
    found: dict[str, list[int]] = {}
    deadline = time.monotonic() + 20
    while "registration is" not in (text := log.read_text(errors="replace")) and time.monotonic() < deadline:
        time.sleep(0.01)
    for line in text.splitlines():
        kind, listens, where = line.partition(" door listening on ")
        if listens:
            port = where.partition(":")[2].partition(",")[0]
            found.setdefault(kind.rpartition(" ")[2], []).append(int(port.split()[0]))
    return Doors(found["json"][0], found["der"][0], found["text"][0], found["json"][1])


class Seen(NamedTuple):
    """What was seen under an attack.

    @ivar tried: how often the attackers tried.
    @ivar calm: of the honest users' messages just before: median and 99th percentile, in milliseconds.
    @ivar under: the same under the attack.
    @ivar peak: the server's memory at its highest, in bytes.
    """

    name: str
    tried: int
    calm: tuple[float, float]
    under: tuple[float, float]
    peak: int


def watch(honest: load.Crowd, rate: float, seconds: float) -> tuple[float, float]:
    """How the honest users fare: the median and the 99th percentile, in milliseconds."""
    result = honest.steady(rate, seconds)
    return result.latency(50), result.latency(99)


def measure(folder: Path, options: argparse.Namespace) -> Iterator[Seen]:
    """Every attack, each with a time without any before it."""
    with defended(folder, options.rounds) as (server, doors):
        honest = load.Crowd(server.target, options.pairs)
        honest.steady(options.rate, 1.0)  # warms up
        for name in options.only.split(",") if options.only else ATTACKS:
            calm = watch(honest, options.rate, options.seconds)
            load.forget_peak(server.pid)
            with attacked(name, doors, options.scale) as tried:
                under = watch(honest, options.rate, options.seconds)
            yield Seen(name, tried[0], calm, under, load.resident_bytes(server.pid, "VmHWM"))
        honest.check()
        honest.close()


def table(seen: Sequence[Seen]) -> str:
    """The figures."""
    rows = [["attack", "tried", "p50 ms, calm", "p50 ms", "p99 ms, calm", "p99 ms", "peak MiB"]]
    for each in seen:
        latencies = (each.calm[0], each.under[0], each.calm[1], each.under[1])
        peak = f"{each.peak / 2**20:.0f}"
        rows.append([each.name, f"{each.tried:,}", *(f"{latency:.1f}" for latency in latencies), peak])
    return simple_table(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when the server, or an attack, failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description="What attacks cost others.")
    add = parser.add_argument
    add("--only", default="", help="these attacks, separated by commas (all)")
    add("--seconds", type=float, default=5.0, help="of each attack (%(default)s)")
    add("--pairs", type=int, default=5, help="of honest users (%(default)s)")
    add("--rate", type=float, default=100.0, help="messages that they send a second (%(default)s)")
    add("--scale", type=float, default=1.0, help="of the attacks (%(default)s)")
    add("--rounds", type=int, default=10, help="the cost of passwords (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("--be", help=argparse.SUPPRESS)
    add("--most", type=float, default=120.0, help=argparse.SUPPRESS)
    add("ports", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.be:
        asyncio.run(attacking(options.be, Doors(*options.ports), options.scale, options.most))

    def attempt(folder: Path) -> None:
        seen = []
        for each in measure(folder / "server", options):
            seen.append(each)
            print(f"  {each}", file=sys.stderr, flush=True)
        print(table(seen))

    return measured("bench.attacks", options.data, attempt)


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
