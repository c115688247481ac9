"""The DER codec, held to X.690, to the module C{chat.asn1} and to pyasn1."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import msgspec
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

import chat.wire
from chat.errors import ChatError
from chat.messages import (
    SYSTEM,
    Accepted,
    Created,
    Frame,
    List,
    Login,
    Message,
    Messages,
    Ping,
    Received,
    Returned,
    System,
    Time,
    Welcome,
    keyword,
)
from chat.times import milliseconds
from chat.wire import der
from chat.wire.der_headers import identifier_of
from chat.wire.schema import reference_decode, reference_encode
from tests.der_case import LATER, PLAIN, message, outcome, system, tlv
from tests.strategies import ALWAYS, FRAMES, MESSAGE, SAMPLES

MODULE = Path(chat.wire.__file__).with_name("chat.asn1")


@cache
def compiled() -> Any:
    """The normative module as another ASN.1 compiler understands it."""
    return asn1tools.compile_files(str(MODULE), "der")


def plain(value: Any) -> Any:
    """A value as that compiler wants it, absent fields left out."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, msgspec.Struct):
        return value
    fields = {}
    for field in msgspec.structs.fields(value):
        one = getattr(value, field.name)
        if field.required or (one != field.default and one != []):
            fields[field.name] = milliseconds(one) if field.type == Time else plain(one)
    return fields


def plain_frame(frame: Frame) -> Any:
    """A frame as that compiler wants it: nested choices."""
    if isinstance(frame, System):
        return "system", (keyword(frame), plain(frame))
    return ("login" if isinstance(frame, Login) else "message"), plain(frame)


class AgreementTests(SynchronousTestCase):
    """The code, the pyasn1 schema and the text of the module are one."""

    def agrees(self, frame: Frame) -> None:
        """Check one frame in all three, both ways."""
        wire = der.encode(frame)
        self.assertEqual(wire, reference_encode(frame))
        self.assertEqual(wire, compiled().encode("Frame", plain_frame(frame)))
        self.assertEqual(der.decode(wire), frame)
        self.assertIs(type(der.decode(wire)), type(frame))
        self.assertEqual(reference_decode(wire), frame)
        self.assertEqual(compiled().decode("Frame", wire), plain_frame(frame))

    def test_samples(self) -> None:
        """Every kind of frame has the same bytes in all three."""
        for frame in SAMPLES:
            self.agrees(frame)
        self.assertEqual({type(frame) for frame in SAMPLES}, {Login, Message, *SYSTEM})

    @ALWAYS
    @given(FRAMES)
    def test_any(self, frame: Frame) -> None:
        """Any frame has the same bytes in all three."""
        self.agrees(frame)

    def test_long(self) -> None:
        """Lengths of one, two, three and four octets are the same in all three."""
        for size in (126, 127, 128, 255, 256, 65535, 65536, 1 << 20):
            self.agrees(Message(recipient="bob", body="x" * size))

    def test_the_module_names_every_keyword_in_order(self) -> None:
        """The alternatives of C{System} in the text are the keywords, in the order of the code."""
        choice = re.search(r"System ::= CHOICE \{(.*?)\}", MODULE.read_text(), re.DOTALL)
        assert choice is not None
        names = re.findall(r"^    (\S+) ", choice[1], re.MULTILINE)
        self.assertEqual(names, [keyword(struct) for struct in SYSTEM])

    def test_the_module_names_every_field_in_order(self) -> None:
        """The fields of each type, and which are optional, are those of the code."""
        text = re.sub(r"--.*", "", MODULE.read_text())
        found: dict[str, list[tuple[str, bool]]] = {
            name: [
                (field, " OPTIONAL" in rest)
                for field, rest in re.findall(r"^    ([a-z]\S*) (.*)$", body, re.MULTILINE)
            ]
            for name, body in re.findall(r"^(\w+) ::= SEQUENCE \{(.*?)\}$", text, re.M | re.S)
        }
        for struct in {type(frame) for frame in SAMPLES} | {Returned}:
            declared = [(f.name, not f.required) for f in msgspec.structs.fields(struct)]
            self.assertEqual(found[struct.__name__], declared, struct)

    def test_comments_do_not_end_early(self) -> None:
        """No comment holds two hyphens: ASN.1 ends it there."""
        for line in MODULE.read_text().splitlines():
            self.assertLessEqual(len(re.findall("--", line)), 1, line)


