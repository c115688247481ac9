"""How owners get in while strangers from many addresses have passwords checked without end.

    python -m bench.strangers
    python -m bench.strangers --addresses 1000 --rounds 10

The strangers come through a door behind a proxy, so that each can have an address of its own;
all of them guess as fast as they are answered, each time at another name, and whoever is told
to come back comes back at once.  Meanwhile an owner logs in from a place where she was before,
and others from places that were never seen: they do as they are told.  docs/security.rst has
the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import msgspec

from bench import load, logins
from bench.attacks import login
from bench.run import CHAT, Server, chat_server, make_room
from bench.scratch import measured

HOST = "127.0.0.1"
#: Of whom the account is, and what its password is for the strangers.
OWNER, WRONG = "known0", "a wrong password"
#: The addresses of strangers, of the owner's home, and of places never seen.
STRANGERS = ipaddress.ip_address("198.18.0.1")
HOME = "192.0.2.1"
NEW = ipaddress.ip_address("203.0.113.1")


class Visit:
    """A connection from an address of one's own choice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def come(cls, port: int, address: str) -> Visit:
        """Connect through the proxy."""
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"PROXY TCP4 {address} {HOST} 40000 {port}\r\n".encode())
        return cls(reader, writer)

    async def try_once(self, name: str, password: str) -> tuple[str, int]:
        """Try a password; what it comes to, and the seconds that are told."""
        self.writer.write(login(name, password))
        while line := await self._reader.readline():
            said = msgspec.json.decode(line)["data"]
            if said["keyword"] in ("failed", "welcome", "fatal"):
                return said.get("code", "welcome"), said.get("seconds", 0)
        raise ConnectionError("the server hung up")


async def guess(port: int, address: str, names: Iterator[int]) -> None:
    """A stranger."""
    while True:
        with suppress(OSError):
            visit = await Visit.come(port, address)
            while True:
                await visit.try_once(f"nobody{next(names)}", WRONG)


async def enter(port: int, address: str) -> tuple[float, int]:
    """Log in as the owner; in how many seconds, and how often it was refused with a wait."""
    begun = time.perf_counter()
    for refused in itertools.count():
        visit = await Visit.come(port, address)
        code, seconds = await visit.try_once(OWNER, load.PASSWORD)
        visit.writer.transport.abort()
        if code == "welcome":
            return time.perf_counter() - begun, refused
        if code != "slow-down":
            break
        await asyncio.sleep(seconds)
    raise load.LoadError(f"the owner was not let in: {code}")


async def measure(port: int, addresses: int, times: int, settle: float) -> None:
    """Print how long it takes before the strangers come, and while they are there."""
    calm = [(await enter(port, HOME))[0] for _ in range(times)]
    print(f"nobody else: {median(calm):.2f} s")
    names = itertools.count()
    strangers = [
        asyncio.ensure_future(guess(port, str(STRANGERS + number), names)) for number in range(addresses)
    ]
    await asyncio.sleep(settle)
    for what, places in (
        ("where she was before", [HOME] * times),
        ("where nobody was", [str(NEW + number) for number in range(times)]),
    ):
        entered = [await enter(port, place) for place in places]
        seconds = [each for each, _ in entered]
        print(
            f"{addresses} strangers, the owner comes from {what}: {median(seconds):.2f} s,"
            f" at most {max(seconds):.2f} s, refused at most {max(refused for _, refused in entered)} times"
        )
    for each in strangers:
        each.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when the owner was kept out."""
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description="Who gets in, and when.")
    add = parser.add_argument
    add("--addresses", type=int, default=300, help="of strangers (%(default)s)")
    add("--times", type=int, default=5, help="the owner logs in (%(default)s)")
    add("--rounds", type=int, default=12, help="the cost of bcrypt (%(default)s)")
    add(
        "--settle", type=float, default=10.0, help="seconds that the strangers are there before (%(default)s)"
    )
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    options = parser.parse_args(arguments)

    def attempt(folder: Path) -> None:
        data = folder / "strangers"
        with logins.server(data, options.rounds) as running:
            visitors = logins.Visitors(1)
            visitors.make([logins.sign_up(running.target.address, OWNER)])
            visitors.close()
        command = chat_server(data, "json", f"haproxy:tcp:0:interface={HOST}")
        command[command.index("--bcrypt-rounds") + 1] = str(options.rounds)
        server = Server(CHAT, data, command=[*command, "--login-timeout", "3600"])
        try:
            asyncio.run(measure(server.target.address[1], options.addresses, options.times, options.settle))
        finally:
            server.stop()

    return measured("bench.strangers", options.data, attempt)


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
