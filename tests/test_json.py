"""The JSON codec: what it writes, what it takes, and what it refuses."""

from __future__ import annotations

import json as stdlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import BadFrame, ChatError, MalformedFrame
from chat.messages import (
    Frame,
    List,
    Listing,
    Login,
    Message,
    Messages,
    Ping,
    Pong,
    Read,
    Received,
    Returned,
)
from chat.wire import json
from tests.strategies import ALWAYS, FRAMES, SAMPLES, STRINGS


def message(rest: str = "") -> bytes:
    """The line of a message from alice's client, with this after its body."""
    line = '{"type":"message","data":{"recipient":"bob","body":"x"' + rest + "}}"
    return line.encode("utf-8", "surrogatepass")


def system(data: str) -> bytes:
    """The line of a system frame with this between the braces of its data."""
    return b'{"type":"system","data":{' + data.encode() + b"}}"


class RoundTripTests(SynchronousTestCase):
    """What is encoded comes back the same."""

    def test_samples(self) -> None:
        """Every kind of frame comes back equal, on exactly one line."""
        for frame in SAMPLES:
            line = json.encode(frame)
            self.assertEqual(line.find(b"\n"), len(line) - 1)
            self.assertEqual(json.decode(line), frame)
            self.assertIs(type(json.decode(line)), type(frame))

    @ALWAYS
    @given(FRAMES)
    def test_any(self, frame: Frame) -> None:
        """Any frame comes back equal, and another JSON reader reads the same line."""
        line = json.encode(frame)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(json.decode(line), frame)
        again = stdlib.dumps(stdlib.loads(line)).encode()
        self.assertEqual(json.decode(again), frame)

    @ALWAYS
    @given(STRINGS)
    def test_strings_unaltered(self, text: str) -> None:
        """A body comes through letter for letter, control characters included."""
        frame = json.decode(json.encode(Message(recipient="bob", body=text, subject=text)))
        assert isinstance(frame, Message)
        self.assertEqual((frame.body, frame.subject), (text, text))


class EncodeTests(SynchronousTestCase):
    """The lines are those of the protocol document."""

    def test_order_and_names(self) -> None:
        """C{type}, C{data} and C{keyword} come first; absent fields are left out."""
        self.assertEqual(json.encode(Ping()), b'{"type":"system","data":{"keyword":"ping"}}\n')
        self.assertEqual(
            json.encode(Login(field="username", value="alice")),
            b'{"type":"login","data":{"field":"username","value":"alice"}}\n',
        )
        self.assertEqual(
            json.encode(Message(recipient="bob", body="x")),
            b'{"type":"message","data":{"recipient":"bob","body":"x"}}\n',
        )

    def test_empty_subject_is_a_subject(self) -> None:
        """An empty subject is sent and is not the same as none."""
        line = json.encode(Message(recipient="bob", body="x", subject=""))
        self.assertIn(b'"subject":""', line)

    def test_lone_surrogate(self) -> None:
        """A string that UTF-8 cannot carry is a ValueError, not wrong bytes."""
        with self.assertRaises(ValueError):
            json.encode(Message(recipient="bob", body="\ud800"))