class EncodeTests(SynchronousTestCase):
    """What is written."""

    def test_known_bytes(self) -> None:
        """The tags are those that C{AUTOMATIC TAGS} gives; the one of C{system} is explicit."""
        self.assertEqual(der.encode(Ping()).hex(), "a002b300")
        self.assertEqual(der.encode(Received(ids=[17, 128])).hex(), "a00ba909a007020111" + "02020080")
        self.assertEqual(der.encode(Login(field="f", value="v")), b"\xa1\x06\x80\x01f\x81\x01v")
        self.assertEqual(der.encode(PLAIN), message())

    def test_defaults_are_left_out(self) -> None:
        """A field that has its default is not written."""
        self.assertEqual(der.encode(Message(recipient="bob", body="x", id=0, time="")), message())
        self.assertEqual(der.encode(List(box="b", after=0, limit=100)), system(13, tlv(0x80, "b")))

    def test_empty_subject_is_a_subject(self) -> None:
        """An empty subject is written and is not the same as none."""
        frame = Message(recipient="bob", body="x", subject="")
        self.assertEqual(der.encode(frame), message(between=tlv(0x84)))
        self.assertEqual(der.decode(der.encode(frame)), frame)

    def test_what_cannot_be_written(self) -> None:
        """A lone surrogate, no time or a number out of range is a ValueError."""
        for frame in (
            Message(recipient="bob", body="\ud800"),
            Message(recipient="bob", body="", time="yesterday"),
            Message(recipient="bob", body="", time="1969-12-31T23:59:59.999Z"),
            Welcome(username="alice", waiting=-1),
            Welcome(username="alice", waiting=2**63),
            Received(ids=[1, -1]),
            Received(ids=[2**63]),
        ):
            self.assertRaises(ValueError, der.encode, frame)

    def test_high_tag_numbers(self) -> None:
        """Alternatives from the 32nd on would have the tags that X.690 gives them."""
        for number, octets in ((30, "be"), (31, "bf1f"), (127, "bf7f"), (128, "bf8100")):
            self.assertEqual(identifier_of(0xA0, number).hex(), octets)


class LawfulTests(SynchronousTestCase):
    """What is lawful is taken, even if we would not write it."""

    def test_explicit_defaults(self) -> None:
        """An OPTIONAL field may be present with the value that stands for its absence."""
        for wire in (
            message(before=tlv(0x80, b"\0")),
            message(before=tlv(0x81)),
            message(tlv(0x87, b"\0")),
            message(tlv(0x89, b"\0"), tlv(0x8A)),
        ):
            self.assertEqual(der.decode(wire), PLAIN)
            self.assertEqual(reference_decode(wire), PLAIN)
        wire = system(13, tlv(0x80, "b"), tlv(0x81, b"\0"), tlv(0x82, b"\x64"))
        self.assertEqual(der.decode(wire), List(box="b"))

    def test_fields_of_later_versions(self) -> None:
        """Unknown fields after the known ones are passed over, whatever they hold."""
        later = (
            tlv(0x8D),
            tlv(0x9E, b"\xff" * 200),
            tlv(b"\x9f\x1f", "x"),
            tlv(b"\xbf\x20", tlv(0x30, tlv(0x0C, "é"), tlv(5)), tlv(0x47, "x"), tlv(1, b"\xff")),
            tlv(b"\xbf\xff\xff\x7f", tlv(b"\x5f\x81\x00")),
        )
        for one in later:
            self.assertEqual(der.decode(message(one)), PLAIN)
            self.assertEqual(der.decode(tlv(0xA0, tlv(0xB3, one))), Ping())
        self.assertEqual(
            der.decode(message(tlv(0x86, "c1"), *later)),
            Message(recipient="bob", body="x", ref="c1"),
        )
        nested = system(16, tlv(0xA0, tlv(0x30, message()[2:], later[3])), tlv(0xA1), later[1])
        self.assertEqual(der.decode(nested), Messages(messages=[PLAIN], missing=[]))
        self.assertEqual(compiled().decode("Frame", nested), plain_frame(der.decode(nested)))

    def test_numbers(self) -> None:
        """Every length of a number is read and written right."""
        for bits in range(64):
            for number in {(1 << bits) - 1, 1 << bits, (1 << bits) + 1} - {1 << 63, (1 << 63) + 1}:
                wire = der.encode(Received(ids=[number]))
                self.assertEqual(der.decode(wire), Received(ids=[number]))
                self.assertEqual(reference_decode(wire), Received(ids=[number]))

    def test_times(self) -> None:
        """Every millisecond has its own bytes."""
        for time in ("1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", "2026-11-22T21:07:59.001Z"):
            frame = Accepted(id=1, time=time, state="waiting")
            self.assertEqual(der.decode(der.encode(frame)), frame)


