"""The promise names the tests that hold it: they must exist."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

PAGE = Path(__file__).parent.parent / "docs" / "guarantees.rst"
_CHECK = re.compile(r"^- ``(tests\.[\w.]+)``$", re.MULTILINE)


def clauses(page: str) -> dict[str, str]:
    """The sections of the page, each with its text."""
    parts = re.split(r"^(.+)\n-{3,}\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


class GuaranteesTests(SynchronousTestCase):
    """C{docs/guarantees.rst}."""

    def test_everyClauseIsChecked(self) -> None:
        """Each clause names tests."""
        found = clauses(PAGE.read_text("utf-8"))
        self.assertGreaterEqual(len(found), 10)
        self.assertEqual([title for title, text in found.items() if not _CHECK.search(text)], [])

    def test_everyTestExists(self) -> None:
        """Each test named is one that trial would run."""
        missing = []
        for name in _CHECK.findall(PAGE.read_text("utf-8")):
            try:
                test = namedAny(name)
            except (AttributeError, ImportError):
                missing.append(name)
                continue
            if not (callable(test) and name.rpartition(".")[2].startswith("test")):
                missing.append(name)
        self.assertEqual(missing, [])

    def test_nothingElseIsNamed(self) -> None:
        """Every line that looks like a test's name is one that the other tests look at."""
        page = PAGE.read_text("utf-8")
        self.assertEqual(len(_CHECK.findall(page)), page.count("tests."))
