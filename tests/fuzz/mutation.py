"""Valid frames, spoilt: bytes, lengths, tags, keys, numbers and nesting, all from one random source."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Callable, Iterator, Sequence

from chat.messages import USER_FRAME_BYTES, Frame
from chat.wire import serialize
from tests.strategies import SAMPLES

#: How many of the inputs are as long as frames may be.
LONG = 0.001
#: The most that a transport hands on at once.
READ_BYTES = 64 * 1024

_STRINGS = (
    "",
    "\0",
    "\x1b[2J\x07",
    "\u2028\u202e\ufeff",
    "\U0001f600\U0010ffff",
    "e\u0301\u0301\u0301",
    "x" * 65,
    "x" * 257,
    "\u20ac" * 100,
    "alice",
    "bob",
    "username",
    "password",
    "inbox",
    "sent",
    "\u017fs\ufb01\u0130I",
    "2026-11-22T21:07:00.123Z",
    "9999-99-99T99:99:99.999Z",
)
_NUMBERS = (
    *("0", "-0", "-1", "1", "17", "127", "128", "255", "256", "1000", "1001", "1e400", "-1e-400", "1.0"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 400, "0.5", "1E2"),
)
_JSON_SCRAPS: tuple[bytes, ...] = (
    *(number.encode() for number in _NUMBERS),
    *(json.dumps(text).encode() for text in _STRINGS),
    *(b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b'{"":{}}', b"NaN", b"Infinity", b"tru", b"{", b"}"),
    *(b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\\udc00", b"\\u0000", b"\\ud83d\\ude00"),
    *(b'"type":"system"', b'"data":{}', b'"keyword":"ping"', b'"ids":[1]', b'"ref":"r"', b'"returned":null'),
    *(
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\t",
        b"\0",
    ),
)
_DER_SCRAPS: tuple[bytes, ...] = (
    *(b"\x80", b"\xff", b"\x00", b"\x7f", b"\x81\x80", b"\x82\x01\x00", b"\x84\x7f\xff\xff\xff", b"\x1f"),
    *(
        b"\x88" + b"\xff" * 8,
        b"\x89" + b"\x01" * 9,
        b"\x3f\x83\xff\x7f",
        b"\xbf\x1f\x00",
        b"\xbf\x80\x1f\x00",
    ),
    *(b"\x02\x01\x00", b"\x02\x02\x00\x80", b"\x02\x09\x00" + b"\xff" * 8, b"\x02\x00", b"\x01\x01\x01"),
    *(b"\x24\x80\x00\x00", b"\x30\x00", b"\x0c\x02\xc3\x28", b"\x05\x00", b"\xa0\x00", b"\x9e\x00"),
)
_TEXT_SCRAPS: tuple[bytes, ...] = (
    *(b"\n", b"\r\n", b"\r\0", b"\r", b"\0", b"\x08", b"\x7f", b"\x03", b"\x1b[2J", b"\xff", b"\xff\xff"),
    *(b"\xff\xfd\x06", b"\xff\xfc\x06", b"\xff\xfb\x06", b"\xff\xf4", b"\xff\xf6", b"\xff\xf1", b"\xff\xed"),
    *(
        b"\xff\xfd\x01",
        b"\xff\xfe\x01",
        b"\xff\xfb\x00",
        b"\xff\xfb\x1f",
        b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0",
    ),
    *(
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xc3",
        b"/",
        b"//",
        b".",
    ),
    *(
        b"alice\n",
        b"password1\n",
        b"/to alice ",
        b"/to bob hello\n",
        b"hello\n",
        b"/reply hi\n",
        b"/write bob\n",
    ),
    *(
        b"/inbox\n",
        b"/sent 3\n",
        b"/read 1 2\n",
        b"/delete 1,2\n",
        b"/status 1\n",
        b"/receipts off\n",
        b".\n",
    ),
    *(b"/passwd\n", b"/delete-account\n", b"/ping\n", b"/quit\n", b"/cancel\n", b"/help\n", b"..\n", b"/\n"),
    *(b"/read " + b"9" * 19 + b"\n", b"/read " + b"9" * 400 + b"\n", b"/to " + b"x" * 300 + b" y\n"),
)


def spoil(random: Random, valid: bytes, scraps: Sequence[bytes], pool: Sequence[bytes]) -> bytes:
    """These bytes after a few mutations; C{pool} is what they may be spliced with."""
    spoilt = bytearray(valid)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        at = random.randrange(len(spoilt) + 1)
        to = min(len(spoilt), at + random.choice((1, 1, 2, 4, 16, 64)))
        kind = random.randrange(9)
        if kind == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(spoilt):
            spoilt[at] = random.randrange(256)
        elif kind == 2:
            del spoilt[at:to]
        elif kind == 3:
            spoilt[at:at] = random.choice(scraps)
        elif kind == 4:
            spoilt[at:to] = random.choice(scraps)
        elif kind == 5:
            spoilt[at:at] = spoilt[at:to] * random.choice((1, 2, 8))
        elif kind == 6:
            other = random.choice(pool)
            cut = random.randrange(len(other) + 1)
            spoilt[at:] = other[cut:]
        elif kind == 7:
            spoilt[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
        else:
            del spoilt[at:]
    return bytes(spoilt)


# --- JSON: an object is changed, then written with freedoms that JSON allows -------------------


def _plain(frame: Frame) -> Any:
    return json.loads(serialize(frame, "json"))


_JSON_FRAMES = [_plain(frame) for frame in SAMPLES]
_JSON_LINES = [serialize(frame, "json")[:-1] for frame in SAMPLES]
_KEYS = sorted({key for frame in _JSON_FRAMES for key in frame["data"]} | {"type", "data", "x", ""})
_KEYWORDS = sorted({frame["data"]["keyword"] for frame in _JSON_FRAMES if "keyword" in frame["data"]})


def _scalar(random: Random) -> str:
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(_NUMBERS)
    if kind == 1:
        return random.choice(("null", "true", "false", "{}", "[]", '[{"id":1}]'))
    text = random.choice(_KEYWORDS if kind == 2 else _STRINGS)
    return json.dumps(text, ensure_ascii=random.random() < 0.5)


def _written(random: Random, value: Any, change: float) -> str:
    """JSON for this value, each part of it replaced, repeated or left out with a chance of C{change}."""
    if random.random() < change:
        if random.random() < 0.02:
            depth = random.choice((3, 20, 200, 1500))
            opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ('{"data":', "}")))
            return opening * depth + _scalar(random) + closing * depth
        return _scalar(random)
    if isinstance(value, dict):
        fields = []
        for key, each in value.items():
            if random.random() < change:
                key = random.choice(_KEYS)
            if random.random() >= change:
                fields.append(f"{json.dumps(key)}:{_written(random, each, change)}")
            while random.random() < change:
                fields.append(f"{json.dumps(random.choice(_KEYS))}:{_scalar(random)}")
            if random.random() < change:
                fields.append(f"{json.dumps(key)}:{_written(random, each, change)}")
        if random.random() < change:
            random.shuffle(fields)
        blank = random.choice(("", "", " ", "\t", "\r")) if random.random() < change else ""
        return "{" + f",{blank}".join(fields) + "}"
    if isinstance(value, list):
        elements = [_written(random, each, change) for each in value]
        if random.random() < change:
            elements = elements * random.choice((2, 20)) + [_scalar(random)]
        return "[" + ",".join(elements) + "]"
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


def json_line(random: Random) -> bytes:
    """One line for the JSON decoder, more often nearly right than not."""
    kind = random.randrange(8)
    if kind < 4:
        frame = random.choice(_JSON_FRAMES)
        line = _written(random, frame, random.choice((0.02, 0.1, 0.3))).encode("utf-8", "surrogatepass")
        return line if kind else spoil(random, line, _JSON_SCRAPS, _JSON_LINES)
    if kind == 4:
        return b"".join(random.choice(_JSON_SCRAPS) for _ in range(random.randrange(1, 12)))
    return spoil(random, random.choice(_JSON_LINES), _JSON_SCRAPS, _JSON_LINES)


# --- DER: values are taken apart as far as they go, changed, and put together with right lengths -----

_DER_VALUES = [serialize(frame, "der") for frame in SAMPLES]


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _children(contents: bytes) -> list[tuple[int, bytes]]:
    """Tags (of one octet) and contents of these values."""
    found = []
    at = 0
    while at + 1 < len(contents):
        tag, size = contents[at], contents[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(contents[at : at + count], "big")
            at += count
        found.append((tag, contents[at : at + size]))
        at += size
    return found


def _rewritten(random: Random, contents: bytes, change: float) -> bytes:
    """These values with tags, lengths and contents changed, lengths mostly right around them."""
    out = []
    values = _children(contents)
    if random.random() < change:
        random.shuffle(values)
    for tag, inner in values:
        if random.random() < change:
            continue
        if tag & 0x20:
            inner = _rewritten(random, inner, change)
        elif random.random() < change:
            inner = random.choice((b"", b"\0", b"\xff", b"\0\0", b"\x80", b"\xc3\x28", inner * 2, inner[:-1]))
        if random.random() < change:
            tag = random.choice((tag ^ 0x20, tag + 1 & 0xFF, random.randrange(256), 0x30, 0x02, 0x0C, 0x9E))
        length = _length(len(inner))
        if random.random() < change:
            size = len(inner)
            length = random.choice(
                (
                    b"\x81" + bytes((size & 0xFF,)),
                    b"\x82" + (size & 0xFFFF).to_bytes(2, "big"),
                    b"\x80",
                    *[_length(max(0, size + by)) for by in (-1, 1, 100)],
                )
            )
        for _ in range(2 if random.random() < change else 1):
            out.append(bytes((tag,)) + length + inner)
        if random.random() < change:
            out.append(random.choice(_DER_SCRAPS))
        if random.random() < change * 0.05:
            deep = b""
            for _ in range(random.choice((3, 14, 15, 16, 17, 300))):
                deep = b"\xbe" + _length(len(deep)) + deep
            out.append(deep)
    return b"".join(out)


def der_value(random: Random) -> bytes:
    """Bytes for the DER decoder."""
    kind = random.randrange(8)
    value = random.choice(_DER_VALUES)
    if kind < 5:
        value = _rewritten(random, value, random.choice((0.02, 0.1, 0.3)))
        return value if kind else spoil(random, value, _DER_SCRAPS, _DER_VALUES)
    return spoil(random, value, _DER_SCRAPS, _DER_VALUES)


# --- text: what people type, and telnet says ---------------------------------------------


def text_lines(random: Random) -> bytes:
    """Bytes for the text door."""
    typed = b"".join(random.choice(_TEXT_SCRAPS) for _ in range(random.randrange(1, 24)))
    if random.random() < 0.5:
        typed = spoil(random, typed, _TEXT_SCRAPS, _TEXT_SCRAPS)
    if random.random() < 0.01:
        typed += random.choice(_TEXT_SCRAPS) * random.choice((100, 1000))
    return typed


def cut(random: Random, wire: bytes) -> Iterator[bytes]:
    """These bytes in pieces, as a transport may hand them on."""
    kind = random.randrange(4)
    if kind == 1 and 1 < len(wire) < 200:
        ends = list(range(1, len(wire)))
    elif kind and len(wire) > 1:
        ends = sorted(random.randrange(len(wire)) for _ in range(random.randrange(1, 6)))
    else:
        ends = []
    for start, end in zip([0, *ends], [*ends, len(wire)]):
        for at in range(start, end, READ_BYTES):
            yield wire[at : min(end, at + READ_BYTES)]


def swollen(random: Random, wire: bytes, scraps: Sequence[bytes]) -> bytes:
    """These bytes with something in them repeated, up to the limit of a frame.

    What ends frames is repeated less: a hundred thousand of them are not worth their time.
    """
    at = random.randrange(len(wire) + 1)
    unit = b"".join(random.choice(scraps) for _ in range(random.choice((1, 1, 2, 3)))) or b" "
    most = 60_000 if any(end in unit for end in (b"\n", b"\r", b"\xff")) else USER_FRAME_BYTES - len(wire) - 8
    count = random.choice((4_000, 60_000, 60_000, most)) // len(unit)
    return wire[:at] + unit * count + wire[at:]


_LONG_JSON = (
    *_JSON_SCRAPS,
    b"[],",
    b"{},",
    b'"a":null,',
    b'{"a":{}},',
    b'"ids":[1],',
    b"1,",
    b'"a":1,',
    b'{"a":',
)


def _long_json(random: Random) -> bytes:
    """A long line that is JSON all the same: an array, an object or a string in some place."""
    unit = random.choice(("[]", "{}", '{"a":{}}', "1", "null", '"x"', '{"id":1,"sender":"x"}', '[[["x"]]]'))
    count = random.choice((4_000, 60_000, USER_FRAME_BYTES - 200)) // (len(unit) + 1)
    many = "[" + ",".join([unit] * count) + "]"
    if random.random() < 0.4:
        many = (
            "{"
            + ",".join(
                [
                    f'"{random.choice(_KEYS)}{number % 10 ** random.randrange(6)}":{unit}'
                    for number in range(count // 4)
                ]
            )
            + "}"
        )
    data = random.choice(
        (
            f'{{"keyword":"ping","a":null,"x":{many}}}',
            f'{{"keyword":"read","ids":{many}}}',
            many,
            f'{{"keyword":"listing","messages":{many}}}',
            f'{{"recipient":"x","returned":{many}}}',
        )
    )
    kind = random.choice(("system", "message", "dance"))
    return f'{{"type":"{kind}","data":{data}}}'.encode()[:USER_FRAME_BYTES]


def _now_and_then(make: Callable[[Random], bytes], scraps: Sequence[bytes]) -> Callable[[Random], bytes]:
    def maker(random: Random) -> bytes:
        if random.random() < LONG:
            if scraps is _LONG_JSON and random.random() < 0.7:
                return _long_json(random)
            return swollen(random, make(random), scraps)
        return make(random)

    return maker


MAKERS: dict[str, Callable[[Random], bytes]] = {
    "json": _now_and_then(json_line, _LONG_JSON),
    "der": _now_and_then(der_value, _DER_SCRAPS),
    "text": _now_and_then(text_lines, _TEXT_SCRAPS),
}
