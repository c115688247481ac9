"""Checks of the JSON door's own rules."""

from __future__ import annotations

import json

from chat.conformance.check import Room, check, entry, send

DOOR = "The JSON door"


def _message(recipient: str, rest: str) -> bytes:
    return b'{"type":"message","data":{"recipient":%b,%b}}\n' % (
        json.dumps(recipient).encode(),
        rest.encode(),
    )


@check(DOOR, codec="json")
def line_ends(room: Room) -> None:
    """A CR before the LF is allowed, and blank lines are ignored, before the login and after it."""
    account = room.account()
    connection = room.stranger()
    connection.write(b"\n\r\n")
    connection.write(
        b'\n{"type":"login","data":{"field":"username","value":"%b"}}\r\n' % account.name.encode()
    )
    connection.answer("password")
    connection.write(
        b'{"type":"login","data":{"field":"password","value":"%b"}}\r\n' % account.password.encode()
    )
    connection.answer("welcome")
    connection.write(b'\r\n\n{"type":"system","data":{"keyword":"ping"}}\r\n\r\n\n')
    connection.answer("pong")
    connection.settle()


@check(DOOR, codec="json")
def last_duplicate(room: Room) -> None:
    """Of duplicate keys the last one counts, at every depth."""
    alice = room.user()
    alice.write(_message("nobody", f'"body":"no","body":"yes","recipient":"{alice.name}"'))
    alice.answer("accepted", state="waiting")
    alice.delivery(body="yes")
    alice.write(b'{"type":"login","data":17,"data":{"keyword":"pong","keyword":"ping"},"type":"system"}\n')
    alice.answer("pong")
    alice.write(_message(alice.name, '"body":17,"body":"right","ref":"a","ref":"b"'))
    alice.answer("accepted", ref="b")
    alice.delivery(body="right")


@check(DOOR, codec="json")
def any_json(room: Room) -> None:
    """Any JSON is taken: keys in any order, blanks, escapes of any character."""
    alice = room.user()
    alice.write(b' { "data" : { "keyword" :\t"ping" } , "type" : "\\u0073ystem" } \n')
    alice.answer("pong")
    alice.write(_message(alice.name, '"body":"\\u20ac \\ud83d\\ude00 \\/ \\u0000","\\u0072ef":"r"'))
    alice.answer("accepted", ref="r")
    alice.delivery(body="\u20ac \U0001f600 / \0")


@check("Frames", codec="json")
def unknown_fields(room: Room) -> None:
    """Optional fields that the server does not know are ignored, beside the data and in them."""
    alice = room.user()
    more = '"colour":{"deep":[1,null,{"x":-1.5e3}]},"x-id":null'
    alice.write(b'{"new":[],"type":"system","data":{"keyword":"ping",%b},"v":2}\n' % more.encode())
    alice.answer("pong")
    alice.write(_message(alice.name, f'"body":"yes",{more}'))
    alice.answer("accepted", state="waiting")
    alice.delivery(body="yes")


@check(DOOR, codec="json")
def null_is_absent(room: Room) -> None:
    """null for an optional field means that it is absent."""
    alice = room.user()
    alice.write(_message(alice.name, '"body":"yes","subject":null,"ref":null,"receipt":null'))
    alice.answer("accepted", ref=None)
    alice.delivery(body="yes", subject=None)
    alice.write(b'{"type":"system","data":{"keyword":"list","box":"inbox","after":null,"limit":null}}\n')
    alice.answer("listing", box="inbox")


@check("Refusals", codec="json")
def bad_frames(room: Room) -> None:
    """JSON that is no frame is refused, and the session goes on: bad-frame."""
    alice = room.user()
    for line in (
        "[]",
        "17",
        "null",
        '"ping"',
        "{}",
        '{"type":"system"}',
        '{"data":{"keyword":"ping"}}',
        '{"type":"system","data":null}',
        '{"type":"system","data":[]}',
        '{"type":"system","data":{}}',
        '{"type":"dance","data":{}}',
        '{"type":17,"data":{"keyword":"ping"}}',
        '{"type":"System","data":{"keyword":"ping"}}',
        '{"type":"system","data":{"keyword":"dance"}}',
        '{"type":"system","data":{"keyword":["ping"]}}',
        '{"type":"system","data":{"keyword":"received"}}',
        '{"type":"system","data":{"keyword":"received","ids":17}}',
        '{"type":"system","data":{"keyword":"received","ids":["17"]}}',
        '{"type":"system","data":{"keyword":"received","ids":[null]}}',
        '{"type":"system","data":{"keyword":"list"}}',
        '{"type":"system","data":{"keyword":"read","ids":{}}}',
        '{"type":"system","data":{"keyword":"delete-account"}}',
        '{"type":"login","data":{"field":"username"}}',
        '{"type":"login","data":{"field":"username","value":17}}',
        '{"type":"message","data":{"recipient":"x"}}',
        '{"type":"message","data":{"body":"x"}}',
        '{"type":"message","data":{"recipient":"x","body":null}}',
        '{"type":"message","data":{"recipient":["x"],"body":"x"}}',
        '{"type":"message","data":{"recipient":"x","body":"x","subject":17}}',
        '{"type":"message","data":{"recipient":"x","body":"x","receipt":"yes"}}',
        '{"type":"message","data":{"recipient":"x","body":"x","ref":17}}',
    ):
        alice.write(line.encode() + b"\n")
        alice.refused("bad-frame")
    alice.settle()


