"""The DER codec, held to X.690, to the module C{chat.asn1} and to pyasn1."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chat.wire
from chat.errors import BadFrame, ChatError, MalformedFrame
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
    Read,
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
from tests.strategies import ALWAYS, FRAMES, MESSAGE, SAMPLES

MODULE = Path(chat.wire.__file__).with_name("chat.asn1")


def tlv(tag: int | bytes, *contents: bytes | str) -> bytes:
    """One DER value: tag, shortest length, contents."""
    identifier = tag if isinstance(tag, bytes) else bytes((tag,))
    inner = b"".join([c.encode() if isinstance(c, str) else c for c in contents])
    size = len(inner)
    octets = b"" if size < 128 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    first = size if size < 128 else 128 + len(octets)
    return identifier + bytes((first,)) + octets + inner


def message(*rest: bytes, before: bytes = b"", between: bytes = b"") -> bytes:
    """A message from alice's client, with these values put between or after its fields."""
    return tlv(0xA2, before, tlv(0x82, "bob"), between, tlv(0x85, "x"), *rest)


def system(number: int, *contents: bytes) -> bytes:
    """A system frame with this keyword's number."""
    tag = 0xA0 | number if number < 31 else b"\xbf" + bytes((number,))
    return tlv(0xA0, tlv(tag, *contents))


PLAIN = Message(recipient="bob", body="x")
#: The number of the first keyword that there is not.
LATER = len(SYSTEM)


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


def outcome(wire: bytes) -> Frame | ChatError:
    """What becomes of these bytes; anything but a frame or a refusal escapes."""
    try:
        return der.decode(wire)
    except ChatError as error:
        return error


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
        ):
            self.assertRaises(ValueError, der.encode, frame)

    def test_high_tag_numbers(self) -> None:
        """Alternatives from the 32nd on would have the tags that X.690 gives them."""
        for number, octets in ((30, "be"), (31, "bf1f"), (127, "bf7f"), (128, "bf8100")):
            self.assertEqual(identifier_of(0xA0, number).hex(), octets)


