"""Tests for L{bench.rest}: it measures, and it would see a server that has grown."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from bench import rest
from bench.rest import DEFAULT, KINDS
from bench.run import BARE, CHAT
from tests.test_bench import call


class RestTests(SynchronousTestCase):
    """A server that is looked at as soon as it listens."""

    def test_bound(self) -> None:
        """What takes more than it may ends with status 1, and is told all the same."""
        status, out, err = call(rest.main, "--settle", "0", "--at-most", "1")
        self.assertEqual((status, err), (1, ""))
        row = re.search(rf"^{CHAT}, {DEFAULT} +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
        assert row is not None, out
        resident, private = map(float, row.groups())
        self.assertTrue(1 < private < resident, out)
        self.assertTrue(out.endswith(f"\n{resident} MiB, at most 1: too much\n"), out)

    def test_kinds(self) -> None:
        """All servers are measured where no bound is given; here they are only named."""
        seen: list[str] = []

        def measure(folder: object, kind: str, settle: float) -> tuple[int, int]:
            seen.append(kind)
            return rest.MIB, rest.MIB

        self.patch(rest, "measure", measure)
        self.assertEqual(call(rest.main)[0], 0)
        self.assertEqual(seen, [BARE, *KINDS])
        status, out, _ = call(rest.main, "--at-most", "1")
        self.assertEqual((status, seen[-1]), (0, DEFAULT))
        self.assertIn("1.0 MiB, at most 1: fine\n", out)