class DecodeTests(SynchronousTestCase):
    """What is lawful is taken, however it is written."""

    def accepts(self, line: bytes, frame: Frame) -> None:
        """Check that a line is this frame."""
        self.assertEqual(json.decode(line), frame)

    def test_spaces_and_order(self) -> None:
        """Spaces, the order of the keys and escapes in keys do not matter."""
        self.accepts(b' { "data" : {"keyword":"ping" } ,\t"typ\\u0065":"system" } \r', Ping())
        self.accepts(system('"ids":[1],"keyword":"read"'), Read(ids=[1]))

    def test_unknown_fields(self) -> None:
        """Unknown fields are passed over, whatever they hold."""
        expected = Message(recipient="bob", body="x")
        for value in ('"y"', "1e999", "9" * 5000, "null", '{"a":[{}]}', "[" * 100 + "]" * 100):
            self.accepts(message(',"later":' + value), expected)
        self.accepts(b'{"later":1,"type":"system","data":{"keyword":"ping","ids":7},"x":[]}', Ping())

    def test_null_is_absent(self) -> None:
        """C{null} for an optional field is the same as no field."""
        optional = ("id", "sender", "time", "subject", "ref", "receipt", "returned", "again")
        for name in (*optional, "state"):
            self.accepts(message(f',"{name}":null'), Message(recipient="bob", body="x"))
        self.accepts(system('"keyword":"list","box":"inbox","after":null'), List(box="inbox"))
        self.accepts(
            message(',"returned":{"code":"c","recipient":"r","note":"n","x":null},"id":null'),
            json.decode(message(',"returned":{"code":"c","recipient":"r","note":"n"}')),
        )

    def test_deep_down(self) -> None:
        """Duplicates and C{null} are treated alike in every object that means anything."""
        line = system(
            '"keyword":"messages","missing":[],"messages":[{"recipient":"bob","body":7,"body":"x",'
            '"id":null,"returned":{"code":"c","recipient":"r","note":7,"note":"n"}}]'
        )
        returned = Returned(code="c", recipient="r", note="n")
        self.accepts(
            line,
            Messages(messages=[Message(recipient="bob", body="x", returned=returned)], missing=[]),
        )
        line = system(
            '"keyword":"listing","box":"inbox","more":null,"more":false,"messages":[{"id":1,'
            '"sender":"a","recipient":"b","time":"1970-01-01T00:00:00.000Z","state":"waiting",'
            '"subject":null,"returned":{"code":7,"code":"c","recipient":"r","note":"n"}}]'
        )
        listing = json.decode(line)
        assert isinstance(listing, Listing)
        self.assertEqual(listing.messages[0].returned, returned)

    def test_astral(self) -> None:
        """A pair of escaped surrogates is one character."""
        self.accepts(
            message(',"subject":"\\ud83d\\ude00"'),
            Message(recipient="bob", body="x", subject="\U0001f600"),
        )

    def test_last_duplicate_counts(self) -> None:
        """Of duplicate keys the last one counts, even if the first is no good."""
        pong = Pong()
        for line in (
            b'{"type":"login","type":"system","data":{"keyword":"pong"}}',
            b'{"data":{"keyword":"pong"},"type":"login","type":"system"}',
            b'{"type":7,"data":{"keyword":"pong"},"type":"system"}',
            b'{"type":"system","data":{"keyword":"ping"},"data":{"keyword":"pong"}}',
            b'{"type":"system","data":5,"data":{"keyword":"pong"}}',
            b'{"type":"system","data":{"keyword":"ping","keyword":"pong"}}',
            b'{"type":"system","data":{"keyword":"pang","keyword":"pong"}}',
        ):
            self.accepts(line, pong)
        self.accepts(system('"keyword":"received","ids":[1],"ids":[2]'), Received(ids=[2]))
        self.accepts(system('"keyword":"received","ids":["x"],"ids":[2]'), Received(ids=[2]))
        self.accepts(message(',"body":"y"'), Message(recipient="bob", body="y"))
        self.accepts(message(',"id":-1,"id":' + "9" * 5000 + ',"id":null'), json.decode(message()))
        self.accepts(message(',"ref":"a","ref":null'), json.decode(message()))
        for rest in (',"id":1,"id":-1', ',"body":7', ',"body":null'):
            self.assertRaises(BadFrame, json.decode, message(rest))
        self.assertRaises(BadFrame, json.decode, b'{"type":"system","data":{"keyword":"pong"},"data":5}')

    @ALWAYS
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["type", "data", "id"]),
                st.sampled_from(
                    [
                        "null",
                        "7",
                        '"system"',
                        '"message"',
                        '{"keyword":"ping"}',
                        '{"recipient":"bob","body":"x"}',
                        '{"keyword":"pang","keyword":"read","ids":[-1],"ids":[1]}',
                    ]
                ),
            ),
            max_size=5,
        )
    )
    def test_duplicates_like_everybody(self, pairs: list[tuple[str, str]]) -> None:
        """With any duplicates the frame is the one that is left when all but the last go."""
        line = "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
        self.assertEqual(outcome(line.encode()), outcome(stdlib.dumps(stdlib.loads(line)).encode()))


