"""The front page and the documents say what is so."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree
from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

from chat.service import DEFAULT_DOORS
from chat.tap import Options

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.rst"


def documents() -> list[Path]:
    """Every page there is."""
    return [README, ROOT / "CHANGELOG.rst", *sorted((ROOT / "docs").glob("*.rst"))]


def parse(page: Path) -> Any:
    """A page as a tree."""
    settings = {"report_level": 5, "halt_level": 5, "file_insertion_enabled": False}
    return publish_doctree(page.read_text("utf-8"), str(page), settings_overrides=settings)


def local_links(page: Path) -> set[Path]:
    """The files that a page links to."""
    found = set()
    for link in parse(page).findall(nodes.reference):
        target = link.get("refuri", "").partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            found.add((page.parent / target).resolve())
    return found


def command(name: str) -> str:
    """The literal block behind the comment on the front page that begins so."""
    comments = parse(README).findall(nodes.comment)
    (comment,) = [node for node in comments if node.astext().startswith(name)]
    block = comment.next_node(nodes.literal_block, descend=False, siblings=True)
    assert block is not None
    return str(block.astext())


class PagesTests(SynchronousTestCase):
    """The pages can be read, and lead on."""

    def test_markup(self) -> None:
        """Every page is reStructuredText that docutils has no complaint about."""
        for page in documents():
            settings = {
                "halt_level": 5,
                "report_level": 2,
                "syntax_highlight": "none",
                "warning_stream": False,
            }
            tree = publish_doctree(page.read_text("utf-8"), str(page), settings_overrides=settings)
            complaints = [node.astext() for node in tree.findall(nodes.system_message)]
            self.assertEqual(complaints, [], page.name)

    def test_links(self) -> None:
        """Every link to a file of the project finds it."""
        for page in documents():
            missing = [str(link) for link in local_links(page) if not link.exists()]
            self.assertEqual(missing, [], page.name)

    def test_index(self) -> None:
        """Every page in docs is found from the index, and the index from the front page."""
        index = ROOT / "docs" / "index.rst"
        self.assertIn(index, local_links(README))
        self.assertEqual(set(documents()) - {index} - local_links(index), set())


class CommandsTests(SynchronousTestCase):
    """The commands on the front page are the ones that are tried."""

    def test_testCommand(self) -> None:
        """What .ci/run runs is the line on the front page, letter for letter."""
        told = subprocess.run(
            ["bash", str(ROOT / ".ci" / "run"), "--test-command"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(told.stdout, command("the test command") + "\n")

    def test_oneLine(self) -> None:
        """Installing and running is one line, and so is testing."""
        for name in ("the run command", "the test command"):
            self.assertEqual(len(command(name).splitlines()), 1)

    def test_scripts(self) -> None:
        """Every program the front page calls in the environment is one that is installed there."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        ours = setup["options.entry_points"]["console_scripts"].split("\n")
        known = {line.partition("=")[0].strip() for line in ours if line}
        known |= {"pip", "python", "twistd", "twist"}
        text = README.read_text("utf-8").replace("/", " ").split(".venv bin ")[1:]
        self.assertEqual({part.split()[0] for part in text} - known, set())


class OptionsTests(SynchronousTestCase):
    """The table of options on the front page is that of the program."""

    def setUp(self) -> None:
        """Read the table: option, its argument, and its default, as written there."""
        (table,) = parse(README).findall(nodes.table)
        rows = [[cell.astext() for cell in row.findall(nodes.entry)] for row in table.findall(nodes.row)]
        self.table = {row[0].split()[0].removeprefix("--"): row[1] for row in rows[1:]}

    def test_options(self) -> None:
        """The table has each option of the program, and no other."""
        common = {name.partition("=")[0] for name in UsageOptions().longOpt}
        known = {name.partition("=")[0] for name in Options().longOpt} - common
        self.assertEqual(set(self.table), known)

    def test_defaults(self) -> None:
        """The defaults in the table are those of the program."""
        parameters: Any = Options.optParameters
        defaults = {name: default for name, _, default, *_ in parameters if default}
        for kind, endpoint in DEFAULT_DOORS:
            protocol, port, interface = endpoint.split(":")
            address = interface.removeprefix("interface=")
            defaults[kind] = f"{protocol}:{port} on {address}"
        told = {name: default for name, default in self.table.items() if name in defaults}
        self.assertEqual(told, defaults)
