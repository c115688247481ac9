"""The seeded simulation: many worlds on each commit, and that it can be trusted."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Mapping, Optional
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chat.mailroom import Mailroom
from chat.store.commit import Cursor
from chat.store.intake import Intake
from chat.store.returns import Aged, Expiry, Returns
from chat.web.api import events
from chat.web.api.events import Stream
from tests.network import Network
from tests.simulation.__main__ import main
from tests.simulation.plan import Plan
from tests.simulation.run import Failure, simulate
from tests.simulation.world import EDITION
from tests.talker import keywords, password

#: What CI runs; see docs/testing.rst for how to run more.
SEEDS = 200
STEPS = 250

Content = Mapping[str, Any]

_KEPT = Path(__file__).parent / "simulation" / "seeds.txt"
_ROOT = Path(__file__).parent.parent


def _command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _log(seed: int, steps: int, edition: int = EDITION) -> list[str]:
    lines: list[str] = []
    simulate(seed, steps, lines.append, edition)
    return lines


def _first_failure(seeds: range) -> str:
    for seed in seeds:
        try:
            simulate(seed, STEPS)
        except Failure as failure:
            return str(failure)
    return "none"


class SeedTests(SynchronousTestCase):
    """The promises hold in every world that is tried."""

    def tearDown(self) -> None:
        """What the server logs about the faults of a world is part of it."""
        self.flushLoggedErrors()

    def test_seeds(self) -> None:
        """Two hundred worlds, in two processes."""
        half = SEEDS // 2
        for running in [
            _command("--seeds", f"{first}..{first + half - 1}", "--steps", str(STEPS))
            for first in (1, half + 1)
        ]:
            output, _ = running.communicate()
            self.assertEqual(running.returncode, 0, output)

    def test_kept(self) -> None:
        """Every seed that once failed."""
        for line in _KEPT.read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                seed, edition, steps, _ = line.split(None, 3)
                simulate(int(seed), int(steps), edition=int(edition))


class DeterminismTests(SynchronousTestCase):
    """A seed tells the same story always and everywhere."""

    def tearDown(self) -> None:
        """What the server logs about the faults of a world is part of it."""
        self.flushLoggedErrors()

    def test_twice(self) -> None:
        """Twice in one process."""
        for seed in (3, 37):
            self.assertEqual(_log(seed, STEPS), _log(seed, STEPS))

    def test_editions(self) -> None:
        """What a later edition draws changes nothing in the worlds where none of it is."""
        added = ("age", "carry_tokens", "browse", "ask", "search", "follow")
        self.assertEqual(len(added) + 1, EDITION)
        for edition, adds in enumerate(added, start=2):
            with mock.patch.object(Plan, adds):
                for seed in range(1, 4):
                    self.assertEqual(_log(seed, STEPS, edition), _log(seed, STEPS, edition - 1))
            seeds = range(1, 7)
            same = sum(_log(seed, STEPS, edition) == _log(seed, STEPS, edition - 1) for seed in seeds)
            self.assertTrue(0 < same < len(seeds), same)

    def test_otherProcesses(self) -> None:
        """In processes that hash strings differently."""
        logs = []
        for hashing in ("1", "2"):
            log = self.mktemp()
            running = _command(
                "--seed", "5", "--steps", str(STEPS), "--log", os.path.abspath(log), PYTHONHASHSEED=hashing
            )
            output, _ = running.communicate()
            self.assertEqual(running.returncode, 0, output)
            logs.append(Path(log).read_bytes())
        self.assertEqual(logs[0], logs[1])
        self.assertGreater(len(logs[0].splitlines()), STEPS)

    def test_different(self) -> None:
        """Another seed tells another story."""
        self.assertNotEqual(_log(3, 50), _log(4, 50))


class FailureTests(SynchronousTestCase):
    """A broken promise is found, and told so that it can be looked into."""

    def tearDown(self) -> None:
        """What the server logs about the faults of a world is part of it."""
        self.flushLoggedErrors()

    def test_found(self) -> None:
        """A server that tells nobody of deliveries is caught; its seed and the shortest way are told."""
        output = io.StringIO()
        with mock.patch.object(Mailroom, "_confirmed"), redirect_stdout(output):
            status = main(["--seeds", "1..20", "--steps", "200"])
        self.assertEqual(status, 1)
        self.assertRegex(
            output.getvalue(), r"FAILED seed \d+, step \d+: Violation: .*\n +shortest: python -m"
        )

    def test_retention(self) -> None:
        """What an operator's limits do is watched: silent returns, lost counts, full mailboxes, old mail."""

        def fold(cursor: Cursor, before: int, *more: object) -> bool:
            cursor.execute("DELETE FROM ledger WHERE state IN (2, 3) AND settled < ?", (before,))
            return False

        def expire(self: Returns, cursor: Cursor, aged: Aged) -> Expiry:
            return Expiry(None, set())

        faults = (
            (mock.patch.object(Mailroom, "returned"), "was not delivered"),
            (mock.patch("chat.store.store.fold", fold), "is not in the ledger"),
            (mock.patch.object(Intake, "_waiting", lambda *arguments: 0), "which was full"),
            (mock.patch.object(Returns, "expire", expire), "has waited for too long"),
        )
        for fault, words in faults:
            output = io.StringIO()
            with fault, redirect_stdout(output):
                main(["--seeds", "1..60", "--steps", "200"])
            self.assertIn(words, output.getvalue())

    def test_events(self) -> None:
        """What goes wrong in a stream of events is found, whether it is said wrongly or not at all."""
        write = Stream._write

        def unnumbered(self: Stream, event: str, content: Content, id: Optional[int] = None) -> None:
            write(self, event, content)

        def without_again(self: Stream, event: str, content: Content, id: Optional[int] = None) -> None:
            write(self, event, {name: each for name, each in content.items() if name != "again"}, id)

        faults = (
            (mock.patch.object(Stream, "_write", unnumbered), "is numbered None"),
            (mock.patch.object(Stream, "_write", without_again), "does not say so"),
            (mock.patch.object(Stream, "resumeProducing"), "was not shown"),
            (mock.patch.object(Stream, "fail", lambda self, problem: self.end()), "the stream ends with"),
            (mock.patch.object(events, "_position", lambda asked: 0), "asked was behind"),
        )
        for fault, words in faults:
            with fault:
                self.assertIn(words, _first_failure(range(1, 60)))

    def test_shortest(self) -> None:
        """What is told as the shortest way fails."""
        output = io.StringIO()
        with mock.patch.object(Mailroom, "_confirmed"):
            with redirect_stdout(output):
                main(["--seeds", "1..20", "--steps", "200"])
            command = output.getvalue().split("python -m tests.simulation ")[1].split("\n")[0]
            with redirect_stdout(io.StringIO()):
                self.assertEqual(main(command.split()), 1)