class StrictTests(SynchronousTestCase):
    """What no encoder of DER writes is malformed, wherever it stands."""

    def malformed(self, wire: bytes) -> None:
        """Check that these bytes are not DER."""
        self.assertRaises(MalformedFrame, der.decode, wire)

    def everywhere(self, wrong: bytes) -> None:
        """Check it as a frame, as a keyword, as a later field, deep in one, and beside a fault."""
        for place in (
            wrong,
            system(0, wrong),
            tlv(0xA0, wrong),
            message(wrong),
            message(before=wrong),
            message(tlv(0x9E, "later"), wrong),
            message(tlv(0xBE, wrong)),
            message(tlv(0xBE, tlv(0x30, tlv(0x31, wrong)))),
            message(tlv(0xAC, wrong), before=tlv(0x80, b"\xff")),
            tlv(0xA3, wrong),
            tlv(0x63, wrong),
            system(LATER, wrong),
            system(16, tlv(0xA0, wrong), tlv(0xA1)),
        ):
            self.malformed(place)

    def test_lengths(self) -> None:
        """Lengths are definite and in as few octets as can be."""
        for length in ("80", "ff", "8101", "817f", "820080", "84000000ff", "8900ffffffffffffffff"):
            self.everywhere(b"\x9e" + bytes.fromhex(length) + b"\0" * 256)
            self.everywhere(b"\xbf\x1f" + bytes.fromhex(length) + b"\0" * 256)
        for length, size in (("820080", 128), ("83000100", 256), ("817f", 127), ("8100", 0)):
            self.everywhere(b"\x9e" + bytes.fromhex(length) + b"x" * size)
        self.malformed(b"\xa2\x80" + message()[2:] + b"\0\0")
        self.malformed(tlv(0xA2, b"\x82\x81\x03bob", tlv(0x85, "x")))
        self.malformed(system(9, b"\xa0\x81\x03" + tlv(2, b"\x11")))
        self.malformed(system(9, tlv(0xA0, b"\x02\x81\x01\x11")))

    def test_reaching_too_far(self) -> None:
        """A value that is longer than what it is in."""
        for wrong in (b"\x9e\x02x", b"\xbe\x7f", b"\x9e\x82\x01\x00x", b"\x9e\x84\x7f\xff\xff\xffx"):
            self.everywhere(wrong)
        self.malformed(tlv(0xA2, tlv(0x82, "bob"), b"\x85\x02x"))
        self.malformed(tlv(0xA2, tlv(0x82, "bob"), b"\x85\x02x") + b"y")
        self.malformed(tlv(0xA2, tlv(0x82, "bob"), b"\x85") + b"\x01x")
        self.malformed(system(9, tlv(0xA0, b"\x02\x02\x11")))
        self.malformed(system(9, tlv(0xA0, b"\x02\x02\x11")) + b"\0")
        self.malformed(b"\xa0\x02\xb3\x01" + b"\0")

    def test_cut_short(self) -> None:
        """A value whose header is not whole."""
        for wrong in (b"\x9e", b"\xbf", b"\xbf\x1f", b"\xbf\x81", b"\x9e\x82\x01", b"\x9e\x81"):
            self.everywhere(wrong)
        self.malformed(b"")

    def test_tag_numbers(self) -> None:
        """Tag numbers are in as few octets as can be, and not huge."""
        for tag in ("bf1e", "9f00", "bf8001", "bf801f", "bfffffff7f", "9f" + "ff" * 20 + "7f"):
            self.everywhere(bytes.fromhex(tag) + b"\0")
        self.malformed(tlv(b"\xbf\x02", message()[2:]))
        self.malformed(tlv(0xA0, b"\xbf\x13\0"))

    def test_bytes_after_the_end(self) -> None:
        """Nothing follows a frame, nor the one value in C{system}."""
        for frame in SAMPLES:
            wire = der.encode(frame)
            self.malformed(wire + b"\0")
            self.malformed(wire + wire)
        self.malformed(tlv(0xA0, tlv(0xB3), tlv(0xB3)))
        self.malformed(tlv(0xA0, tlv(0xB3), b"\0"))

    def test_integers(self) -> None:
        """INTEGERs are in as few octets as can be, and in one at least."""
        for wrong in (b"", b"\0\0", b"\0\x7f", b"\xff\x80", b"\xff\xff", b"\0" * 20, b"\0\0\1"):
            self.malformed(message(before=tlv(0x80, wrong)))
            self.malformed(message(between=tlv(0x83, wrong)))
            self.malformed(system(9, tlv(0xA0, tlv(2, wrong))))
            self.malformed(system(13, tlv(0x80, "inbox"), tlv(0x82, wrong)))
            self.everywhere(tlv(2, wrong))
            self.everywhere(tlv(10, wrong))
        self.malformed(tlv(0xA2, tlv(0x80)))

    def test_booleans(self) -> None:
        """A BOOLEAN is one octet, 00 or FF."""
        for wrong in (b"", b"\1", b"\x7f", b"\xfe", b"\0\0", b"\xff\xff"):
            self.malformed(message(tlv(0x87, wrong)))
            self.malformed(system(14, tlv(0x80, "inbox"), tlv(0xA1), tlv(0x82, wrong)))
            self.everywhere(tlv(1, wrong))

    def test_strings(self) -> None:
        """Strings are UTF-8, in one piece."""
        for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            self.malformed(message(between=tlv(0x84, wrong)))
            self.malformed(tlv(0xA2, tlv(0x82, wrong), tlv(0x85)))
            self.everywhere(tlv(12, wrong))
        self.malformed(tlv(0xA2, tlv(0xA2, tlv(4, "bob")), tlv(0x85, "x")))
        self.malformed(tlv(0xA2, tlv(0x82, "bob"), tlv(0xA5, tlv(12, "x"))))
        self.everywhere(tlv(0x2C, tlv(12, "x")))
        self.everywhere(tlv(0x24, tlv(4, "x")))

    def test_universal_forms(self) -> None:
        """Values of universal types are in the one form that their type has."""
        for wrong in (
            tlv(0x00),
            tlv(0x05, "x"),
            tlv(0x21, tlv(1, b"\0")),
            tlv(0x22, tlv(2, b"\0")),
            tlv(0x10, "x"),
            tlv(0x11),
        ):
            self.everywhere(wrong)

    def test_order(self) -> None:
        """Fields come in their order, none of them twice, also those of later versions."""
        recipient, body, subject = tlv(0x82, "bob"), tlv(0x85, "x"), tlv(0x84, "s")
        for fields in (
            (body, recipient),
            (recipient, body, subject),
            (recipient, body, body),
            (recipient, recipient, body),
            (recipient, body, tlv(0x8C), tlv(0x86, "c1")),
            (recipient, body, tlv(0x8C), tlv(0x8C)),
            (recipient, body, tlv(0x8D), tlv(0x8C)),
            (recipient, body, tlv(0xA4, tlv(2, b"\1"))),
            (recipient, body, tlv(b"\xbf\x1f"), tlv(b"\x9f\x1f")),
            (recipient, tlv(0xA8), body, recipient),
        ):
            self.malformed(tlv(0xA2, *fields))

    def test_depth(self) -> None:
        """Values nest sixteen deep and no deeper, counted from the frame."""

        def nested(times: int) -> bytes:
            return tlv(0xBE, nested(times - 1)) if times else b""

        returned = (tlv(0x80), tlv(0x81), tlv(0x82))
        for depth, around in (
            (1, lambda inner: message(inner)),
            (1, lambda inner: tlv(0xA1, tlv(0x80), tlv(0x81), inner)),
            (2, lambda inner: message(tlv(0xA8, *returned, inner))),
            (2, lambda inner: tlv(0xA0, tlv(0xB3, inner))),
            (4, lambda inner: system(16, tlv(0xA0, tlv(0x30, message()[2:], inner)), tlv(0xA1))),
            (
                5,
                lambda inner: system(
                    16,
                    tlv(0xA0, tlv(0x30, message()[2:], tlv(0xA8, *returned, inner))),
                    tlv(0xA1),
                ),
            ),
        ):
            self.assertIsInstance(outcome(around(nested(16 - depth))), Frame)
            self.malformed(around(nested(17 - depth)))
        self.assertIsInstance(outcome(tlv(0xA3, nested(15))), BadFrame)
        self.malformed(tlv(0xA3, nested(16)))
        self.assertIsInstance(outcome(system(LATER, nested(14))), BadFrame)
        self.malformed(system(LATER, nested(15)))
        self.assertIsInstance(outcome(system(9, tlv(0xA0, nested(13)))), BadFrame)
        self.malformed(system(9, tlv(0xA0, nested(14))))
        deep = b""
        while len(deep) < 100000:
            deep = tlv(0x30, deep)
        self.malformed(deep)
        self.malformed(message(tlv(0xBE, deep)))
        self.malformed(tlv(0xA0, deep))

    def test_worse_fault_first(self) -> None:
        """What is malformed is said to be, even if a field before it was bad already."""
        self.malformed(message(tlv(0x87, b"\1"), before=tlv(0x80, b"\xff")))
        self.malformed(tlv(0xA2, tlv(0x85, b"\xff")))
        self.malformed(system(9, tlv(0xA0, tlv(2, b"\xff"), tlv(2, b"\0\1"))))
        self.malformed(system(16, tlv(0xA0, tlv(0x30), tlv(0x30, tlv(0x85, b"\xff"))), tlv(0xA1)))

    def test_truncated(self) -> None:
        """No part of a frame is taken for the whole."""
        for frame in SAMPLES:
            wire = der.encode(frame)
            for end in range(len(wire)):
                self.malformed(wire[:end])


