"""Checks of recovery codes, invitations and guessing, all of which a server may do without."""

from __future__ import annotations

import time

from chat.conformance.check import (
    CLOSED,
    INVITED,
    Account,
    NotThere,
    Room,
    check,
    holds,
    log_in,
    same,
    sign_up,
)
from chat.conformance.proofs import Proof
from chat.conformance.talk import Connection, match

CODES = "Recovery codes"
CODE = Proof("recovery")
#: No server that slows guessing down lets so many wrong passwords pass.
GUESSES = 40
#: A longer wait is not waited for.
LONGEST_WAIT = 5.0


def codes(connection: Connection, account: Account) -> list[str]:
    """The recovery codes of a new account.

    @raise NotThere: the server gives none.
    """
    connection.login("username", account.name)
    connection.answer("new-password")
    connection.login("password", account.password, codes=True)
    given: list[str] = connection.answer("created", username=account.name).get("recovery", [])
    connection.answer("username")
    if not given:
        raise NotThere("the server gives no recovery codes, which are optional")
    same("how many of the recovery codes differ", len(set(given)), len(given))
    return given


@check(CODES)
def recovering(room: Room) -> None:
    """A code lets somebody choose a new password, once; then the new one is right and the old one wrong."""
    account = room.fresh()
    connection = room.stranger()
    given = codes(connection, account)
    new = account._replace(password=room.fresh().password)
    CODE.show(connection, account.name.upper(), given[0].upper())
    connection.answer("new-password")
    connection.login("password", new.password)
    connection.answer("password-changed")
    connection.answer("username")
    connection.login("username", account.name)
    connection.answer("password")
    connection.login("password", account.password)
    connection.refused("wrong-password")
    connection.answer("username")
    CODE.not_taken(connection, account.name, given[0])
    log_in(connection, new)


@check(CODES)
def recovering_badly(room: Room) -> None:
    """A bad new password is refused and leaves the code good: bad-password."""
    account = room.fresh()
    connection = room.stranger()
    given = codes(connection, account)
    for password, answer in (("short", "bad-password"), (account.password, "")):
        CODE.show(connection, account.name, given[0])
        connection.answer("new-password")
        connection.login("password", password)
        if answer:
            connection.refused(answer)
        else:
            connection.answer("password-changed")
        connection.answer("username")


@check(CODES)
def wrong_recovery_codes(room: Room) -> None:
    """Another's code or none is refused, also for a free name, and makes no account: wrong-recovery."""
    account, other, free = room.fresh(), room.account(), room.fresh()
    connection = room.stranger()
    given = codes(connection, account)
    CODE.not_taken(connection, other.name, given[0])
    CODE.not_taken(connection, account.name, given[0][:-1])
    CODE.not_taken(connection, free.name, given[0], "new-password")
    sign_up(connection, free)


@check(CODES)
def new_recovery_codes(room: Room) -> None:
    """recovery, with the password, gives new codes in place of the old ones; without it, wrong-password."""
    account = room.fresh()
    connection = room.stranger()
    given = codes(connection, account)
    log_in(connection, account)
    connection.system("recovery", password=account.password + "x")
    connection.refused("wrong-password")
    connection.system("recovery", password=account.password)
    new = connection.answer("recovery-codes")["codes"]
    same("which codes are given a second time", set(new) & set(given), set())
    stranger = room.stranger()
    CODE.not_taken(stranger, account.name, given[0])
    CODE.show(stranger, account.name, new[0])
    stranger.answer("new-password")


@check("Guessing")
def guessing(room: Room) -> None:
    """Who guesses is told how many seconds to wait, for a free name, too; after them one may log in."""
    account = room.account()
    connection = room.stranger()
    for _ in range(GUESSES):
        connection.login("username", account.name)
        connection.answer("password")
        connection.login("password", account.password + "x")
        said = connection.any_answer("failed")
        match(said, "failed")
        connection.answer("username")
        if said.data["code"] != "wrong-password":
            break
    else:
        raise NotThere("the server lets everybody guess")
    same("the code of the refusal", said.data["code"], "slow-down")
    seconds = said.data.get("seconds", 0)
    holds("it does not say how long to wait", seconds > 0)
    if seconds <= LONGEST_WAIT:
        time.sleep(seconds)
        log_in(connection, account)


@check("Invitations")
def needless_invitation(room: Room) -> None:
    """Where everybody can sign up, an invitation is answered by username, and one signs up as ever."""
    connection = room.stranger()
    connection.login("invite", "7q2m-x0vd-3hfk-p9ws-c41n-ztj8-r5ye")
    said = connection.any_answer("username")
    if said.keyword == "failed" and said.data["code"] == "bad-frame":
        raise NotThere("the server does not know invitations, which are optional")
    match(said, "username")
    sign_up(connection, room.fresh())


@check("Invitations", needs=INVITED)
def invited(room: Room) -> None:
    """With a good invitation one signs up and can log in; without one it is refused: wrong-invite."""
    assert room.server.invitation is not None
    connection = room.stranger()
    connection.login("invite", "no invitation")
    connection.refused("wrong-invite")
    connection.answer("username")
    connection.login("invite", room.server.invitation)
    connection.answer("username")
    account = room.fresh()
    sign_up(connection, account)
    log_in(connection, account)


@check(CODES, needs=CLOSED)
def closed_recovery(room: Room) -> None:
    """Where sign-up is not open, recovery codes are refused alike for known and unknown names."""
    said = []
    for name in (room.fresh().name, *([room.server.known] if room.server.known else [])):
        connection = room.stranger()
        connection.login("username", name)
        connection.answer("password")
        connection.login("recovery", "0000-0000-0000-0000")
        refusal = connection.any_answer("failed")
        match(refusal, "failed")
        if refusal.data["code"] == "bad-frame":
            raise NotThere("the server does not know recovery codes, which are optional")
        same("the code of the refusal", refusal.data["code"], "wrong-recovery")
        said.append(refusal.data)
        connection.answer("username")
    same("the refusals", said, said[:1] * len(said))