class FoundTests(SynchronousTestCase):
    """What the simulation has found, each in the fewest words."""

    def setUp(self) -> None:
        """A server."""
        self.network = Network(Path(self.mktemp()))
        self.addCleanup(self.network.close)

    def test_promptOfClosed(self) -> None:
        """A name that was said before the server stops is answered by the prompt that belongs to it."""
        client = self.network.connect()
        client.answer("username", "alice")
        self.network.doors["json"].shut_down()
        self.assertEqual(keywords(client.hear()), ["new-password", "fatal shutting-down"])

    def test_mayBeShown(self) -> None:
        """What is accepted while a reader is only slow counts as shown: it may be, before that is known."""
        alice, bob = self.network.user("alice"), self.network.user("bob")
        bob.reads = False
        for _ in range(2):
            alice.send("bob", "x" * 60_000)
        alice.hear()
        self.assertTrue(self.network.directory.live(2))

    def test_noticeAfterDeletion(self) -> None:
        """Whoever has deleted the account is told nothing more about its messages."""
        alice, bob = self.network.user("alice"), self.network.user("bob")
        alice.send("bob", "hello", receipt=True)
        alice.hear()
        self.network.hashing.slow = True
        alice.system("delete-account", password=password("alice"))
        self.network.settle()
        alice.reads = False
        for _ in range(2):
            bob.send("alice", "x" * 60_000)
        self.network.settle()
        bob.received(1)
        self.network.settle()
        self.network.hashing.finish()
        self.network.settle()
        alice.reads = True
        self.assertEqual(keywords(alice.hear()), ["message", "message", "account-deleted", "username"])