class BadFrameTests(SynchronousTestCase):
    """DER that is no frame of this protocol: what is wrong is named, and whose it is."""

    def bad(self, wire: bytes, *words: str, ref: str | None = None) -> None:
        """Check that a wire is DER but no frame, and what is said of it."""
        error = self.assertRaises(BadFrame, der.decode, wire)
        for word in words:
            self.assertIn(word, error.reason)
        self.assertEqual(error.ref, ref)

    def test_unknown_frame(self) -> None:
        """A tag that no frame has."""
        for wire in (tlv(0xA3), tlv(b"\xbf\x1f"), tlv(0x30), tlv(5), tlv(0x02, b"\1"), tlv(0x47)):
            self.bad(wire, "[0] system")
        self.bad(tlv(0x80), "[0] system")
        self.bad(tlv(0x82, "bob"), "[0] system")
        self.bad(tlv(0xE2, tlv(0x82, "bob"), tlv(0x85)), "[0] system")

    def test_unknown_keyword(self) -> None:
        """A tag that no keyword has."""
        self.bad(tlv(0xA0), "keyword")
        self.bad(system(LATER), "keyword", f"[{LATER}]")
        self.bad(tlv(0xA0, tlv(b"\xbf\x28")), "keyword", "[40]")
        self.bad(tlv(0xA0, tlv(0x93)), "keyword")
        self.bad(tlv(0xA0, tlv(0x30)), "keyword")

    def test_missing_field(self) -> None:
        """A required field that is not there."""
        self.bad(tlv(0xA2), "message.recipient")
        self.bad(tlv(0xA2, tlv(0x82, "bob"), tlv(0x86, "c1")), "message.body", ref="c1")
        self.bad(tlv(0xA1, tlv(0x80, "f")), "login.value")
        self.bad(system(9), "received.ids")
        self.bad(system(14, tlv(0x80, "inbox"), tlv(0xA1, tlv(0x30)), tlv(0x82, b"\0")), "id")
        self.bad(message(tlv(0xA8)), "message.returned.code")

    def test_wrong_kind(self) -> None:
        """A field of another kind, or with a tag that is not from C{AUTOMATIC TAGS}."""
        self.bad(tlv(0xA2, tlv(12, "bob"), tlv(12, "x")), "message", "[n]")
        self.bad(message(tlv(0x86, "c1"), tlv(12, "x")), "message", "[n]", ref="c1")
        self.bad(message(before=tlv(0xA0, tlv(2, b"\1"))), "message.id")
        self.bad(message(tlv(0x86, "c1"), tlv(0xA7)), "message.receipt", ref="c1")
        self.bad(message(tlv(0x88, "x")), "message.returned")
        self.bad(system(9, tlv(0x80, b"\1")), "received.ids")
        self.bad(system(9, tlv(0xA0, tlv(12, "x"))), "received.ids[]")
        self.bad(system(9, tlv(0xA0, tlv(0x80, b"\1"))), "received.ids[]")
        self.bad(system(16, tlv(0xA0, tlv(2, b"\1")), tlv(0xA1)), "messages.messages[]")

    def test_out_of_range(self) -> None:
        """A number out of its range, however long."""
        for wrong in (b"\xff", b"\x80", b"\0\x80" + b"\0" * 7, b"\x01" * 9, b"\x7f" + b"\1" * 9999):
            self.bad(message(tlv(0x86, "c1"), before=tlv(0x80, wrong)), "message.id", ref="c1")
            self.bad(system(9, tlv(0xA0, tlv(2, wrong))), "received.ids[]")
        for wrong in (b"\0", b"\x03\xe9", b"\xff"):
            self.bad(system(13, tlv(0x80, "inbox"), tlv(0x82, wrong)), "list.limit", "1000")

    def test_time(self) -> None:
        """A time is not before 1970 nor after the year 9999."""
        last = 253402300799999
        self.bad(message(between=tlv(0x83, b"\xff")), "message.time")
        self.bad(message(between=tlv(0x83, (last + 1).to_bytes(7, "big"))), "message.time")
        frame = der.decode(message(between=tlv(0x83, last.to_bytes(7, "big"))))
        self.assertEqual(frame, Message(recipient="bob", body="x", time="9999-12-31T23:59:59.999Z"))

    def test_first_fault_is_named(self) -> None:
        """Of several bad fields the first one is named, and C{ref} is found behind it."""
        wire = message(tlv(0x86, "c1"), tlv(0xA7), before=tlv(0x80, b"\xff"))
        self.bad(wire, "message.id", ref="c1")
        self.bad(message(before=tlv(0x80, b"\xff"), between=tlv(0x83, b"\xff")), "message.id")
        self.bad(system(9, tlv(0xA0, tlv(5), tlv(2, b"\xff"))), "another kind")
        self.bad(system(9, tlv(0xA0, tlv(2, b"\xff"), tlv(5))), "a number from")

    def test_ref_that_cannot_be_repeated(self) -> None:
        """A C{ref} that is too long is not sent back."""
        self.bad(message(tlv(0x86, "é" * 32), tlv(0xA7)), ref="é" * 32)
        self.bad(message(tlv(0x86, "é" * 33), tlv(0xA7)))

    def test_secrets_are_not_quoted(self) -> None:
        """No refusal quotes what was sent: it may be a password."""
        for wire in (
            tlv(0xA1, tlv(0x80, "password"), tlv(0xA1, tlv(12, "sesame"))),
            tlv(0xA1, tlv(0x80, "sesame")),
            tlv(0xA1, tlv(0x80, b"sesame\xff")),
        ):
            error = outcome(wire)
            assert isinstance(error, ChatError)
            self.assertNotIn("sesame", error.reason)


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


