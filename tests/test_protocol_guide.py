"""docs/protocol.rst shows what is really on the wire, and leaves nothing out."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from docutils import nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from chat import messages as m
from chat.errors import Code
from chat.wire import Codec, deserialize, serialize
from chat.wire.text import TextTranslator
from chat.wire.text_commands import COMMAND_NAMES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "protocol.rst"
GUIDE = "The encoding guide"


@cache
def page() -> Any:
    """The document as a tree."""
    settings = {"report_level": 5, "file_insertion_enabled": False}
    return publish_doctree(PAGE.read_text("utf-8"), str(PAGE), settings_overrides=settings)


def section(tree: Any, title: str) -> Any:
    """The section with this title."""
    (found,) = [s for s in tree.findall(nodes.section) if s[0].astext() == title]
    return found


def example(block: str) -> dict[str, str]:
    """The encodings in a literal block, by their labels; further lines are indented."""
    found: dict[str, str] = {}
    label = ""
    for line in block.splitlines():
        if not line.startswith(" "):
            label, _, line = line.partition(" ")
            found[label] = ""
        found[label] += ("\n" if found[label] else "") + line.strip()
    return found


class Example:
    """One frame in the guide: its section, and its encodings."""

    def __init__(self, block: Any) -> None:
        encodings = example(block.astext())
        self.section = block.parent
        self.title: str = self.section[0].astext()
        self.line = encodings["JSON"].encode()
        self.value = bytes.fromhex(encodings["DER"])
        self.text = encodings.get("Text", "")
        self.frame = deserialize(self.line, Codec.JSON)


def examples() -> list[Example]:
    """Every example in the guide."""
    blocks = section(page(), GUIDE).findall(nodes.literal_block)
    return [Example(block) for block in blocks]


def name(frame: m.Frame | type[m.Frame]) -> str:
    """What a frame's section is called."""
    kind = frame if isinstance(frame, type) else type(frame)
    if issubclass(kind, m.System):
        return m.keyword(kind)
    return "login" if kind is m.Login else "message"


def typed(lines: list[str], frame: m.Frame) -> list[m.Incoming]:
    """What the text door makes of these lines, typed where the frame may be said."""
    door = TextTranslator()
    if isinstance(frame, m.Login):
        prompt = m.NewPassword() if frame.codes else m.Password()
        door.render([prompt if frame.field == "password" else m.Username()])
        if frame.field in ("token", "recovery"):
            door.feed(b"/token alice\n" if frame.field == "token" else b"/recover alice\n")
            door.next(m.LOGIN_FRAME_BYTES)
            door.render([m.Password()])
    else:
        door.render([m.Welcome(username="alice", waiting=0)])
    if isinstance(frame, m.Received):
        door.render([m.Message(id=id, sender="bob", recipient="alice", body="hi") for id in frame.ids])
    door.feed("".join(f"{line}\n" for line in lines).encode())
    heard: list[m.Incoming] = []
    while (incoming := door.next(m.USER_FRAME_BYTES)) is not None:
        heard.append(incoming)
        if isinstance(incoming, m.Answer):
            door.render([incoming.frame])  # what the door asks itself is answered by the next line
    return heard


