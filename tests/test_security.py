"""docs/security.rst names the tests that try each attack: they must exist."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

PAGE = Path(__file__).parent.parent / "docs" / "security.rst"
_CHECK = re.compile(r"^- ``(tests\.[\w.]+)``$", re.MULTILINE)


def attacks(page: str) -> dict[str, str]:
    """The attacks of the page, each with its text."""
    parts = re.split(r"^(.+)\n~{3,}\n", page.partition("\nThe figures\n")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


class SecurityTests(SynchronousTestCase):
    """C{docs/security.rst}."""

    def setUp(self) -> None:
        """Read it."""
        self.page = PAGE.read_text("utf-8")

    def test_everyAttackIsTried(self) -> None:
        """Each attack names its limit, and tests."""
        found = attacks(self.page)
        self.assertGreaterEqual(len(found), 20)
        for title, text in found.items():
            self.assertTrue(_CHECK.search(text), title)
            self.assertIn("*Limit:*", text, title)

    def test_everyTestExists(self) -> None:
        """Each test named is one that trial would run."""
        missing = []
        for name in _CHECK.findall(self.page):
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
        self.assertEqual(len(_CHECK.findall(self.page)), self.page.count("tests."))
