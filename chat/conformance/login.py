"""Checks of what is said before the welcome."""

from __future__ import annotations

import time

from chat.conformance.check import (
    CLOSED,
    TERMINATE,
    TIMEOUT,
    Room,
    check,
    holds,
    log_in,
    same,
    send,
    sign_up,
)

BEFORE = "Before the welcome"


@check(BEFORE)
def greeting(room: Room) -> None:
    """The server speaks first: version, with protocol 1 and its name, then the prompt username."""
    connection = room.connect()
    connection.answer("version", protocol=1)
    connection.answer("username")


@check(BEFORE)
def signing_up(room: Room) -> None:
    """An unknown name is asked for a new password; then the account is created, and username comes again."""
    sign_up(room.stranger(), room.fresh())


@check(BEFORE)
def logging_in(room: Room) -> None:
    """A known name is asked for its password; the right one is welcome, with the name and what waits."""
    account = room.account()
    same("how many messages wait for a new account", log_in(room.stranger(), account), 0)


@check(BEFORE)
def wrong_password(room: Room) -> None:
    """A wrong password is refused, username is asked again, and the right password still works."""
    account = room.account()
    connection = room.stranger()
    connection.login("username", account.name)
    connection.answer("password")
    connection.login("password", account.password + "x")
    connection.refused("wrong-password")
    connection.answer("username")
    log_in(connection, account)


@check(BEFORE)
def login_at_once(room: Room) -> None:
    """User name and password may be sent at once; frames sent behind them wait for the welcome."""
    account = room.account()
    connection = room.stranger()
    connection.write(
        connection.encoded("login", field="username", value=account.name)
        + connection.encoded("login", field="password", value=account.password)
        + connection.encoded("message", recipient=account.name, body="at once", ref="r")
        + connection.encoded("system", keyword="ping")
    )
    connection.answer("password")
    connection.answer("welcome", username=account.name)
    connection.answer("accepted", ref="r", state="waiting")
    connection.answer("pong")
    connection.delivery(body="at once")


@check(BEFORE)
def sign_up_at_once(room: Room) -> None:
    """Sign-up and login may be sent in one piece; each prompt is still said."""
    account = room.fresh()
    connection = room.stranger()
    name = connection.encoded("login", field="username", value=account.name)
    password = connection.encoded("login", field="password", value=account.password)
    connection.write(name + password + name + password)
    connection.answer("new-password")
    connection.answer("created", username=account.name)
    connection.answer("username")
    connection.answer("password")
    connection.answer("welcome", username=account.name)


@check(BEFORE)
def bad_names(room: Room) -> None:
    """Names that are empty, hold a space or a control character or are too long are refused: bad-name."""
    connection = room.stranger()
    for name in ("", " ", "two words", "tab\tbed", "nul\0", "line\nbreak", "x" * 65, "\u00e9" * 33):
        connection.login("username", name)
        connection.refused("bad-name")
        connection.answer("username")


@check(BEFORE)
def longest_name(room: Room) -> None:
    """A name may have 64 bytes."""
    account = room.fresh()
    account = account._replace(name=account.name.ljust(64, "x"))
    sign_up(room.stranger(), account)
    room.enter(account)


@check(BEFORE)
def prepared_names(room: Room) -> None:
    """Names are compared and shown in their prepared form: case and composition make no difference."""
    account = room.fresh()
    typed, prepared = f"{account.name.upper()}E\u0301", f"{account.name}\u00e9"
    connection = room.stranger()
    for field, value, answers in (
        ("username", typed, ["new-password"]),
        ("password", account.password, ["created", "username"]),
        ("username", typed, ["password"]),
        ("password", account.password, ["welcome"]),
    ):
        connection.login(field, value)
        for keyword in answers:
            name = {"username": prepared} if keyword in ("created", "welcome") else {}
            connection.answer(keyword, **name)
    send(connection, typed, "to whom?")
    connection.delivery(sender=prepared, recipient=prepared, body="to whom?")


@check(BEFORE)
def bad_passwords(room: Room) -> None:
    """A new password under 8 or over 1024 bytes or with a control character is refused: bad-password."""
    account = room.fresh()
    connection = room.stranger()
    for password in ("", "seven 7", "x" * 1025, "control\tcharacter", "control\0character"):
        connection.login("username", account.name)
        connection.answer("new-password")
        connection.login("password", password)
        connection.refused("bad-password")
        connection.answer("username")
    sign_up(connection, account)


@check(BEFORE)
def long_passwords(room: Room) -> None:
    """Passwords of 8 and of 1024 bytes are taken, and told apart in their last byte."""
    for size in (8, 1024):
        account = room.fresh()._replace(password="p" * size)
        connection = room.stranger()
        sign_up(connection, account)
        connection.login("username", account.name)
        connection.answer("password")
        connection.login("password", "p" * (size - 1) + "q")
        connection.refused("wrong-password")
        connection.answer("username")
        log_in(connection, account)