class GuideTests(SynchronousTestCase):
    """The encoding guide."""

    def test_text(self) -> None:
        """What the text door shows for a frame, and what is typed for it, is as shown; none is left out."""
        seen = set()
        for each in examples():
            if each.text.startswith(">"):
                lines = [line[2:] for line in each.text.splitlines()]
                self.assertIn(each.frame, typed(lines, each.frame), each.text)
            elif each.text:
                shown = TextTranslator().render([each.frame]).decode().rstrip()
                self.assertEqual([line.strip() for line in shown.splitlines()], each.text.splitlines())
            else:
                continue
            seen.add(each.title)
        self.assertEqual({each.title for each in examples()} - seen, set())

    def test_encodings(self) -> None:
        """Each example is, in either codec, what the code writes and reads."""
        for one in examples():
            self.assertEqual(serialize(one.frame, Codec.JSON), one.line + b"\n", one.title)
            self.assertEqual(serialize(one.frame, Codec.DER).hex(" "), one.value.hex(" "), one.title)
            self.assertEqual(deserialize(one.value, Codec.DER), one.frame, one.title)

    def test_sections(self) -> None:
        """Each example stands under the name of its frame, and no frame is left out."""
        shown = examples()
        for one in shown:
            self.assertEqual(one.title, name(one.frame))
        self.assertEqual({type(one.frame) for one in shown}, {m.Login, m.Message, *m.SYSTEM})

    def test_every_field_is_explained(self) -> None:
        """Each section names every field of its frame, and which are optional."""
        for one in examples():
            told = {}
            for item in one.section.findall(nodes.list_item):
                field, _, explanation = item.astext().replace("\n", " ").partition(": ")
                told[field] = explanation.endswith("optional") or "optional, absent is" in explanation
            fields = {f.name: not f.required for f in msgspec.structs.fields(one.frame)}
            self.assertEqual(told, fields, one.title)

    def test_every_field_is_shown(self) -> None:
        """Each field of each frame, and of what is in it, is in some example."""
        shown: set[tuple[str, str]] = set()

        def look(value: Any) -> None:
            if isinstance(value, list):
                for item in value:
                    look(item)
            elif isinstance(value, msgspec.Struct):
                for field in msgspec.structs.fields(value):
                    inner = getattr(value, field.name)
                    if field.required or inner != field.default:
                        shown.add((type(value).__name__, field.name))
                        look(inner)

        for one in examples():
            look(one.frame)
        kinds: tuple[type[msgspec.Struct], ...] = (m.Login, m.Message, m.Returned, m.Entry, *m.SYSTEM)
        for kind in kinds:
            for field in msgspec.structs.fields(kind):
                self.assertIn((kind.__name__, field.name), shown)

    def test_messages_in_each_direction(self) -> None:
        """Messages are shown on their way to the server, from it, returned, and shown again."""
        shown = [one.frame for one in examples() if isinstance(one.frame, m.Message)]
        self.assertTrue(any(not f.id and not f.sender for f in shown))
        self.assertTrue(any(f.id and f.returned is None and not f.again for f in shown))
        self.assertTrue(any(f.returned and f.recipient == f.sender for f in shown))
        self.assertTrue(any(f.again for f in shown))


class PageTests(SynchronousTestCase):
    """The rest of the document."""

    def test_conversation(self) -> None:
        """The frames of the first conversation are frames as the server and a client write them."""
        block = next(iter(section(page(), "A first conversation").findall(nodes.literal_block)))
        lines = block.astext().splitlines()
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertIn(line[:2], ("S ", "C "))
            wire = line[2:].encode()
            self.assertEqual(serialize(deserialize(wire, Codec.JSON), Codec.JSON), wire + b"\n")

    def test_codes(self) -> None:
        """Each code is explained, and no other."""
        rows = section(page(), "Refusals").findall(nodes.row)
        told = {next(iter(row.findall(nodes.literal)), nodes.Text("")).astext() for row in rows}
        self.assertEqual(told - {""}, {code.value for code in Code})

    def test_limits(self) -> None:
        """The limits are those of the code."""
        rows = list(section(page(), "Limits").findall(nodes.row))[1:]
        cells = [[cell.astext() for cell in row.findall(nodes.entry)] for row in rows]
        limit, most = (
            msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]["limit"]["maximum"]
            for kind in (m.List, m.Search)
        )
        self.assertEqual(
            {what: int(number) for what, number, _ in cells},
            {
                "a frame before the welcome": m.LOGIN_FRAME_BYTES,
                "a frame after it": m.USER_FRAME_BYTES,
                "subject": m.SUBJECT_BYTES,
                "body": m.BODY_BYTES,
                "ref": m.REF_BYTES,
                "recipient": m.RECIPIENT_BYTES,
                "ids in one read": m.READ_IDS,
                "limit of a list": limit,
                "query": m.QUERY_BYTES,
                "limit of a search": most,
            },
        )

    def test_commands_are_told(self) -> None:
        """Each command of the text door is in its section, and its table has no other."""
        told = set()
        door = section(page(), "The text door")
        for literal in door.findall(nodes.literal):
            told |= set(re.findall(r"^/[a-z-]+", literal.astext()))
        before_the_login = {"/token", "/recover", "/invite"}
        self.assertEqual(told, {*COMMAND_NAMES, *before_the_login})

    def test_keywords_are_told(self) -> None:
        """Each keyword is spoken of outside the guide as well."""
        before, _, _ = PAGE.read_text("utf-8").partition(GUIDE + "\n---")
        words = set(re.findall(r"[a-z-]+", before))
        self.assertEqual({m.keyword(kind) for kind in m.SYSTEM} - words, set())
