"""Tests for C{chatctl deadletters}: seen by the operator, the text only when asked for."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import main
from tests.town import DEAD, LAST, called, listing, town
from tests.world import World, open_world


class DeadLettersTests(SynchronousTestCase):
    """The letters whose senders and recipients are both gone."""

    def setUp(self) -> None:
        """What is not written down: the files are those of other tests, too."""
        self.patch(main, "record", lambda *_: None)

    def test_listed(self) -> None:
        """A line for each, without its text, and their number; nothing is changed."""
        before = listing(town())
        status, out, err = called("deadletters", "--data", str(town()))
        self.assertEqual((status, err), (0, ""))
        line, number = out.splitlines()
        self.assertRegex(
            line,
            rf"^{DEAD}  2026-11-22T21:07:00.000Z  from dave to carol: account-deleted, dead since 2026-.*Z$",
        )
        self.assertEqual(number, "1 dead letter")
        self.assertEqual(listing(town()), before)

    def test_none(self) -> None:
        """Where there is none, that is said."""
        world = open_world(self)
        self.assertEqual(called("deadletters", "--data", str(world.path)), (0, "0 dead letters\n", ""))
        self.assertEqual(called("deadletters", "--data", str(world.path), "--format", "json"), (0, "", ""))

    def spoilt(self) -> World:
        """A running server with a dead letter that has odd characters in it."""
        world = open_world(self)
        alice, bob = world.sign_up("alice", "bob")
        world.send(alice, "bob", "one\ntwo\x1b[31m", subject="h\x07i")
        world.delete(alice)
        world.delete(bob)
        return world

    def test_show(self) -> None:
        """One of them with its text; control characters are shown, not obeyed. The server may run."""
        world = self.spoilt()
        status, out, _ = called("deadletters", "--data", str(world.path), "--show", "1")
        self.assertEqual(status, 0)
        self.assertEqual(out.splitlines()[1:], ["Subject: h\\x07i", "", "one", "two\\x1b[31m"])
        status, out, _ = called("deadletters", "--data", str(world.path))
        self.assertNotIn("one", out)

    def test_json(self) -> None:
        """For programs: an object a line, unaltered."""
        world = self.spoilt()
        status, out, _ = called("deadletters", "--data", str(world.path), "--show", "1", "--format", "json")
        self.assertEqual(status, 0)
        letter = json.loads(out)
        self.assertEqual((letter["subject"], letter["body"]), ("h\x07i", "one\ntwo\x1b[31m"))
        _, out, _ = called("deadletters", "--data", str(world.path), "--format", "json")
        self.assertEqual(
            json.loads(out), {key: letter[key] for key in letter if key not in ("subject", "body")}
        )

    def test_notDead(self) -> None:
        """A message that is not dead is not shown: its text is its owner's."""
        for id in ("1", str(LAST), "99"):
            status, out, err = called("deadletters", "--data", str(town()), "--show", id)
            self.assertEqual((status, out, err), (1, f"message {id} is no dead letter\n", ""))
        status, out, _ = called("deadletters", "--data", str(town()), "--show", "1", "--format", "json")
        self.assertEqual((status, out), (1, ""))

    def test_refused(self) -> None:
        """No such data, or no number: one line says so."""
        status, out, err = called("deadletters", "--data", self.mktemp())
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        for id in ("x", "0", "-1", "1.5", "9" * 19, "9" * 5000, "\u0661"):
            status, out, err = called("deadletters", "--data", str(town()), "--show", id)
            self.assertEqual((status, out), (2, ""), id)
            self.assertIn("is no number from 1 on", err)

    def test_damaged(self) -> None:
        """A letter that cannot be is for the audit to tell of."""
        for change in ("settled = NULL", "time = -99999999999999"):
            world = self.spoilt()
            world.sql(f"UPDATE ledger SET {change} WHERE state = 4")
            status, out, err = called("deadletters", "--data", str(world.path))
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn('see what "chatctl audit" finds', err)
