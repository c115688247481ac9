"""Too many connections: counted, told so, hung up on."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from bench.attacks import login, said
from chat.errors import Code
from chat.limits.crowd import LIGHT, TOLD_AT_ONCE, Crowd, Place
from chat.origin import LOCAL, Origin, origin
from chat.protocol import ChatFactory
from chat.service import _connections
from chat.tap import Options
from tests.logbook import LogBook
from tests.network import Network
from tests.talker import Said, Talker, keywords
from tests.wire import Wire


class OriginTests(SynchronousTestCase):
    """L{origin}."""

    def assertOrigin(self, address: object, shown: str, network: str | None) -> None:
        """An address is shown and counted like this."""
        self.assertEqual(origin(address), Origin(shown, network))

    def test_ipv4(self) -> None:
        """Each IPv4 address is a network of its own."""
        self.assertOrigin(IPv4Address("TCP", "203.0.113.5", 1), "203.0.113.5", "203.0.113.5")

    def test_ipv6(self) -> None:
        """Of an IPv6 address, what the customer may choose does not count."""
        for host in ("2001:db8:1:2::3", "2001:db8:1:2:ffff::"):
            self.assertOrigin(IPv6Address("TCP", host, 1), host, "2001:db8:1:2::/64")
        self.assertOrigin(IPv6Address("TCP", "2001:db8:1:3::3", 1), "2001:db8:1:3::3", "2001:db8:1:3::/64")

    def test_bothKinds(self) -> None:
        """An IPv4 address is the same at a door that is for both kinds."""
        self.assertOrigin(IPv6Address("TCP", "::ffff:203.0.113.5", 1), "203.0.113.5", "203.0.113.5")
        self.assertOrigin(IPv6Address("TCP", "::ffff:127.0.0.1", 1), "127.0.0.1", None)

    def test_link(self) -> None:
        """An address that is good on one link only names the link, too."""
        self.assertOrigin(IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::1%eth0", "fe80::/64")

    def test_here(self) -> None:
        """Programs on this machine are of no network."""
        self.assertOrigin(IPv4Address("TCP", "127.3.2.1", 1), "127.3.2.1", None)
        self.assertOrigin(IPv6Address("TCP", "::1", 1), "::1", None)
        for address in (UNIXAddress(b"/run/chat"), UNIXAddress(None), None):
            self.assertEqual(origin(address), LOCAL)

    def test_otherKinds(self) -> None:
        """A kind of address that is not known is counted as it is called."""
        self.assertOrigin(IPv4Address("TCP", "onion", 1), "onion", "onion")


class CrowdTests(SynchronousTestCase):
    """L{Crowd}."""

    def test_anyNumber(self) -> None:
        """Without limits everybody comes in."""
        crowd = Crowd()
        places = [crowd.enter(Origin("a", "a")) for _ in range(2000)]
        self.assertEqual([place.refusal for place in places], [None] * 2000)

    def test_inAll(self) -> None:
        """Who is one too many is refused, until one goes."""
        crowd = Crowd(most=2)
        first = crowd.enter(LOCAL)
        crowd.enter(Origin("a", "a"))
        refusal = crowd.enter(Origin("b", "b")).refusal
        assert refusal is not None
        self.assertEqual(refusal.code, Code.TOO_MANY_CONNECTIONS)
        self.assertIn("2", refusal.reason)
        first.leave()
        self.assertIs(crowd.enter(LOCAL).refusal, None)

    def test_fromOneNetwork(self) -> None:
        """A network has its own limit, which troubles no other, nor programs on this machine."""
        crowd = Crowd(each=2)
        first, _ = crowd.enter(Origin("a1", "a")), crowd.enter(Origin("a2", "a"))
        self.assertIsNot(crowd.enter(Origin("a3", "a")).refusal, None)
        self.assertIs(crowd.enter(Origin("b", "b")).refusal, None)
        self.assertEqual([crowd.enter(LOCAL).refusal for _ in range(3)], [None] * 3)
        first.leave()
        self.assertIs(crowd.enter(Origin("a3", "a")).refusal, None)
        self.assertIsNot(crowd.enter(Origin("a4", "a")).refusal, None)

    def test_refusedTakeNoPlace(self) -> None:
        """Who came in vain does not keep others out, and is counted."""
        crowd = Crowd(most=1)
        inside = crowd.enter(LOCAL)
        vain = [crowd.enter(LOCAL) for _ in range(5)]
        inside.leave()
        inside.leave()
        self.assertIs(crowd.enter(LOCAL).refusal, None)
        self.assertIsNot(crowd.enter(LOCAL).refusal, None)
        self.assertEqual(crowd.refused, 6)
        for place in vain:
            place.leave()
        self.assertIsNot(crowd.enter(LOCAL).refusal, None)

    def test_unheard(self) -> None:
        """Only so many are told at a time that they came in vain."""
        crowd = Crowd(most=1)
        crowd.enter(LOCAL)
        vain = [crowd.enter(LOCAL) for _ in range(TOLD_AT_ONCE + 1)]
        self.assertEqual([place.unheard for place in vain], [False] * TOLD_AT_ONCE + [True])
        vain[-1].leave()
        vain[0].leave()
        self.assertFalse(crowd.enter(LOCAL).unheard)

    def test_logged(self) -> None:
        """That somebody came in vain is logged; not each time, or that would fill the disk."""
        log = LogBook(self)
        crowd = Crowd(most=1)
        for _ in range(1001):
            crowd.enter(Origin("203.0.113.5", None)).leave()
            crowd.enter(LOCAL)
        self.assertEqual(
            [event["count"] for event in log.events], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
        )
        self.assertIn("203.0.113.5", log.text)

    def test_forgets(self) -> None:
        """Of a network that has left, nothing is kept."""
        crowd = Crowd(each=2)
        places = [crowd.enter(Origin(str(number), str(number))) for number in range(1000)]
        for place in places:
            place.leave()
        self.assertEqual(crowd._networks, {})


class WeightTests(SynchronousTestCase):
    """What clients do not read, and what they do not complete, lies here."""

    def setUp(self) -> None:
        """There is room for a megabyte."""
        self.crowd = Crowd(heaviest=1_000_000)
        self.cut: list[str] = []
        self.log = LogBook(self)

    def weigh(self, name: str, size: int, place: Place | None = None) -> Place:
        """A connection of this name has so much lie here."""
        place = place or self.crowd.enter(Origin(name, name))
        place.weigh(size, lambda: self.cut.append(name))
        return place

    def test_heaviest(self) -> None:
        """When it is too much, the connection with the most of it is cut; that is logged."""
        self.weigh("a", 300_000)
        self.weigh("b", 500_000)
        self.weigh("c", 200_000)
        self.assertEqual(self.cut, [])
        self.weigh("d", 17_000)
        self.assertEqual(self.cut, ["b"])
        self.assertIn("connection from b cut: 500000 bytes", self.log.text)
        self.weigh("e", 400_000)
        self.assertEqual(self.cut, ["b"])

    def test_severalAtOnce(self) -> None:
        """As many as it takes."""
        places = [self.weigh(str(number), 200_000) for number in range(5)]
        self.weigh("last", 900_000, places[4])
        self.assertEqual(self.cut, ["last"])
        self.weigh("all", 1_000_001)
        self.assertEqual(self.cut, ["last", "all"])

    def test_changes(self) -> None:
        """What was read, or completed, counts no more; nor what belongs to a connection that is gone."""
        a = self.weigh("a", 900_000)
        self.weigh("a", 50_000, a)
        b = self.weigh("b", 900_000)
        b.leave()
        self.weigh("c", 900_000)
        self.assertEqual(self.cut, [])
        self.weigh("b", 900_000, b)
        self.assertEqual(self.cut, [])

    def test_nothingKept(self) -> None:
        """Nothing is kept of a connection that has nothing here any more, or that is gone."""
        read, gone = self.weigh("read", 500_000), self.weigh("gone", 400_000)
        self.weigh("read", 0, read)
        gone.leave()
        self.assertEqual((self.crowd.weight, self.crowd._cuts), (0, {}))

    def test_light(self) -> None:
        """What everybody has lie here costs no counting."""
        for number in range(100):
            self.weigh(str(number), LIGHT)
        self.assertEqual((self.crowd.weight, self.crowd._cuts), (0, {}))


class OptionsTests(SynchronousTestCase):
    """What the operator may say of it."""

    def test_descriptors(self) -> None:
        """There are no more places than the system grants, so nobody is cut off without a word."""
        for wanted, descriptors, expected in (
            (20_000, 0, 20_000),
            (20_000, -1, 20_000),
            (0, 0, 0),
            (20_000, 65_536, 20_000),
            (20_000, 1024, 768),
            (0, 1024, 768),
            (20_000, 100, 1),
        ):
            self.assertEqual(_connections(wanted, descriptors), expected, (wanted, descriptors))

    def test_options(self) -> None:
        """Both limits can be set, and are numbers."""
        options = Options()
        options.parseOptions([])
        self.assertEqual((options["connections"], options["connections-per-address"]), (20_000, 1000))
        options.parseOptions(["--connections", "5", "--connections-per-address", "0"])
        self.assertEqual((options["connections"], options["connections-per-address"]), (5, 0))
        for name in ("--connections", "--connections-per-address"):
            error = self.assertRaises(UsageError, Options().parseOptions, [name, "-1"])
            self.assertIn(name, str(error))


class DoorTests(SynchronousTestCase):
    """What comes to a door that is full."""

    def setUp(self) -> None:
        """A door with one place, and somebody in it."""
        self.network = network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        json = network.doors["json"]
        self.door = ChatFactory(network.clock, json._translator, network.converse, 60.0, crowd=Crowd(most=1))
        self.clock = network.clock
        self.inside = self.connect()

    def connect(self) -> Wire:
        """A connection."""
        wire = Wire(self.door.buildProtocol(IPv4Address("TCP", "203.0.113.5", 1)))
        wire.protocol.makeConnection(wire)
        return wire

    def heard(self, wire: Wire) -> list[Said]:
        """What a connection was told."""
        return Talker("json").decode(bytes(wire.unread))

    def test_told(self) -> None:
        """Who comes in vain is told why, and hung up on, also when it says nothing."""
        vain = self.connect()
        self.assertEqual(keywords(self.heard(vain)), ["version", "username", "fatal too-many-connections"])
        self.clock.advance(3.0)
        self.assertTrue(vain.aborted)
        self.assertEqual(keywords(self.heard(self.inside)), ["version", "username"])

    def test_notTold(self) -> None:
        """When very many come in vain, the rest are hung up on at once."""
        for _ in range(TOLD_AT_ONCE):
            self.connect()
        vain = self.connect()
        self.assertEqual(bytes(vain.unread), b"")
        self.assertTrue(vain.aborted)

    def test_unread(self) -> None:
        """Whoever asks for much and reads nothing is cut when that is too much; others go on."""
        self.door._crowd = Crowd(heaviest=500_000)
        alice, mallory = self.connect(), self.connect()
        for wire, name in ((alice, "alice"), (mallory, "mallory")):
            wire.arrive(2 * (login(name, "password of one")))
        self.network.settle()
        mallory.arrive(said("message", recipient="mallory", body="x" * 60_000) * 20)
        self.network.settle()
        mallory.arrive(said("system", keyword="read", ids=list(range(1, 21))))
        self.network.settle()
        self.assertTrue(mallory.aborted)
        self.assertEqual(self.door._crowd.weight, 0)
        alice.read()
        alice.arrive(said("system", keyword="ping"))
        self.network.settle()
        self.assertIn(b"pong", alice.unread)

    def test_read(self) -> None:
        """Whoever reads is not, however much it is."""
        self.door._crowd = Crowd(heaviest=500_000)
        alice = self.connect()
        alice.arrive(2 * login("alice", "password of one"))
        for _ in range(10):
            alice.arrive(said("message", recipient="alice", body="x" * 60_000) * 4)
            for _ in range(6):
                self.network.settle()
                alice.read(50_000)
        self.assertFalse(alice.aborted)
        self.assertEqual(self.door._crowd.weight, 0)

    def test_incomplete(self) -> None:
        """Whoever begins large frames and does not complete them is cut as well."""
        self.door._crowd = Crowd(heaviest=500_000)
        wires = [self.connect(), self.connect()]
        for number, wire in enumerate(wires):
            wire.arrive(2 * login(f"mallory{number}", "password of one"))
            self.network.settle()
            for _ in range(4):
                wire.arrive(b"x" * 65_536)
        self.assertEqual(sum(wire.aborted for wire in wires), 1)
        left = next(wire for wire in wires if not wire.aborted)
        self.assertEqual(self.door._crowd.weight, 262_144)
        left.arrive(b"\n")
        self.network.settle()
        self.assertEqual(self.door._crowd.weight, 0)

    def test_again(self) -> None:
        """When somebody has gone there is room."""
        self.inside.protocol.connectionLost()
        self.assertEqual(keywords(self.heard(self.connect())), ["version", "username"])