def outcome(line: bytes) -> object:
    """The frame on a line or the kind of its refusal."""
    try:
        return json.decode(line)
    except ChatError as error:
        return type(error)


#: Lines that are frames, lines that are none, and lines that only together, or only apart, would be any.
LINES = st.one_of(
    FRAMES.map(lambda frame: json.encode(frame)[:-1]),
    st.sampled_from(
        [
            b'{"type":"system","data":{"keyword":"ping"}}\r',
            b'{"type":"system","data":{"keyword":"ping"}} {"type":"system","data":{"keyword":"pong"}}',
            b'{"type":"system","data":{"keyword":"ping"},"later":[1',
            b"2]}",
            b'{"type":"system",',
            b'"data":{"keyword":"ping"}}',
            b'{"type":"system","data":{"keyword":"ping","keyword":"pong"}}',
            b'{"type":"system","data":{"keyword":"dance"}}',
            b'{"type":"system","data":{"keyword":"ping"},"later":"\xff"}',
            b'{"type":"system","data":{"keyword":"ping"},"later":"\xc3\xa9"}',
            b'{"type":"message","data":{"recipient":"bob","body":"x","id":null}}',
            b"[" * 2000,
            b"",
            b" \t",
            b"null",
        ]
    ),
)


class BatchTests(SynchronousTestCase):
    """Many lines at once are the same frames as one by one."""

    def agrees(self, lines: list[bytes], most: int = 1000) -> bool:
        """Check what comes of these lines; whether they were found frames in one go."""
        whole = b"".join([line + b"\n" for line in lines])
        frames, size = json.decode_front(whole, most)
        alone = [outcome(line) for line in lines[:most]]
        if size:
            self.assertEqual(frames, alone)
            self.assertEqual(size, len(b"".join([line + b"\n" for line in lines[:most]])))
        else:
            self.assertEqual(frames, [])
        return size > 0

    def test_samples(self) -> None:
        """Every kind of frame, up to so many, is read in one go as it is alone."""
        lines = [json.encode(frame)[:-1] for frame in SAMPLES]
        for most in (1, 2, len(lines) - 1, len(lines), 1000):
            self.assertTrue(self.agrees(lines, most))
        self.assertEqual(json.decode_front(b"", 1000), ([], 0))

    @ALWAYS
    @given(st.lists(LINES, max_size=5))
    def test_any(self, lines: list[bytes]) -> None:
        """Whatever the lines are, in one go they are what they are one by one, or left."""
        self.agrees(lines)

    def test_what_is_odd(self) -> None:
        """Lines of which any is no frame are left, and so are those that are one only together."""
        good = json.encode(Ping())[:-1]
        for wrong in (
            b"",
            b"{}",
            b"x",
            b"[" * 200000,
            system('"keyword":"ping","later":' + "[" * 200000),
            good + b" " + good,
            system('"keyword":"ping","later":"@"').replace(b"@", b"\xff"),
            good[:-1] + b"\n}",
        ):
            self.assertFalse(self.agrees([good, *wrong.split(b"\n"), good]), wrong)
            self.assertTrue(self.agrees([good, *wrong.split(b"\n")], 1))

    def test_encode(self) -> None:
        """Many frames are written as each of them is, whether of one kind or of several."""
        frames = list(SAMPLES)
        for some in ([], frames[:1], frames[4:], frames[2:4] * 3, frames, frames[::-1]):
            self.assertEqual(json.encode_all(some), b"".join([json.encode(frame) for frame in some]))

    @ALWAYS
    @given(st.lists(FRAMES, max_size=4))
    def test_encode_any(self, frames: list[Frame]) -> None:
        """Any frames are written as each of them is."""
        for some in (frames, frames[:1] * 3):
            self.assertEqual(json.encode_all(some), b"".join([json.encode(frame) for frame in some]))

    def test_lone_surrogate(self) -> None:
        """A string that UTF-8 cannot carry is a ValueError among others, too."""
        good, wrong = Message(recipient="bob", body="x"), Message(recipient="bob", body="\ud800")
        self.assertRaises(ValueError, json.encode_all, [good, wrong])
        self.assertRaises(ValueError, json.encode_all, [Ping(), wrong])


