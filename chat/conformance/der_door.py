"""Checks of the DER door's own rules."""

from __future__ import annotations

from chat.conformance.check import Room, check
from chat.conformance.codecs import tlv
from chat.conformance.talk import Failure

DOOR = "The DER door"

PING = bytes.fromhex("a002b300")
_RECEIVED, _DELETE, _LIST, _READ = b"\xa9", b"\xab", b"\xad", b"\xaf"


def _system(tag: bytes, *fields: bytes) -> bytes:
    return tlv(b"\xa0", tlv(tag, b"".join(fields)))


def _integer(octets: str) -> bytes:
    return tlv(b"\x02", bytes.fromhex(octets))


def _message(*fields: bytes) -> bytes:
    return tlv(b"\xa2", b"".join(fields))


_TO = tlv(b"\x82", b"nobody")
_BODY = tlv(b"\x85", b"hello")


@check(DOOR, codec="der")
def octets(room: Room) -> None:
    """The tags are those of chat.asn1: a ping is A0 02 B3 00, and the server's own frames are strict DER."""
    alice = room.user()
    alice.write(PING)
    alice.answer("pong")
    to = tlv(b"\x82", alice.name.encode())
    alice.write(_message(to, tlv(b"\x84", b"s"), _BODY, tlv(b"\x86", b"r"), tlv(b"\x87", b"\xff")))
    id = alice.answer("accepted", ref="r", state="waiting")["id"]
    alice.delivery(id=id, subject="s", body="hello")
    number = id.to_bytes(id.bit_length() // 8 + 1, "big")
    alice.write(_system(_RECEIVED, tlv(b"\xa0", tlv(b"\x02", number))))
    alice.notice(ids=[id])


@check(DOOR, codec="der")
def default_values(room: Room) -> None:
    """An optional field may be there with the value that its absence stands for."""
    alice = room.user()
    to = tlv(b"\x82", alice.name.encode())
    alice.write(_message(to, _BODY, tlv(b"\x87", b"\x00")))
    id = alice.answer("accepted")["id"]
    alice.delivery(id=id)
    alice.write(_system(_LIST, tlv(b"\x80", b"inbox"), tlv(b"\x81", b"\0"), tlv(b"\x82", b"\x64")))
    alice.answer("listing", box="inbox", more=False)


@check(DOOR, codec="der")
def fields_of_later_versions(room: Room) -> None:
    """Fields behind the known ones are passed over; one that is no DER itself is malformed-frame."""
    account = room.account()
    alice = room.enter(account)
    later = tlv(b"\xbe", tlv(b"\x04", b"x") + tlv(b"\x30")) + tlv(b"\x9f\x83\x00", b"")
    alice.write(_system(b"\xb3", later))
    alice.answer("pong")
    alice.write(_message(tlv(b"\x82", account.name.encode()), _BODY, later))
    alice.answer("accepted")
    alice.delivery(body="hello")
    alice.write(_system(b"\xb3", tlv(b"\xbe", b"\x04\x05x")))
    alice.fatal("malformed-frame")


@check("Refusals", codec="der")
def bad_values(room: Room) -> None:
    """Lawful DER that is no frame is refused, and the session goes on: bad-frame."""
    alice = room.user()
    for wire in (
        b"\x05\x00",
        tlv(b"\x30"),
        tlv(b"\xa3"),
        tlv(b"\xbf\x63"),
        _system(b"\xbf\x63"),
        tlv(b"\xa0"),
        tlv(b"\xa0", b"\x05\x00"),
        _message(_BODY),
        _message(_TO),
        _system(_RECEIVED),
        _system(_LIST),
        _system(_LIST, tlv(b"\x80", b"inbox"), tlv(b"\x82", b"\x00")),
        _system(_LIST, tlv(b"\x80", b"inbox"), tlv(b"\x82", b"\x03\xe9")),
        _system(_LIST, tlv(b"\x80", b"inbox"), tlv(b"\x81", b"\xff")),
        _system(_READ, tlv(b"\xa0", _integer("ff"))),
        _system(_READ, tlv(b"\xa0", _integer("008000000000000000"))),
        _system(_READ, tlv(b"\xa0", tlv(b"\x0c", b"17"))),
    ):
        alice.write(wire)
        try:
            alice.refused("bad-frame")
        except Failure as error:
            raise Failure(f"{wire.hex(' ')}: {error}") from None
    alice.settle()


@check("Frames", codec="der")
def number_range(room: Room) -> None:
    """The largest number is taken, and so is 0."""
    alice = room.user()
    ids = _integer("7fffffffffffffff") + _integer("00")
    alice.write(_system(_DELETE, tlv(b"\xa0", ids)))
    alice.answer("deleted", ids=[], missing=[2**63 - 1, 0])


@check("Refusals", codec="der")
def ref_of_bad_value(room: Room) -> None:
    """A message that is refused as bad-frame is named by its ref, if it had one."""
    alice = room.user()
    alice.write(_message(_TO, tlv(b"\x86", b"r1")))
    alice.refused("bad-frame", ref="r1")


@check("Refusals", codec="der")
def malformed_values(room: Room) -> None:
    """What is not strict DER is fatal: malformed-frame."""
    account = room.account()
    for wire in (
        bytes.fromhex("a08102b300"),  # a length in more octets than it needs
        bytes.fromhex("a0820002b300"),
        bytes.fromhex("a080b3000000"),  # an indefinite length
        bytes.fromhex("a0ff"),
        bytes.fromhex("a003b38100"),  # the same within
        bytes.fromhex("a004b3800000"),
        bytes.fromhex("a003b30000"),  # something behind the end
        bytes.fromhex("a003b30100"),  # more than there is
        bytes.fromhex("a001b3"),
        tlv(b"\xa0", b"\xbf\x13\x00"),  # a tag number in more octets than it needs
        tlv(b"\xa0", b"\xbf\x80\x20\x00"),
        b"\xbf\x81\x80\x80\x00\x00",  # a tag number over 2097151
        _message(_BODY, _TO),  # fields out of order
        _message(_TO, _TO, _BODY),  # one of them twice
        _message(_TO, _BODY, tlv(b"\x87", b"\x01")),  # BOOLEANs
        _message(_TO, _BODY, tlv(b"\x87", b"")),
        _message(_TO, _BODY, tlv(b"\x87", b"\xff\xff")),
        _message(_TO, tlv(b"\xa5", tlv(b"\x0c", b"hel") + tlv(b"\x0c", b"lo"))),  # a string in pieces
        _message(_TO, tlv(b"\x85", b"\xff")),  # not UTF-8
        _message(_TO, tlv(b"\x85", b"\xed\xa0\x80")),
        _message(_TO, tlv(b"\x85", b"\xc0\x80")),
        _system(_READ, tlv(b"\xa0", _integer("0011"))),  # INTEGERs
        _system(_READ, tlv(b"\xa0", _integer("ffff"))),
        _system(_READ, tlv(b"\xa0", _integer(""))),
    ):
        connection = room.enter(account)
        connection.write(wire)
        try:
            connection.fatal("malformed-frame")
        except Failure as error:
            raise Failure(f"{wire.hex(' ')}: {error}") from None
        connection.close()


@check(DOOR, codec="der")
def deep_values(room: Room) -> None:
    """Values more than 16 deep within each other are malformed-frame, and cost nothing."""
    alice = room.user()
    deep = b""
    for _ in range(5000):
        deep = tlv(b"\x30", deep)
    alice.write(_system(b"\xb3", tlv(b"\xbe", deep)))
    alice.fatal("malformed-frame")


@check("Limits", codec="der")
def announced_length(room: Room) -> None:
    """A value that says it is longer than the limit is not waited for: frame-too-large."""
    for size in (b"\x82\x10\x00", b"\x84\x7f\xff\xff\xff", b"\x88\x7f\xff\xff\xff\xff\xff\xff\xff"):
        connection = room.stranger()
        connection.write(b"\xa1" + size)
        connection.fatal("frame-too-large")
