"""The house as docs/architecture.rst draws it: who may import whom.

The imports are read from the source, all of them: at the top, inside functions
and under C{TYPE_CHECKING}.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Iterator, Mapping

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

#: Importing module -> the modules it names.
Imports = Mapping[str, frozenset[str]]

WORDS = (
    "chat.messages",
    "chat.errors",
    "chat.codes",
    "chat.times",
    "chat.invitation",
    "chat.query",
    "chat.spelling",
)
WIRE = ("chat.wire",)
#: Those of the rules that say something to a client.
TALK = (
    "chat.session",
    "chat.course",
    "chat.requests",
    "chat.notices",
    "chat.login",
    "chat.feed",
    "chat.mailroom",
    "chat.drafts",
    "chat.letters",
    "chat.refusals",
)
RULES = (
    *TALK,
    "chat.alone",
    "chat.accounts",
    "chat.deletion",
    "chat.prepared",
    "chat.directory",
    "chat.ledger",
    "chat.ports",
    "chat.origin",
    "chat.limits.crowd",
    "chat.journal",
    "chat.lookalikes",
    "chat.limits.throttle",
    "chat.limits.evenness",
    "chat.limits.echoes",
    "chat.limits.turns",
)
STORE = ("chat.store",)
DOORS = ("chat.protocol", "chat.outlet", "chat.proxied", "chat.web")
CLIENT = ("chat.client",)
#: TLS; what a certificate is called is for both sides.
CALLED = ("chat.tls.fingerprint", "chat.tls.wordlist")
TLS = ("chat.tls",)
OUTSIDE = (
    *DOORS,
    "chat.rights",
    "chat.service",
    "chat.tap",
    "chat.admin",
    "chat.conformance",
    *CLIENT,
)


def names(module: str, is_package: bool, source: str, known: frozenset[str]) -> frozenset[str]:
    """The modules that this source imports; C{from x import y} names C{x.y} where that is a module.

    @param known: the dotted names of all modules there are in the project.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in known else base)
    return frozenset(found - {module})


