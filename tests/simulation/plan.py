"""What kind of world a seed makes: each leaves some things out and has much of others."""

from __future__ import annotations

from random import Random
from typing import Sequence, TypeVar

from tests.simulation import storage
from tests.simulation.keeping import HOUR, MINUTE, SECOND, Keeping, drawn

T = TypeVar("T")

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
#: Ways to be connected: a program in JSON or DER, a person with telnet or nc, the client library.
#: In some worlds there is L{WEB}, too.
KINDS = ("json", "der", "telnet", "nc", "library")
#: A page in a browser, by the WebSocket.
WEB = "web"
#: A program that asks over HTTP, at the same door.
HTTP = "http"
#: A program that follows a stream of events there.
EVENTS = "events"


class Plan:
    """The weights of one world.

    @ivar tokens: there are some who log in with tokens; for C{token_life} milliseconds.
    @ivar ages: it has an operator who sets limits, and so much time may pass that they are met.
    """

    ages = False
    tokens = False
    token_life = 30 * 24 * HOUR

    def __init__(self, random: Random) -> None:
        self.names = NAMES[: random.randint(2, 8)]
        self.kinds: dict[str, Sequence[str]] = {}
        for name in self.names:
            count = random.choice([1, 1, 2, 3])
            self.kinds[name] = random.sample(KINDS, count)
        self.early = [name for name in self.names if random.random() < 0.7]
        self.sessions = random.randint(3, 12)  # at once, at most
        self.window = random.choice([200, 1000, 4000, 64 * 1024])
        self.largest_body = random.choice([20, 20, 300, 3000])
        #: How often each kind of event comes.
        self.events = {
            "network": 40,
            "act": 30,
            "turn": 14,
            "transaction": 14,
            "answer": 14,
            "hash": 5,
            "library": 8,
            "time": random.choice([1, 2, 6]),
            "connect": random.choice([3, 6]),
            "cut": random.choice([0, 0, 1, 4]),
            "stall": random.choice([0, 1, 3]),
            "crash": random.choice([0, 0, 0.5, 1.5]),
            "stop": random.choice([0, 0, 0.3]),
            "start": 6,
            "weather": random.choice([0, 0, 0.5]),
            "jump": random.choice([0, 0, 0.3, 1]),
            "calm": random.choice([0.5, 1, 2]),
        }
        self.fates = {
            storage.FULL: random.choice([0, 0, 0.03]),
            storage.BROKEN: random.choice([0, 0, 0.02]),
            storage.CRASH_INSIDE: random.choice([0, 0.004]),
            storage.CRASH_BEFORE: random.choice([0, 0.01, 0.04]),
            storage.CRASH_AFTER: random.choice([0, 0.01, 0.04]),
        }
        #: What those who are logged in do.
        self.deeds = {
            "send": 12,
            "received": random.choice([3, 8, 8]),
            "delete": random.choice([1, 3]),
            "list": 1.5,
            "read": 1.5,
            "ping": 1,
            "change-password": random.choice([0, 0.3]),
            "delete-account": random.choice([0, 0.3, 1.5]),
            "quit": 0.4,
            "half-close": 0.2,
            "nonsense": random.choice([0, 0.5]),
            "garbage": random.choice([0, 0, 0.2]),
        }

    def age(self, random: Random) -> None:
        """Let this be a world in which the operator sets limits."""
        self.ages = True
        self._random = random
        self._keeping = drawn(random)
        self.events |= {"age": random.choice([1, 3]), "time": self.events["time"] + 2, "calm": 4}
        self.deeds["delete"] = random.choice([2, 6, 10])

    def carry_tokens(self, random: Random) -> None:
        """Let this be a world in which tokens are used."""
        self.tokens = True
        self.token_life = random.choice([30 * 24 * HOUR, HOUR, MINUTE, 20 * SECOND])
        self.deeds |= {"token": random.choice([1, 4]), "logout": random.choice([0.3, 2.5])}
        self.deeds["change-password"] = random.choice([0.3, 1.5])

    def browse(self, random: Random) -> None:
        """Let this be a world in which some have the page in place of a program."""
        for name, kinds in self.kinds.items():
            self.kinds[name] = [WEB if each == "json" or random.random() < 0.2 else each for each in kinds]

    def search(self, random: Random) -> None:
        """Let this be a world in which people search."""
        self.deeds["search"] = random.choice([1.5, 5])

    def ask(self, random: Random) -> None:
        """Let this be a world in which some ask over HTTP, beside whatever else they do."""
        for name, kinds in self.kinds.items():
            if random.random() < 0.8:
                self.kinds[name] = [*kinds, HTTP, HTTP]

    def follow(self, random: Random) -> None:
        """Let this be a world in which some follow a stream of events, beside whatever else they do."""
        for name, kinds in self.kinds.items():
            self.kinds[name] = [*kinds, *random.choice([[EVENTS], [EVENTS] * 4])]
        self.events["connect"] += 4
        self.sessions += 4

    def keeping(self) -> Keeping:
        """What the operator has decided when the server starts: mostly what it was before."""
        if not self.ages:
            return Keeping()
        if self._random.random() < 0.2:
            self._keeping = drawn(self._random)
        return self._keeping


def weighted(random: Random, weights: dict[T, float]) -> T:
    """One of these, as often as its weight says."""
    return random.choices(list(weights), list(weights.values()))[0]
