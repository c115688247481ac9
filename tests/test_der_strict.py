"""The DER codec: what is refused, by the clauses of X.690."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import BadFrame, ChatError, MalformedFrame
from chat.messages import (
    Frame,
    Message,
    Read,
)
from chat.wire import der
from chat.wire.schema import reference_decode
from tests.der_case import LATER, PLAIN, message, outcome, system, tlv
from tests.strategies import ALWAYS, MESSAGE, SAMPLES


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