class BatchTests(SynchronousTestCase):
    """Many frames at once are the same frames as one by one."""

    def agrees(self, *wires: bytes) -> int:
        """Check what comes of values back to back; how many were found frames in one go."""
        whole = b"".join(wires)
        frames, size = der.decode_front(whole, 1000)
        count = len(frames)
        self.assertEqual(size, len(b"".join(wires[:count])), whole.hex())
        self.assertEqual(frames, [outcome(wire) for wire in wires[:count]], whole.hex())
        if count < len(wires):
            self.assertIsInstance(outcome(wires[count]), ChatError, whole.hex())
        return count

    def test_samples(self) -> None:
        """Every kind of frame, up to so many, is read and written in one go as it is alone."""
        wires = [der.encode(frame) for frame in SAMPLES]
        self.assertEqual(self.agrees(*wires), len(wires))
        self.assertEqual(der.encode_all(SAMPLES), b"".join(wires))
        self.assertEqual(der.encode_all([]), b"")
        self.assertEqual(der.decode_front(b"".join(wires), 2), (list(SAMPLES[:2]), len(wires[0] + wires[1])))

    def test_lengths(self) -> None:
        """Bodies and frames whose lengths take one, two, three and four octets."""
        sizes = (100, 120, 126, 127, 128, 240, 255, 256, 65535, 65536)
        frames = [Message(recipient="bob", body="x" * size) for size in sizes]
        self.assertEqual(self.agrees(*map(der.encode, frames)), len(frames))
        created = [Created(username="x" * size) for size in range(110, 300)]
        self.assertEqual(self.agrees(*map(der.encode, created)), len(created))

    def test_numbers(self) -> None:
        """Numbers in a list, of any length, in any order."""
        ids = [n for bits in range(64) for n in ((1 << bits) - 1, 1 << bits) if n < 1 << 63]
        self.assertEqual(self.agrees(der.encode(Received(ids=ids)), der.encode(Received(ids=ids[::-1]))), 2)

    def test_what_is_not_whole(self) -> None:
        """The beginning of a frame, however long, is left, and so are no bytes at all."""
        one, two = der.encode(MESSAGE), der.encode(Received(ids=[1, 2, 300]))
        for wire in (one, two):
            for end in range(len(wire)):
                self.assertEqual(der.decode_front(wire[:end], 1000), ([], 0))
                self.assertEqual(der.decode_front(two + wire[:end], 1000)[1], len(two))

    def test_what_is_odd(self) -> None:
        """What is refused ends it, and what is lawful but not what we write does not."""
        good = der.encode(PLAIN)
        for wrong in (
            tlv(0xA2),
            tlv(0xA0),
            tlv(0xA3),
            tlv(0x30),
            system(LATER),
            message(tlv(0xA8)),
            message(tlv(0x84, b"\xff")),
            message(before=tlv(0x80, b"\xff")),
            b"\xa2\x81\x08" + message()[2:],
            b"\xa2\x80" + message()[2:] + b"\0\0",
            tlv(0xA2, b"\x82\x81\x03bob", tlv(0x85, "x")),
            tlv(0xA2, tlv(0x82, "bob"), b"\x85\x02x"),
            tlv(0xA0, tlv(0xB3), tlv(0xB3)),
            tlv(0xA0, b"\xb3\x01"),
            tlv(0xA0, b"\xb3"),
        ):
            self.assertIsInstance(outcome(wrong), ChatError)
            self.assertEqual(self.agrees(good, wrong, good), 1, wrong.hex())
        for lawful in (
            message(tlv(0x8D)),
            message(before=tlv(0x80, b"\0")),
            tlv(0xA0, tlv(0xB3, tlv(b"\xbf\x1f"))),
            system(9, tlv(0xA0)),
        ):
            self.assertEqual(self.agrees(good, lawful, good), 3, lawful.hex())

    def test_every_bit_flipped(self) -> None:
        """Each sample with any one bit changed is the same between two others as alone."""
        before, after = der.encode(Ping()), der.encode(PLAIN)
        for frame in SAMPLES:
            wire = der.encode(frame)
            for at in range(2, len(wire)):
                for bit in range(8):
                    changed = wire[:at] + bytes((wire[at] ^ 1 << bit,)) + wire[at + 1 :]
                    self.agrees(before, changed, after)


class SchemaTests(SynchronousTestCase):
    """The reference refuses what it cannot carry."""

    def test_values_out_of_range(self) -> None:
        """A value that the schema does not allow is a ValueError."""
        for frame in (Welcome(username="alice", waiting=-1), List(box="inbox", limit=1001)):
            self.assertRaises(ValueError, reference_encode, frame)

    def test_not_strict(self) -> None:
        """What pyasn1 takes and DER does not is a ValueError."""
        for wire in (
            der.encode(Ping()) + b"\0",
            b"\xa0\x81\x02\xb3\x00",
            message(before=tlv(0x80, b"\0\1")),
            message(tlv(0x87, b"\1")),
            message(between=tlv(0x84, b"\xff")),
        ):
            self.assertRaises(ValueError, reference_decode, wire)
