"""How long a search takes in a mailbox of a million messages.

A mailbox is filled through the store, with words as people use them: some in every other
message, most in few.  Then every kind of query is asked many times, each time with other
words.  One thread does it all, so what is measured is the work, not the way to the server.
Both the time that passed is told and that for which it had a processor: on a machine that others
use, the first has theirs in it.

    python -m bench.search
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from chat.directory import Directory
from chat.ledger import Account, Draft
from chat.mailroom import Mailroom
from chat.messages import Found, Search
from chat.store import Store
from chat.store.files import DataDirectory, path, schemas
from chat.store.pool import DirectPool

T = TypeVar("T")

#: When the first message is accepted: 2026-01-01, in seconds; and how long it takes until the last one is.
BEGINNING = 1_767_225_600
DAYS = 300
#: How many others the mailbox has mail from.
CORRESPONDENTS = 300
BATCH = 1000
BODY = 200
#: Every so many-th message has a subject.
SUBJECT_EVERY = 4
#: What people write most, which is every other word.
SPOKEN = """
    the of and a to in is you that it he was for on are as with his they at be this have from or one had by
    word but not what all were we when your can said there use an each which she do how their if will up
    other about out many then them these so some her would make like him into time has look two more write
"""
COMMON = SPOKEN.split()
#: These are as frequent as those, in every sixth message or so, and never stand together.
APART = ["first", "second", "third"]
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvw" for vowel in "aeiou"]
WORDS = 30_000
DAY = 24 * 60 * 60


class Language:
    """Texts of which some words are frequent and most are rare, as in any language (Zipf).

    @ivar words: those that are not the most common ones, the more frequent first.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        made = ("".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))) for _ in range(2 * WORDS))
        self.words = list(dict.fromkeys(made))[:WORDS]
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def text(self) -> str:
        """A body."""
        words: list[str] = []
        size = 0
        while size < BODY:
            if self._chance.random() < 0.015 and (not words or words[-1] not in APART):
                words.append(self._chance.choice(APART))
            elif self._chance.random() < 0.5:
                words.append(self._chance.choice(COMMON))
            else:
                words += self._chance.choices(self.words, cum_weights=self._weights)
            size += len(words[-1]) + 1
        return " ".join(words)[:BODY]

    def subject(self) -> str:
        """A subject: three words, none of them among the most common."""
        return " ".join(self._chance.choices(self.words, cum_weights=self._weights, k=3))


class Server:
    """The core of a server, in this thread, with a clock that is set."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.clock.advance(BEGINNING)
        self._data = DataDirectory(directory, schemas())
        self._data.open()
        self._people = Directory()
        self.store = Store(
            DirectPool(directory),
            self.clock,
            live=self._people.live,
            now=self.now,
            reserved=0,
            in_thread=execute,
            rounds=4,
        )
        self.mailroom = Mailroom(self.store, self._people, self.now)

    def now(self) -> int:
        """The time in milliseconds."""
        return round(self.clock.seconds() * 1000)

    def account(self, name: str) -> Account:
        """A new account of this name."""
        account = self.result(self.store.join(name))
        self.result(self.store.activate(account))
        return account

    def result(self, awaitable: Awaitable[T]) -> T:
        """What comes of this, when everything that is due has happened."""

        async def steps() -> T:
            return await awaitable

        results: list[T] = []
        Deferred.fromCoroutine(steps()).addCallback(results.append)
        self.settle()
        (result,) = results
        return result

    def settle(self) -> None:
        """Let everything happen that is due."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def close(self) -> None:
        """Stop."""
        self.result(self.store.close())
        self._data.close()