@check(BEFORE)
def prepared_passwords(room: Room) -> None:
    """Passwords are compared as RFC 8265 says: case matters, composition does not."""
    account = room.fresh()._replace(password="Caf\u00e9 au lait")
    connection = room.stranger()
    sign_up(connection, account)
    connection.login("username", account.name)
    connection.answer("password")
    connection.login("password", "caf\u00e9 au lait")
    connection.refused("wrong-password")
    connection.answer("username")
    log_in(connection, account._replace(password="Cafe\u0301 au lait"))


@check(BEFORE)
def prompt_after_refusal(room: Room) -> None:
    """A refusal before the login is followed by the prompt that is now to be answered."""
    account = room.account()
    connection = room.stranger()
    connection.login("password", account.password)
    connection.answer("failed")
    connection.answer("username")
    connection.login("colour", "blue")
    connection.refused("bad-frame")
    connection.answer("username")
    connection.login("username", account.name)
    connection.answer("password")
    connection.system("pong")
    connection.refused("bad-frame")
    connection.answer("password")
    connection.login("password", account.password)
    connection.answer("welcome", username=account.name)


@check("Refusals")
def message_before_login(room: Room) -> None:
    """A message or a command before the welcome is refused, with its ref: bad-state."""
    account = room.account()
    connection = room.stranger()
    connection.message(account.name, "too early", ref="r1")
    connection.refused("bad-state", ref="r1")
    connection.answer("username")
    connection.system("list", box="inbox")
    connection.refused("bad-state")
    connection.answer("username")
    log_in(connection, account)
    connection.undisturbed()


@check("Refusals")
def login_after_login(room: Room) -> None:
    """A login frame after the welcome is refused, and the session goes on: bad-state."""
    account = room.account()
    connection = room.enter(account)
    connection.login("username", account.name)
    connection.refused("bad-state")
    connection.login("password", account.password)
    connection.refused("bad-state")
    connection.settle()


@check(BEFORE)
def waiting_mail(room: Room) -> None:
    """The welcome counts what waits and comes before it; then it is delivered, oldest first."""
    account, sender = room.account(), room.user()
    ids = [send(sender, account.name, f"number {number}") for number in range(5)]
    connection = room.stranger()
    same("how many messages wait", log_in(connection, account), 5)
    same("the ids delivered", [connection.delivery()["id"] for _ in ids], ids)
    keywords = [said.keyword for said in connection.heard]
    holds(
        "a message was delivered before the welcome",
        keywords.index("welcome") < keywords.index("message"),
    )


@check(BEFORE)
def several_sessions(room: Room) -> None:
    """Each session of an account is sent every message, and the first received settles it."""
    account, sender = room.account(), room.user()
    one, other = room.enter(account), room.enter(account)
    id = send(sender, account.name, receipt=True)
    one.delivery(id=id)
    other.delivery(id=id)
    other.system("received", ids=[id])
    sender.notice(ids=[id])
    one.system("received", ids=[id])
    one.undisturbed()
    sender.undisturbed()
    same("how many messages wait", log_in(room.stranger(), account), 0)


@check(BEFORE, needs=CLOSED)
def closed_sign_up(room: Room) -> None:
    """Where sign-up is not open, known and unknown names get the same prompts and the same answers."""
    names = [room.fresh().name]
    if room.server.known is not None:
        names.append(room.server.known)
    said = []
    for name in names:
        connection = room.stranger()
        connection.login("username", name)
        connection.answer("password")
        connection.login("password", room.fresh().password)
        said.append(connection.refused("wrong-password"))
        connection.answer("username")
    same("the refusals", said, said[:1] * len(said))


@check(BEFORE, needs=TIMEOUT)
def login_timeout(room: Room) -> None:
    """A login that is not complete in time is fatal, whatever is said meanwhile: login-timeout."""
    limit = room.server.login_timeout
    assert limit is not None
    silent, talking = room.connect(limit + 5), room.connect(limit + 5)
    for connection in (silent, talking):
        connection.answer("version")
        connection.answer("username")
    begun = time.monotonic()
    talking.login("username", room.fresh().name)
    talking.answer("new-password")
    for connection in (silent, talking):
        connection.fatal("login-timeout")
    holds("the time for a login was cut short", time.monotonic() - begun > limit * 0.8)


@check("Refusals", needs=TERMINATE)
def shutting_down(room: Room) -> None:
    """A server that stops says so to every connection, logged in or not: shutting-down."""
    import os
    import signal

    assert room.server.process is not None
    connections = [room.user(), room.stranger()]
    os.kill(room.server.process, signal.SIGTERM)
    for connection in connections:
        connection.fatal("shutting-down")
