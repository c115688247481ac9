"""Frames to try the codecs with: one sample of each kind, and hypothesis strategies for any.

The strategies are derived from the declarations in L{chat.messages}, so a new
frame or field is tried at once.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from msgspec.inspect import (
    BoolType,
    IntType,
    ListType,
    Metadata,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from chat import messages as m
from chat.times import rfc3339

# Some versions draw now and then what is written in any module that happens to be imported: other
# examples after other tests.
if hasattr(providers, "_get_local_constants"):
    providers._get_local_constants = lambda: providers._local_constants

#: Always the same examples, whatever else is tried before, and no notes about them on disk.
ALWAYS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow],
)

TIME = "2026-11-22T21:07:00.123Z"
RETURNED = m.Returned(code="unknown-recipient", recipient="bob", note="There is no account bob.")
MESSAGE = m.Message(
    id=17,
    sender="alice",
    recipient="alice",
    time=TIME,
    subject="hi",
    body="\x00\x1b[2J é 😀\r\n",
    ref="c1",
    receipt=True,
    returned=RETURNED,
    again=True,
    state="returned",
)
ENTRY = m.Entry(
    id=200,
    sender="alice",
    recipient="bob",
    time=TIME,
    subject="",
    state="returned",
    returned=RETURNED,
)
EXCERPT = m.Entry(
    id=17,
    sender="bob",
    recipient="alice",
    time=TIME,
    state="waiting",
    excerpt="... the caf\u00e9, as we said ...",
)

#: Every kind of frame, with all that it can hold and with as little as it can.
SAMPLES: tuple[m.Frame, ...] = (
    m.Login(field="username", value="alice"),
    m.Login(field="", value=""),
    m.Login(field="password", value="correct horse", codes=True),
    MESSAGE,
    m.Message(recipient="", body=""),
    m.Version(protocol=1, server="chat 1.0"),
    m.Username(),
    m.Password(),
    m.NewPassword(),
    m.Created(username="alice"),
    m.Created(username="alice", recovery=["h3xt-9wq0-kc7f-2zpm", "0d5r-x8yb-4t1n-vj6e"]),
    m.Welcome(username="alice", waiting=3),
    m.Failed(code="slow-down", reason="Too fast.", ref="c1", seconds=2),
    m.Failed(code="bad-state", reason="Not now."),
    m.Fatal(code="shutting-down", reason="Back soon."),
    m.Accepted(ref="c1", id=128, time=TIME, state="waiting"),
    m.Accepted(id=0, time="1970-01-01T00:00:00.000Z", state=""),
    m.Received(ids=[17, 0, 255, 2**63 - 1]),
    m.Delivered(ids=[17], time="9999-12-31T23:59:59.999Z"),
    m.Delete(ids=[]),
    m.Deleted(ids=[17], missing=[18]),
    m.List(box="inbox", after=16, limit=1000),
    m.List(box="sent"),
    m.Listing(box="sent", messages=[ENTRY], more=True),
    m.Listing(box="inbox", messages=[], more=False),
    m.Read(ids=[17]),
    m.Messages(messages=[MESSAGE, m.Message(recipient="bob", body="x")], missing=[1]),
    m.DeleteAccount(password="correct horse"),
    m.AccountDeleted(),
    m.Ping(),
    m.Pong(),
    m.Quit(),
    m.Bye(),
    m.ChangePassword(password="correct horse", new="battery staple"),
    m.PasswordChanged(),
    m.Token(),
    m.TokenIssued(value="pIWlKRWXGHFTiRq2Xi0qXQqoyBNlSaHYdSAc5NDKxXo", expires=TIME),
    m.Logout(),
    m.Logout(all=True),
    m.LoggedOut(),
    m.Token(),
    m.TokenIssued(value="0f" * 32, expires=TIME),
    m.Logout(all=True),
    m.Logout(),
    m.LoggedOut(),
    m.Recovery(password="correct horse"),
    m.RecoveryCodes(codes=["h3xt-9wq0-kc7f-2zpm", "0d5r-x8yb-4t1n-vj6e"]),
    m.RecoveryCodes(codes=[]),
    m.Block(username="mallory"),
    m.Unblock(username="mallory"),
    m.Blocks(),
    m.Blocked(usernames=["mallory", "\u00e9ve"]),
    m.Blocked(usernames=[]),
    m.Message(recipient="bob", body="The backup is done.", automatic=True),
    m.Message(recipient="bob", body="I am away.", automatic=True, answers=17),
    m.List(box="inbox", before=0, limit=20),
    m.List(box="sent", before=2**63 - 1),
    m.Search(query='from:bob "as we said" caf*', box="inbox", before=118, limit=100),
    m.Search(query=""),
    m.Found(messages=[ENTRY, EXCERPT], more=True, incomplete=True),
    m.Found(messages=[], more=False),
)

#: Strings that have broken programs, and any other.
STRINGS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "\x00",
            '"\\\x7f\x1b]0;x\x07',
            "\r\n",
            "\u2028\u202e\ufeff",
            "\U0001f600\U0010ffff",
            "x" * 127,
            "x" * 128,
            "\u20ac" * 85,
        ]
    ),
    st.just(65536).map(lambda size: "\x01" * size),
)
TIMES = st.integers(0, 253402300799999).map(rfc3339)


def values(kind: Type) -> st.SearchStrategy[Any]:
    """What a field of this type can hold."""
    if isinstance(kind, UnionType):
        return st.one_of([values(one) for one in kind.types if one != _NONE])
    if isinstance(kind, IntType):
        edges = (0, 1, 127, 128, 255, 256, 32768, 2**32, 2**63 - 1)
        allowed = [n for n in edges if kind.ge is not None and kind.ge <= n <= (kind.le or 0)]
        return st.one_of(st.integers(kind.ge, kind.le), st.sampled_from(allowed))
    if isinstance(kind, ListType):
        return st.lists(values(kind.item_type), max_size=4)
    if isinstance(kind, StructType):
        return structs(kind.cls)
    if isinstance(kind, BoolType):
        return st.booleans()
    if isinstance(kind, Metadata):
        return TIMES
    assert isinstance(kind, StrType)
    return STRINGS


_NONE = type_info(None)


def structs(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of one type, its optional fields present or absent."""
    declared = type_info(struct)
    assert isinstance(declared, StructType)
    return st.fixed_dictionaries(
        {f.name: values(f.type) for f in declared.fields if f.required},
        optional={f.name: values(f.type) for f in declared.fields if not f.required},
    ).map(lambda fields: struct(**fields))


#: Any frame.
FRAMES: st.SearchStrategy[m.Frame] = st.one_of(
    [structs(m.Message), structs(m.Login), *[structs(struct) for struct in m.SYSTEM]]
)
#: Pieces to cut a stream into: how long each one is.
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=10)