def fill(server: Server, language: Language, chance: Random, messages: int) -> Account:
    """A mailbox with so many messages; says what it cost."""
    bob = server.account("bob")
    others = [server.account(f"user{number}") for number in range(CORRESPONDENTS)]
    accepting = 0.0
    done: list[object] = []
    server.store.indexing.stop()
    for _ in range(messages // BATCH):
        drafts = [
            Draft("bob", "bob", None, language.text(), None, 0)
            if number % SUBJECT_EVERY
            else Draft("bob", "bob", language.subject(), language.text(), None, 0)
            for number in range(BATCH)
        ]
        began = process_time()
        server.store.accept(chance.choice(others).id, drafts, done.append, done.append)
        server.clock.advance(DAYS * DAY * BATCH / messages)
        server.settle()
        accepting += process_time() - began
    print(f"{messages:,} messages accepted: {accepting / messages * 1e6:.1f} us of CPU each")
    return bob


def index(server: Server, messages: int) -> None:
    """Let all of them enter the index; says what it cost."""
    longest = total = 0.0
    batches = 0
    more = True
    while more:
        before, began = perf_counter(), process_time()
        left = server.result(server.store.extend(True))
        longest, total = max(longest, perf_counter() - before), total + process_time() - began
        batches += 1
        more = left.last < left.newest or left.first > 1
    print(
        f"indexed: {total / messages * 1e6:.1f} us of CPU each, {batches:,} transactions,"
        f" the longest {longest * 1000:.0f} ms"
    )
    longest = total = 0.0
    steps = 0
    more = True
    while more:
        before, began = perf_counter(), process_time()
        more = server.result(server.store.renew(server.now() + 1)) is not None
        longest, total = max(longest, perf_counter() - before), total + process_time() - began
        steps += 1
    print(
        f"complete volumes written anew: {total / messages * 1e6:.1f} us of CPU for each message,"
        f" {steps:,} transactions, the longest {longest * 1000:.0f} ms"
    )


def questions(language: Language, chance: Random) -> dict[str, Callable[[], str]]:
    """Queries of each kind, each time another one."""
    frequent, rare = language.words[:300], language.words[-20_000:]

    def day() -> str:
        return f"2026-{chance.randint(1, 9):02}-{chance.randint(1, 28):02}"

    def phrase() -> str:
        words = language.text().split()
        at = chance.randrange(len(words) - 3)
        return '"{}"'.format(" ".join(words[at : at + 2]))

    return {
        "a rare word": lambda: chance.choice(rare),
        "a word that nobody wrote": lambda: f"x{chance.randint(0, 10**6)}x",
        "a common word": lambda: chance.choice(COMMON),
        "two frequent words": lambda: " ".join(chance.sample(frequent, 2)),
        "a frequent and a rare word": lambda: f"{chance.choice(frequent)} {chance.choice(rare)}",
        "two words in a row": phrase,
        "one of the subject": lambda: f"subject:{chance.choice(frequent)}",
        "one that no subject has": lambda: f"subject:{chance.choice(COMMON)}",
        "two that are never together": lambda: '"{} {}"'.format(*chance.sample(APART, 2)),
        "the beginning of a word": lambda: f"{chance.choice(language.words)[:4]}*",
        "from somebody": lambda: f"from:user{chance.randrange(CORRESPONDENTS)}",
        "from somebody, a rare word": lambda: (
            f"from:user{chance.randrange(CORRESPONDENTS)} {chance.choice(rare)}"
        ),
        "on a day": lambda: f"since:{(one := day())} until:{one}",
        "on a day, a frequent word": lambda: f"until:{day()} {chance.choice(frequent)}",
        "one word without another": lambda: f"{chance.choice(frequent)} -{chance.choice(COMMON)}",
    }


def ask(server: Server, bob: Account, kinds: dict[str, Callable[[], str]], times: int) -> None:
    """Ask each kind of query so often; prints a table."""
    names = "".join(f"{name:>10}" for name in ("p50 ms", "p99 ms", "p50 CPU", "p99 CPU"))
    print(f"{'what is searched for':<30}{'found':>8}{names}")
    for kind, query in kinds.items():
        took: list[float] = []
        busy: list[float] = []
        hits = 0
        for _ in range(times):
            wanted = Search(query=query())
            began, worked = perf_counter(), process_time()
            found: Found = server.result(server.mailroom.search(bob, wanted))
            took.append((perf_counter() - began) * 1000)
            busy.append((process_time() - worked) * 1000)
            hits += len(found.messages)
        figures = [centile for each in (took, busy) for centile in quantiles(each, n=100)[49::49]]
        print(f"{kind:<30}{hits / times:>8.1f}" + "".join(f"{figure:>10.1f}" for figure in figures))


def sizes(directory: Path, messages: int) -> None:
    """Say how large the files are, and what of that is the index."""
    import sqlite3

    connection = sqlite3.connect(path(directory, "messages"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((words,),) = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'words_%'")
    ((content,),) = connection.execute("SELECT sum(length(body) + length(coalesce(subject, ''))) FROM ledger")
    connection.close()
    size = path(directory, "messages").stat().st_size
    allowed = 1.5 * content / messages + 60
    print(
        f"disk: {size / messages:.0f} bytes a message, {words / messages:.0f} of them the index;"
        f" content {content / messages:.0f}, allowed {allowed:.0f}"
    )


def main(arguments: Sequence[str]) -> None:
    """Fill a mailbox and search it."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="in the mailbox (1000000)")
    parser.add_argument("--times", type=int, default=200, help="how often each kind of query is asked (200)")
    parser.add_argument("--data", type=Path, help="keep the data directory here, and use it if it is there")
    options = parser.parse_args(arguments)
    chance = Random(1)
    language = Language(chance)
    with TemporaryDirectory() as temporary:
        directory: Path = options.data or Path(temporary) / "data"
        there = directory.exists()
        server = Server(directory)
        if there:
            account = server.result(server.store.find("bob"))
            assert account is not None
            bob = account
            server.clock.advance(DAYS * DAY)
        else:
            bob = fill(server, language, chance, options.messages)
        index(server, options.messages)
        sizes(directory, options.messages)
        ask(server, bob, questions(language, chance), options.times)
        server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
