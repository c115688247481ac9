"""Whether the time that a refusal takes tells which names have an account.

    python -m bench.names

So many logins with a wrong password to names that have an account, and as many to names
that have none, in random order, at a server where not everybody can sign up.  Each name
is tried once, so that nobody is slowed down.  The two sets of times, to the prompt and to
the refusal, are compared by the rank sum test of Mann and Whitney and by that of
Kolmogorov and Smirnov: a small p would mean that they differ.  To tell how small a
difference would have been seen, the one set is shifted until the test sees it.
"""

from __future__ import annotations

import argparse
import math
import random
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist, median

import msgspec

from bench import load, logins
from bench.run import CHAT, Server, chat_server, make_room
from bench.scratch import measured

#: A smaller p is a difference.
LEVEL = 0.01
#: To so many seconds it is found out how far the one set has to be shifted.
STEP = 0.5e-6


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """The probability that two samples of one distribution lie so far beside each other.

    By the normal approximation, with the correction for ties: for samples of twenty or more.
    """
    merged = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = ties = 0.0
    at = 0
    while at < len(merged):
        end = at
        while end < len(merged) and merged[end][0] == merged[at][0]:
            end += 1
        ranks += (at + 1 + end) / 2 * sum(1 for _, which in merged[at:end] if which == 0)
        ties += (end - at) ** 3 - (end - at)
        at = end
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    spread = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    return 2 * (1 - NormalDist().cdf(abs(u - n * m / 2) / spread)) if spread else 1.0


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """The probability that two samples of one distribution have distribution functions so far apart."""
    a, b = sorted(one), sorted(other)
    i = j = 0
    apart = 0.0
    while i < len(a) and j < len(b):
        value = min(a[i], b[j])
        while i < len(a) and a[i] == value:
            i += 1
        while j < len(b) and b[j] == value:
            j += 1
        apart = max(apart, abs(i / len(a) - j / len(b)))
    n = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    scaled = (n + 0.12 + 0.11 / n) * apart
    if scaled < 0.2:
        return 1.0
    terms = ((1 if k % 2 else -1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, 2 * sum(terms))


def seen(one: Sequence[float], other: Sequence[float], test: Callable[..., float]) -> float:
    """The shift in seconds from which on the test tells the two apart."""

    def differ(shift: float) -> bool:
        return test(one, [value + shift for value in other]) < LEVEL

    if differ(0.0):
        return 0.0
    hidden, found = 0.0, STEP
    while not differ(found):
        hidden, found = found, 2 * found
    while found - hidden > STEP:
        between = (hidden + found) / 2
        hidden, found = (hidden, between) if differ(between) else (between, found)
    return found


class Guesser:
    """One connection that is never let in."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect, and hear the greeting."""
        self._socket = socket.create_connection(address, logins.PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._hear("version", "username")

    def guess(self, name: str) -> tuple[float, float]:
        """Try one name; the seconds to the prompt, and to the refusal."""
        begun = time.perf_counter()
        self._socket.sendall(logins._login("username", name))
        self._hear("password")
        asked = time.perf_counter()
        self._socket.sendall(logins._login("password", "a wrong password"))
        self._hear("failed", "username")
        return asked - begun, time.perf_counter() - asked

    def _hear(self, *keywords: str) -> None:
        for keyword in keywords:
            said = msgspec.json.decode(self._lines.readline() or b'{"data":{"keyword":"nothing"}}')["data"]
            if said["keyword"] != keyword or said.get("code", "wrong-password") != "wrong-password":
                raise load.LoadError(f"the server said {said} instead of {keyword}")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


def measure(data: Path, count: int, rounds: int, seed: int) -> bool:
    """Make the accounts, guess, and print what came of it; whether no difference was seen."""
    names = [f"known{number}" for number in range(count)]
    with logins.server(data, 4) as running:
        visitors = logins.Visitors(logins.AT_ONCE)
        try:
            visitors.make(logins.sign_up(running.target.address, name) for name in names)
        finally:
            visitors.close()
    command = [*chat_server(data, "json"), "--registration", "closed", "--login-timeout", "86400"]
    command[command.index("--bcrypt-rounds") + 1] = str(rounds)
    running = Server(CHAT, data, command=command)
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    order = [(name, True) for name in names] + [(f"other{number}", False) for number in range(count)]
    random.Random(seed).shuffle(order)
    try:
        guesser = Guesser(running.target.address)
        for number in range(50):
            guesser.guess(f"warm{number}")
        for name, known in order:
            times[known].append(guesser.guess(name))
        guesser.close()
    finally:
        running.stop()
    print(f"{count} names with an account and {count} without, bcrypt at cost {rounds}, seed {seed}")
    same = True
    for which, what in enumerate(("prompt", "refusal")):
        one, other = ([each[which] for each in times[known]] for known in (True, False))
        for test in (mann_whitney, kolmogorov_smirnov):
            p = test(one, other)
            same = same and p >= LEVEL
            print(
                f"  {what}: median {median(one) * 1e6:.1f} and {median(other) * 1e6:.1f} us;"
                f" {test.__name__} p = {p:.3f}; would see {seen(one, other, test) * 1e6:.1f} us"
            )
    print("no difference" if same else f"a difference at the level of {LEVEL:.0%}")
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a difference was seen, or the server failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.names", description="Time refusals of logins.")
    add = parser.add_argument
    add("--count", type=int, default=2000, help="names with an account, and as many without (%(default)s)")
    add("--rounds", type=int, default=4, help="the cost of bcrypt; a low one hides less (%(default)s)")
    add("--seed", type=int, default=1, help="of the order in which they are tried (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    options = parser.parse_args(arguments)
    return measured(
        "bench.names",
        options.data,
        lambda folder: measure(folder / "names", options.count, options.rounds, options.seed),
    )


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