@check("Refusals", codec="json")
def ref_of_bad_frame(room: Room) -> None:
    """A message that is refused as bad-frame is named by its ref, if it had one."""
    alice = room.user()
    for rest in ('"ref":"r1"', '"body":17,"ref":"r1"', '"body":"x","receipt":1,"ref":"r0","ref":"r1"'):
        alice.write(_message(alice.name, rest))
        alice.refused("bad-frame", ref="r1")


@check("Frames", codec="json")
def bad_numbers(room: Room) -> None:
    """A number that is out of range or not whole is refused: bad-frame; the largest one is taken."""
    alice = room.user()
    for number in ("-1", "9223372036854775808", "1e30", "1" + "0" * 400, "1.5", "17.0", "true", '"17"'):
        for frame in (
            '"received","ids":[%s]',
            '"delete","ids":[%s]',
            '"read","ids":[%s]',
            '"list","box":"sent","after":%s',
        ):
            line = '{"type":"system","data":{"keyword":' + frame % number + "}}\n"
            alice.write(line.encode())
            alice.refused("bad-frame")
    for limit in ("0", "1001", "-1", "9223372036854775808"):
        alice.write(b'{"type":"system","data":{"keyword":"list","box":"sent","limit":%b}}\n' % limit.encode())
        alice.refused("bad-frame")
    alice.write(b'{"type":"system","data":{"keyword":"delete","ids":[9223372036854775807,0]}}\n')
    alice.answer("deleted", ids=[], missing=[2**63 - 1, 0])


@check("Refusals", codec="json")
def malformed_frames(room: Room) -> None:
    """What is not JSON in UTF-8 is fatal, wherever in the line the fault is: malformed-frame."""
    account = room.account()
    good = b'{"type":"message","data":{"recipient":"x","body":"%b"}}'
    for line in (
        b"hello",
        b"{",
        b"}",
        b'{"type":"system","data":{"keyword":"ping"}',
        b'{"type":"system","data":{"keyword":"ping"}}}',
        b'{"type":"system","data":{"keyword":"ping"}} {}',
        b'{"type":"system","data":{"keyword":"ping",}}',
        b"{'type':'system','data':{'keyword':'ping'}}",
        b'{"type":"dance","data":[}',
        b'{"type":"system","data":{"keyword":"received","ids":[NaN]}}',
        b'{"type":"system","data":{"keyword":"received","ids":[01]}}',
        b'\xef\xbb\xbf{"type":"system","data":{"keyword":"ping"}}',
        good % b"\xff",
        good % b"\xc0\x80",
        good % b"\xed\xa0\x80",
        good % b"\xf4\x90\x80\x80",
        good % b"\t",
        good % b"\x00",
        good % b"\\x41",
        good % b"\\ud800",
        good % b"\\udc00\\ud800",
        b'{"type":"system","data":{"keyword":"ping","unknown":"\xff"}}',
    ):
        connection = room.enter(account)
        connection.write(line + b"\n")
        try:
            connection.fatal("malformed-frame")
        except Exception as error:
            raise type(error)(f"{line!r}: {error}") from None
        connection.close()


@check("Limits", codec="json")
def endless_line(room: Room) -> None:
    """A line that does not end is not waited for beyond the limit: frame-too-large."""
    connection = room.stranger()
    connection.write(b"x" * 5000)
    connection.fatal("frame-too-large")
    alice = room.user()
    alice.write(b" " * 600000)
    alice.fatal("frame-too-large")


@check(DOOR, codec="json")
def lines_of_the_server(room: Room) -> None:
    """The server writes each frame on a line of its own, whatever a message holds."""
    alice = room.user()
    body = "\n\r\u2028\u0085\\n"
    id = send(alice, alice.name, body, subject=body)
    alice.delivery(id=id, body=body, subject=body)
    entry(alice, "inbox", id)
