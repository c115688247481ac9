"""Checks of frames that are wrong, or at their limits, in any encoding."""

from __future__ import annotations

from chat.conformance.check import Room, check, log_in

LIMITS = "Limits"
LOGIN_BYTES = 4096
USER_BYTES = 524288


@check("Refusals")
def frames_of_servers(room: Room) -> None:
    """Frames that only servers say are refused, and the session goes on: bad-frame."""
    alice = room.user()
    for keyword, fields in (
        ("username", {}),
        ("pong", {}),
        ("bye", {}),
        ("account-deleted", {}),
        ("welcome", {"username": alice.name, "waiting": 0}),
        ("failed", {"code": "bad-frame", "reason": "no"}),
        ("fatal", {"code": "bad-frame", "reason": "no"}),
        ("accepted", {"id": 1, "time": "2026-11-22T21:07:00.123Z", "state": "waiting"}),
        ("delivered", {"ids": [1], "time": "2026-11-22T21:07:00.123Z"}),
        ("deleted", {"ids": [1], "missing": []}),
        ("messages", {"messages": [], "missing": []}),
        ("listing", {"box": "inbox", "messages": [], "more": False}),
    ):
        alice.system(keyword, **fields)
        alice.refused("bad-frame")
    alice.settle()


@check(LIMITS)
def login_frame_limit(room: Room) -> None:
    """Before the welcome a frame of 4096 bytes is taken; one more is fatal: frame-too-large."""
    account = room.account()
    connection = room.stranger()
    name = {"type": "login", "data": {"field": "username", "value": account.name}}
    connection.write(room.codec.padded(name, LOGIN_BYTES))
    connection.answer("password")
    connection.write(room.codec.padded(name, LOGIN_BYTES + 1))
    connection.fatal("frame-too-large")


@check(LIMITS)
def user_frame_limit(room: Room) -> None:
    """After the welcome a frame of 524288 bytes is taken; one more is fatal: frame-too-large."""
    alice = room.user()
    message = {"type": "message", "data": {"recipient": alice.name, "body": "small", "ref": "r"}}
    alice.write(room.codec.padded(message, USER_BYTES))
    alice.answer("accepted", ref="r", state="waiting")
    alice.delivery(body="small")
    alice.write(room.codec.padded(message, USER_BYTES + 1))
    alice.fatal("frame-too-large")


@check(LIMITS)
def limit_after_welcome(room: Room) -> None:
    """A long frame sent at once behind user name and password is judged by the limit after the welcome."""
    account = room.account()
    connection = room.stranger()
    message = {"type": "message", "data": {"recipient": account.name, "body": "b" * 9000}}
    connection.write(
        connection.encoded("login", field="username", value=account.name)
        + connection.encoded("login", field="password", value=account.password)
        + room.codec.encode(message)
    )
    connection.answer("password")
    connection.answer("welcome")
    connection.answer("accepted", state="waiting")


@check("Frames")
def any_split(room: Room) -> None:
    """It does not matter how the bytes are cut on their way."""
    account = room.account()
    connection = room.stranger()
    said = (
        connection.encoded("login", field="username", value=account.name)
        + connection.encoded("login", field="password", value=account.password)
        + connection.encoded("message", recipient=account.name, body="\u20ac in pieces", ref="r")
    )
    connection.write(*[said[at : at + 1] for at in range(len(said))])
    connection.answer("password")
    connection.answer("welcome")
    connection.answer("accepted", ref="r")
    connection.delivery(body="\u20ac in pieces")


@check("Refusals")
def answers_before_fatal(room: Room) -> None:
    """What stands before a malformed frame is answered; what stands behind it is not looked at."""
    alice = room.user()
    wrong = b"{\n" if room.codec.name == "json" else b"\x30\x80\x00\x00"
    message = alice.encoded("message", recipient=alice.name, body="before", ref="r")
    ping = alice.encoded("system", keyword="ping")
    alice.write(message + ping + wrong + ping)
    alice.answer("accepted", ref="r")
    alice.answer("pong")
    alice.fatal("malformed-frame")


@check("Refusals")
def malformed_before_login(room: Room) -> None:
    """A malformed frame before the login is fatal, too; the account is none the worse."""
    account = room.account()
    connection = room.stranger()
    connection.write(b"GET / HTTP/1.1\r\n\r\n" if room.codec.name == "json" else b"\x04\x81\x01\x00")
    connection.fatal("malformed-frame")
    log_in(room.stranger(), account)