class HostileTests(SynchronousTestCase):
    """Nothing but frames and refusals comes out, and never a frame that pyasn1 denies."""

    def judged(self, wire: bytes) -> None:
        """Check these bytes against the reference, which knows no extensions."""
        ours = outcome(wire)
        try:
            theirs: Frame | None = reference_decode(wire)
        except ValueError:
            theirs = None
        if isinstance(ours, ChatError):
            self.assertIsNone(theirs, wire.hex())
        elif theirs is not None:
            self.assertEqual(ours, theirs)
        else:
            # Only a field of a later version; without it the reference agrees.
            known = der.encode(ours)
            self.assertLess(len(known), len(wire))
            self.assertEqual(reference_decode(known), ours)

    def test_every_bit_flipped(self) -> None:
        """Each sample with any one bit changed is judged like pyasn1 judges it."""
        for frame in SAMPLES:
            wire = der.encode(frame)
            for at in range(len(wire)):
                for bit in range(8):
                    self.judged(wire[:at] + bytes((wire[at] ^ 1 << bit,)) + wire[at + 1 :])

    def test_every_byte_changed(self) -> None:
        """Each sample with any one byte changed is a frame or refused; what is taken is strict."""
        for frame in (MESSAGE, *SAMPLES[4:]):
            wire = der.encode(frame)
            for at in range(len(wire)):
                for byte in range(256):
                    changed = wire[:at] + bytes((byte,)) + wire[at + 1 :]
                    ours = outcome(changed)
                    if isinstance(ours, Frame) and der.encode(ours) != changed:
                        self.judged(changed)

    def test_bytes_removed_and_doubled(self) -> None:
        """Each sample with a byte left out or said twice is judged like pyasn1 judges it."""
        for frame in SAMPLES:
            wire = der.encode(frame)
            for at in range(len(wire)):
                self.judged(wire[:at] + wire[at + 1 :])
                self.judged(wire[:at] + wire[at : at + 1] + wire[at:])

    @ALWAYS
    @given(st.binary(max_size=80))
    def test_any_bytes(self, wire: bytes) -> None:
        """Any bytes are a frame or refused."""
        self.judged(wire)

    @ALWAYS
    @given(
        st.recursive(
            st.tuples(st.integers(0, 255), st.binary(max_size=6)).map(
                lambda pair: tlv(pair[0] & ~0x20 if pair[0] & 31 != 31 else 0x9E, pair[1])
            ),
            lambda inner: st.tuples(st.integers(0, 30), st.lists(inner, max_size=4)).map(
                lambda pair: tlv(0xA0 | pair[0], *sorted(pair[1]))
            ),
            max_leaves=12,
        )
    )
    def test_any_values(self, wire: bytes) -> None:
        """Any tree of values is a frame or refused."""
        self.judged(wire)

    def test_long_lists(self) -> None:
        """A frame full of tiny values is read, and refused, in one pass."""
        ids = [n % 128 for n in range(100000)]
        self.assertEqual(der.decode(der.encode(Read(ids=ids))), Read(ids=ids))
        wrong = system(9, tlv(0xA0, tlv(2, b"\xff") * 20000, tlv(5) * 20000))
        self.assertIsInstance(outcome(wrong), BadFrame)
        self.assertEqual(der.decode(message(tlv(0xBE, tlv(5) * 20000))), PLAIN)


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