class RefusalTests(SynchronousTestCase):
    """Everything else is refused, as malformed or as a bad frame, and nothing escapes."""

    def malformed(self, line: bytes) -> None:
        """Check that a line is not JSON."""
        self.assertRaises(MalformedFrame, json.decode, line)

    def bad(self, line: bytes, *words: str, ref: str | None = None) -> None:
        """Check that a line is JSON but no frame, and what is said of it."""
        error = self.assertRaises(BadFrame, json.decode, line)
        for word in words:
            self.assertIn(word, error.reason)
        self.assertEqual(error.ref, ref)

    def test_not_json(self) -> None:
        """What is not JSON is malformed: in a field that counts, in one that does not."""
        for line in (b"", b"x", b"nul", b"{", b"{}}", b"[1,]", b'{"a":1,}', b"\xef\xbb\xbf{}"):
            self.malformed(line)
        self.malformed(message() + b" x")
        self.malformed(message() + b"\x00")
        for value in ("01", "NaN", "-", ".5", "1.", "tru", '"\\q"', '"\\u12"', '"\x01"', "'x'"):
            for rest in (f',"later":{value}', f',"subject":{value}', f',"id":-1,"later":{value}'):
                self.malformed(message(rest))

    def test_not_utf8(self) -> None:
        """What is not UTF-8 is malformed, wherever it stands."""
        for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            for name in ("subject", "later"):
                line = message(f',"{name}":"@"').replace(b"@", wrong)
                self.malformed(line)
                self.malformed(line.replace(b'"body"', b'"id":-1,"body"'))

    def test_lone_surrogates(self) -> None:
        """An escaped half of a pair is malformed: UTF-8 has nothing for it."""
        for wrong in ("\\ud800", "\\udc00\\ud800", "\\ud800\\u0041", "\\udfffx"):
            for name in ("subject", "later"):
                self.malformed(message(f',"{name}":"{wrong}"'))
                self.malformed(message(f',"id":-1,"{name}":"{wrong}"'))
            self.malformed(message(f',"{wrong}":1'))

    def test_nested_too_deeply(self) -> None:
        """Brackets without end exhaust nothing; in an unknown field some Pythons have room to skip them."""
        for rest, lawful in ((',"later":', True), (',"id":-1,"later":', False), (',"subject":', False)):
            deep = "[" * 200000
            self.malformed(message(rest + deep))
            for whole in (deep + "]" * 200000, '{"a":' * 200000 + "1" + "}" * 200000):
                try:
                    json.decode(message(rest + whole))
                except (MalformedFrame, BadFrame):
                    continue
                self.assertTrue(lawful, rest)

    def test_no_object(self) -> None:
        """Other JSON than an object is a bad frame."""
        for line in (b"5", b"[]", b'""', b"null", b"[{}]", b"1e999"):
            self.bad(line)

    def test_unknown_type_or_keyword(self) -> None:
        """Unknown types and keywords are named by their place, not quoted."""
        self.bad(b'{"type":"letter","data":{}}', "$.type")
        self.bad(b'{"type":"System","data":{"keyword":"ping"}}', "$.type")
        self.bad(system('"keyword":"sesame - at `x`"'), "$.data.keyword")
        long = "x" * 70000
        self.bad(b'{"type":"%b","data":{}}' % long.encode(), "Unknown value", "$.type")
        self.bad(system(f'"keyword":"{long}"'), "Unknown value", "$.data.keyword")
        for part in ('{"recipient":7}', '{"recipien\\u0074":7}'):
            many = ",".join([part] * 1000)
            self.bad(system(f'"keyword":"messages","messages":[{many}]'), "messages")
        self.bad(b'{"type":"system"}', "data")
        self.bad(b'{"data":{"keyword":"ping"}}', "type")
        self.bad(system(""), "keyword")

    def test_missing_field(self) -> None:
        """A missing field is named, and so is the message that misses it."""
        self.bad(b'{"type":"message","data":{"recipient":"bob","ref":"c1"}}', "body", ref="c1")
        self.bad(system('"keyword":"received"'), "ids")

    def test_wrong_kind(self) -> None:
        """A field of the wrong kind is named."""
        for rest, name in (
            (',"subject":5', "subject"),
            (',"body":7', "body"),
            (',"receipt":1', "receipt"),
            (',"id":"5"', "id"),
            (',"id":17.0', "id"),
            (',"id":true', "id"),
            (',"returned":[]', "returned"),
            (',"returned":{"code":"x"}', "returned"),
            (',"time":"yesterday"', "time"),
            (',"time":""', "time"),
        ):
            self.bad(message(rest), f"$.data.{name}" if "{" not in rest else "recipient")
        self.bad(system('"keyword":"read","ids":[1,null]'), "ids[1]")
        self.bad(system('"keyword":"read","ids":{}'), "ids")

    def test_out_of_range(self) -> None:
        """A number out of its range is a bad frame, however long it is."""
        for number in ("-1", str(2**63), str(2**64), "9" * 400, "9" * 5000, "-" + "9" * 5000):
            self.bad(message(f',"ref":"c1","id":{number}'), "id", ref="c1")
        for number in ("1e999", "-1e999", "9" * 400 + ".5"):
            self.bad(message(f',"ref":"c1","id":{number}'), ref="c1")
        for limit in (0, 1001):
            self.bad(system(f'"keyword":"list","box":"inbox","limit":{limit}'), "limit")

    def test_ref_that_cannot_be_repeated(self) -> None:
        """A C{ref} that is too long or no string is not sent back."""
        self.bad(message(',"id":-1,"ref":"' + "é" * 32 + '"'), "id", ref="é" * 32)
        self.bad(message(',"id":-1,"ref":"' + "é" * 33 + '"'), "id")
        self.bad(message(',"id":-1,"ref":5'))

    def test_secrets_are_not_quoted(self) -> None:
        """No refusal quotes what was sent: it may be a password."""
        for line in (
            b'{"type":"sesame","data":{}}',
            system('"keyword":"sesame"'),
            b'{"type":"login","data":{"field":"password","value":["sesame"]}}',
            message(',"time":"sesame"'),
            b'"sesame',
        ):
            error = self.assertRaises(ChatError, json.decode, line)
            self.assertNotIn("sesame", error.reason)

    @ALWAYS
    @given(st.binary(max_size=60))
    def test_any_bytes(self, line: bytes) -> None:
        """Any bytes are a frame, a bad frame or malformed."""
        outcome(line)

    def test_every_byte_changed(self) -> None:
        """A line with one byte changed is a frame, a bad frame or malformed; never an accident."""
        line = json.encode(Message(recipient="bob", body="é", subject="\n", ref="c1", id=9))
        for at in range(len(line) - 1):
            for byte in range(256):
                changed = line[:at] + bytes((byte,)) + line[at + 1 :]
                if isinstance(outcome(changed), Frame):
                    stdlib.loads(changed)

    def test_truncated(self) -> None:
        """No part of a line is taken for the whole."""
        for frame in SAMPLES:
            line = json.encode(frame)[:-1]
            for end in range(len(line)):
                self.malformed(line[:end])
