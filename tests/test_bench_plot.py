"""Tests for L{bench.plot}: the picture says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from bench import plot
from tests.test_bench import call

SVG = "{http://www.w3.org/2000/svg}"

FIGURES = {
    "figures": {
        "100 in flight": {
            "bare loop": {"cpu": [20.0, 20.0, 13.0], "rate": [40000.0]},
            "chat": {"cpu": [26.0, 26.0, 26.0], "rate": [30000.0]},
        },
        "at rest": {"chat": {"MiB": [50.0]}},
    }
}
CURVES = {
    "curves": [
        {
            "title": "messages <in> the ledger",
            "x": "messages",
            "y": "CPU us a message",
            "points": {"chat": [[0, 40.0], [5_000_000, 50.0]]},
        }
    ]
}


class PlotTests(SynchronousTestCase):
    """Pictures."""

    def draw(self, *contents: object) -> tuple[int, Path, str]:
        """Exit status, the picture and standard error, for files with these contents."""
        names = []
        for content in contents:
            file = Path(self.mktemp())
            file.write_text(content if isinstance(content, str) else json.dumps(content))
            names.append(str(file))
        picture = Path(self.mktemp())
        status, _, notes = call(plot.main, *names, str(picture))
        return status, picture, notes

    def test_drawn(self) -> None:
        """Bars say how many times the bare loop a server takes; curves have a mark for each point."""
        status, picture, notes = self.draw(FIGURES, CURVES)
        self.assertEqual(status, 0, notes)
        root = ElementTree.parse(picture).getroot()
        told = [title.text for title in root.iter(f"{SVG}title")]
        self.assertIn("100 in flight, chat: 1.30 times the bare loop", told)
        self.assertIn("100 in flight, chat: 30,000.00 messages/s", told)
        words = [text.text for text in root.iter(f"{SVG}text")]
        for expected in ("bare loop", "chat", "messages <in> the ledger", "0", "5M"):
            self.assertIn(expected, words)
        marks = [(float(mark.get("cx", "")), float(mark.get("cy", ""))) for mark in root.iter(f"{SVG}circle")]
        (first, low), (last, high) = marks
        self.assertLess(first, last)
        self.assertGreater(low, high)  # y grows downwards

    def test_heights(self) -> None:
        """The height of a bar is its value on the scale, which goes to 1.5 here."""
        _, picture, _ = self.draw(FIGURES)
        heights = {
            title.text: float(bar.get("height", ""))
            for bar in ElementTree.parse(picture).getroot().iter(f"{SVG}rect")
            if (title := bar.find(f"{SVG}title")) is not None
        }
        bare = heights["100 in flight, bare loop: 1.00 times the bare loop"]
        chat = heights["100 in flight, chat: 1.30 times the bare loop"]
        room = plot.PANEL_HEIGHT - plot.TOP - plot.BOTTOM
        self.assertAlmostEqual(bare, room / 1.5, places=0)
        self.assertAlmostEqual(chat, room / 1.5 * 1.3, places=0)

    def test_same(self) -> None:
        """The same figures make the same picture, for light ground and for dark."""
        _, first, _ = self.draw(FIGURES, CURVES)
        _, second, _ = self.draw(FIGURES, CURVES)
        self.assertEqual(first.read_text(), second.read_text())
        self.assertIn("prefers-color-scheme: dark", first.read_text())

    def test_faults(self) -> None:
        """A file that cannot be drawn from is one line, and no picture."""
        for content, said in (("{", "truncated"), ("{}", "no figures"), ('{"curves": 1}', "Expected")):
            status, picture, notes = self.draw(content)
            self.assertEqual(status, 1)
            self.assertIn("bench.plot: ", notes)
            self.assertIn(said, notes)
            self.assertFalse(picture.exists())

    def test_ticks(self) -> None:
        """A scale begins at 0, has even steps of round numbers, and reaches the largest value."""
        for most, expected in (
            (6.1, [0, 2, 4, 6, 8]),
            (100, [0, 25, 50, 75, 100]),
            (0.9, [0, 0.25, 0.5, 0.75, 1.0]),
            (0, [0, 1]),
        ):
            self.assertEqual(plot.ticks(most), expected)
