"""Tests for the pictures on the front page, and for what draws the one that moves."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from docutils import nodes
from twisted.trial.unittest import SynchronousTestCase

from tests.pictures.drawing import draw
from tests.pictures.recording import Event
from tests.test_readme import README, ROOT, documents, parse

#: How many bytes all pictures may have together.
MOST = 300 * 1024


class FrontPageTests(SynchronousTestCase):
    """The README shows the page and the terminal client."""

    def test_there(self) -> None:
        """Each picture that a page names is there, and says in words what is to be seen."""
        front = {image["uri"] for image in parse(README).findall(nodes.image)}
        expected = {
            f"docs/pictures/{name}" for name in ("desktop-light.webp", "phone-dark.webp", "terminal.svg")
        }
        self.assertLessEqual(expected, front)
        for page in documents():
            for image in parse(page).findall(nodes.image):
                self.assertTrue((page.parent / image["uri"]).is_file(), image["uri"])
                self.assertGreater(len(image["alt"]), 20)

    def test_small(self) -> None:
        """All of them together are no burden for who clones the repository."""
        files = list((ROOT / "docs" / "pictures").iterdir())
        self.assertLess(sum(file.stat().st_size for file in files), MOST)


class DrawingTests(SynchronousTestCase):
    """A recording becomes a picture."""

    def draw(self, *events: tuple[float, str]) -> tuple[str, ElementTree.Element]:
        """The picture of a terminal with 20 columns and 3 lines, as text and as a tree."""
        svg = draw([Event(*event) for event in events], (20, 3), "A <title>")
        return svg, ElementTree.fromstring(svg)

    def texts(self, svg: str) -> list[str]:
        """The texts that are drawn."""
        return re.findall(r">([^<>]+)</text>", svg)

    def test_text(self) -> None:
        """What came out is there as text, with its colour, and nothing of it is markup."""
        svg, _ = self.draw((0, "$ "), (1, "echo \x1b[1;31m<b>&\x1b[0m\r\n"), (2, "done"))
        self.assertIn("A &lt;title&gt;", svg)
        self.assertIn("&lt;b&gt;&amp;", self.texts(svg))
        self.assertIn('class="b" fill="#f2877c">&lt;b&gt;&amp;</text>', svg)
        self.assertIn("done", self.texts(svg))

    def test_lastFirst(self) -> None:
        """Where nothing moves, the end is shown; what moves begins at the beginning and ends there."""
        svg, tree = self.draw((0, "a"), (1, "b"), (2, "c"))
        space = "{http://www.w3.org/2000/svg}"
        (strip,) = [group for group in tree.iter(f"{space}g") if group.get("class") == "strip"]
        frames = strip.findall(f"{space}use")
        self.assertEqual([frame.get("x") for frame in frames], ["0", "196", "392"])
        steps = re.findall(r"([\d.]+)%\{transform:translateX\((-?\d+)px\)", svg)
        self.assertEqual(steps[0], ("0.00", "-196"))
        self.assertEqual([place for _, place in steps], ["-196", "-392", "0", "0"])
        first = [
            group for group in tree.iter(f"{space}g") if group.get("id") == (frames[0].get("href") or "")[1:]
        ]
        self.assertIn("abc", "".join(first[0].itertext()))

    def test_together(self) -> None:
        """What comes at nearly the same time is one frame, and so is what changes nothing."""
        _, tree = self.draw((0, "a"), (1, "b"), (1.01, "c"), (1.02, "d"), (3, "\x1b[0m"), (4, "e"))
        self.assertEqual(len(list(tree.iter("{http://www.w3.org/2000/svg}use"))), 3)

    def test_steady(self) -> None:
        """Each run of letters has its columns, whatever font there is."""
        svg, _ = self.draw((0, "ab  \x1b[32mcd"))
        self.assertIn('<text x="0.0" y="14" textLength="16.8">ab</text>', svg)
        self.assertIn('<text x="33.6" y="14" textLength="16.8" fill="#6fcf9b">cd</text>', svg)
