"""How many may be connected at a time, in all and from one network; and how much they may have lie here.

Whoever comes when it is full is told so and hung up on.  The words cost a little too; when
very many come in vain at once, the rest are hung up on without any.

What a client does not read, and the frames that it does not complete, lie in the server's
memory.  When all of it together is too much, the connection with the most of it is cut: its
client reads nothing, so it cannot be told either.  No message is lost by that.
"""

from __future__ import annotations

from typing import Callable

from chat.errors import Code, FatalError
from chat.journal import Event, tell
from chat.origin import Origin

#: How many at a time are told that they came in vain.
TOLD_AT_ONCE = 100
#: So many bytes of one connection are not counted as lying here.
LIGHT = 16 * 1024
#: How many bytes may lie here in all.
HEAVIEST = 256 * 1024 * 1024


class Crowd:
    """Counts the connections of all doors.

    @ivar refused: how many came in vain.
    @ivar inside: how many are connected.
    @ivar weight: how many bytes lie here that clients do not read or complete, but for what is little.
    """

    def __init__(self, most: int = 0, each: int = 0, heaviest: int = HEAVIEST) -> None:
        """Let in so many.

        @param most: connections in all; 0: any number.
        @param each: connections from one network, see L{Origin.network}; 0: any number. Programs on
            this machine are not counted by it: they may be all the others, behind a proxy.
        @param heaviest: bytes that may lie here in all.
        """
        self._most = most
        self._each = each
        self.inside = 0
        self._told = 0
        self._networks: dict[str, int] = {}
        self._heaviest = heaviest
        self.weight = 0
        self._cuts: dict[Place, Callable[[], object]] = {}
        self.refused = 0

    def enter(self, origin: Origin) -> Place:
        """A connection from there."""
        refusal = self._refusal(origin.network)
        if refusal is None:
            self.inside += 1
            if origin.network is not None:
                self._networks[origin.network] = self._networks.get(origin.network, 0) + 1
            return Place(self, origin, None)
        self.refused += 1
        self._told += 1
        if self.refused & (self.refused - 1) == 0:  # 1, 2, 4, 8: a flood of them is no flood of entries
            tell(Event.TURNED_AWAY, origin, count=self.refused, code=refusal.code.value)
        return Place(self, origin, refusal, unheard=self._told > TOLD_AT_ONCE)

    def _refusal(self, network: str | None) -> FatalError | None:
        if self._most and self.inside >= self._most:
            return _too_many(f"The server has {self._most} connections, as many as it takes.")
        if self._each and network is not None and self._networks.get(network, 0) >= self._each:
            return _too_many(f"Your network has {self._each} connections to this server, as many as it may.")
        return None

    def _weigh(self, place: Place, weight: int, cut: Callable[[], object]) -> None:
        self.weight += weight - place.weight
        place.weight = weight
        if weight:
            self._cuts[place] = cut
        else:
            self._cuts.pop(place, None)
        while self.weight > self._heaviest:
            worst = max(self._cuts, key=lambda each: each.weight)
            tell(Event.CUT, worst.origin, size=worst.weight)
            cut = self._cuts[worst]
            self._weigh(worst, 0, cut)
            cut()

    def _left(self, place: Place) -> None:
        self._weigh(place, 0, place.leave)
        if place.refusal is not None:
            self._told -= 1
            return
        self.inside -= 1
        network = place.origin.network
        if network is not None:
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]


class Place:
    """What one connection takes up.

    @ivar origin: where it comes from.
    @ivar refusal: what it is told if it came in vain.
    @ivar unheard: it came in vain with very many, and is not even told so.
    @ivar weight: how many bytes of it lie here, 0 if they are few.
    """

    __slots__ = ("_crowd", "origin", "refusal", "unheard", "weight")

    def __init__(
        self, crowd: Crowd, origin: Origin, refusal: FatalError | None, *, unheard: bool = False
    ) -> None:
        self._crowd: Crowd | None = crowd
        self.origin = origin
        self.weight = 0
        self.refusal = refusal
        self.unheard = unheard

    def weigh(self, size: int, cut: Callable[[], object]) -> None:
        """So many bytes lie here now; C{cut} closes the connection at once."""
        weight = size if size > LIGHT else 0
        if weight != self.weight and self._crowd is not None:
            self._crowd._weigh(self, weight, cut)

    def leave(self) -> None:
        """The connection is gone; to say it twice is harmless."""
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            crowd._left(self)


def _too_many(reason: str) -> FatalError:
    return FatalError(Code.TOO_MANY_CONNECTIONS, f"{reason} Try again later.")