@lru_cache
def read(root: Path) -> Imports:
    """The imports of every module under C{root/chat}."""
    sources = {}
    for path in sorted(root.glob("chat/**/*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        sources[".".join(parts[:-1] if is_package else parts)] = (is_package, path)
    known = frozenset(sources)
    return {
        module: names(module, is_package, path.read_text("utf-8"), known)
        for module, (is_package, path) in sources.items()
    }


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or inside one of them."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def crossing(imports: Imports, rooms: tuple[str, ...], barred: tuple[str, ...]) -> list[str]:
    """Each import of something barred by a module in these rooms, as C{"a -> b"}."""
    return [
        f"{module} -> {target}"
        for module, targets in sorted(imports.items())
        if within(module, rooms)
        for target in sorted(targets)
        if within(target, barred)
    ]


def straying(imports: Imports, rooms: tuple[str, ...], allowed: tuple[str, ...]) -> list[str]:
    """Each import of another part of C{chat} that these rooms are not allowed, as C{"a -> b"}."""
    return [
        f"{module} -> {target}"
        for module, targets in sorted(imports.items())
        if within(module, rooms)
        for target in sorted(targets)
        # The package itself holds nothing but its version.
        if target != "chat" and within(target, ("chat",)) and not within(target, allowed)
    ]


def cycle(imports: Imports) -> list[str]:
    """The modules of one import cycle, in order, or an empty list."""
    finished: set[str] = set()

    def follow(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in finished:
            for target in sorted(imports.get(module, ())):
                if found := follow(target, [*path, module]):
                    return found
            finished.add(module)
        return []

    for module in sorted(imports):
        if found := follow(module, []):
            return found
    return []


def both(imports: Imports, one: tuple[str, ...], other: tuple[str, ...]) -> Iterator[str]:
    """The modules that import from both of two rooms."""
    for module, targets in sorted(imports.items()):
        if any(within(each, one) for each in targets) and any(within(t, other) for t in targets):
            yield module


class HouseTests(SynchronousTestCase):
    """Arrows of import point one way."""

    def setUp(self) -> None:
        """Read the imports of the whole package."""
        self.imports = read(ROOT)

    def test_everyRoomIsThere(self) -> None:
        """Each room that a rule below speaks of exists, so that no rule holds for want of code."""
        rooms = {*WORDS, *WIRE, *RULES, *STORE, *DOORS, "chat.service", *CLIENT, *TLS, *CALLED}
        self.assertEqual(rooms - set(self.imports), set())

    def test_vocabulary(self) -> None:
        """The messages and the errors know nothing of the project but each other."""
        self.assertEqual(straying(self.imports, WORDS, WORDS), [])
        self.assertEqual(self.imports["chat"], {"__future__"})

    def test_gauges(self) -> None:
        """What is counted as it happens needs nobody; the rounds need a word for what is refused."""
        self.assertEqual(straying(self.imports, ("chat.health.gauges",), ()), [])
        self.assertEqual(straying(self.imports, ("chat.health.rounds",), ("chat.errors",)), [])

    def test_wire(self) -> None:
        """The codecs know the vocabulary, and do no I/O."""
        self.assertEqual(straying(self.imports, WIRE, (*WORDS, *WIRE)), [])
        self.assertEqual(crossing(self.imports, WIRE, ("twisted", "socket", "sqlite3")), [])

    def test_rules(self) -> None:
        """The rules know neither the network nor SQL, and no concrete store or door."""
        barred = ("twisted.internet", "twisted.enterprise", "sqlite3", *STORE, *OUTSIDE)
        self.assertEqual(crossing(self.imports, RULES, barred), [])

    def test_store(self) -> None:
        """The store knows no protocol: no codec, no session, no door."""
        barred = (*WIRE, *TALK, *OUTSIDE)
        self.assertEqual(crossing(self.imports, STORE, barred), [])

    def test_doors(self) -> None:
        """A door is a thin adapter: it knows no store and no client."""
        barred = (*STORE, *CLIENT, "chat.service", "sqlite3")
        self.assertEqual(crossing(self.imports, DOORS, barred), [])

    def test_client(self) -> None:
        """The client needs the vocabulary, the codecs and three forms; it could be a package of its own."""
        shared = (*WORDS, *WIRE, *CALLED, "chat.invitation", "chat.prepared")
        self.assertEqual(straying(self.imports, CLIENT, (*shared, *CLIENT)), [])

    def test_tls(self) -> None:
        """TLS knows the errors and the rounds, and nobody else; what a certificate is called needs nobody."""
        self.assertEqual(straying(self.imports, TLS, ("chat.errors", "chat.health.rounds", *TLS)), [])
        self.assertEqual(straying(self.imports, CALLED, CALLED), [])
        self.assertEqual(crossing(self.imports, CALLED, ("twisted", "cryptography", "OpenSSL")), [])

    def test_oneAssembler(self) -> None:
        """Only the service names a concrete store and a concrete door together."""
        self.assertEqual(list(both(self.imports, STORE, DOORS)), ["chat.service"])

    def test_noCycles(self) -> None:
        """No module imports itself by way of others."""
        self.assertEqual(cycle(self.imports), [])


class ReaderTests(SynchronousTestCase):
    """What reads the imports sees all of them, so that the house is really held."""

    KNOWN = frozenset({"chat", "chat.a", "chat.b", "chat.b.c", "chat.b.d"})

    def assertNames(self, module: str, source: str, *expected: str) -> None:
        """A module with this source imports just these."""
        is_package = module == "chat.b"
        self.assertEqual(names(module, is_package, source, self.KNOWN), frozenset(expected))

    def test_forms(self) -> None:
        """Each form of the import statement is understood, wherever it stands."""
        self.assertNames("chat.a", "import chat.b.c, sqlite3", "chat.b.c", "sqlite3")
        self.assertNames("chat.a", "from chat.b import c, thing", "chat.b.c", "chat.b")
        self.assertNames("chat.a", "def f():\n    from chat.b.c import x", "chat.b.c")
        self.assertNames("chat.b.c", "from . import d", "chat.b.d")
        self.assertNames("chat.b.c", "from .d import x", "chat.b.d")
        self.assertNames("chat.b.c", "from ..a import x", "chat.a")
        self.assertNames("chat.b", "from .c import x", "chat.b.c")

    def test_crossing(self) -> None:
        """A barred import is named, a module whose name only begins alike is not."""
        imports = {"chat.a": frozenset({"chat.store.x", "chat.stores"}), "chat.b": frozenset[str]()}
        self.assertEqual(crossing(imports, ("chat.a",), ("chat.store",)), ["chat.a -> chat.store.x"])
        self.assertEqual(straying(imports, ("chat.a",), ("chat.store",)), ["chat.a -> chat.stores"])
        self.assertEqual(list(both(imports, ("chat.store",), ("chat.stores",))), ["chat.a"])

    def test_cycle(self) -> None:
        """A cycle is found from wherever it is entered, and a diamond is none."""
        ring = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("db"), "d": frozenset("")}
        self.assertEqual(cycle(ring), ["b", "c", "b"])
        diamond = {"a": frozenset("bc"), "b": frozenset("d"), "c": frozenset("d")}
        self.assertEqual(cycle(diamond), [])
