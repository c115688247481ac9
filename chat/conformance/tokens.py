"""Checks of tokens, which a server may do without: then these are skipped."""

from __future__ import annotations

from chat.conformance.check import Room, check, log_in, optional, same, send, sign_up
from chat.conformance.proofs import Proof
from chat.conformance.talk import Connection

TOKENS = "Tokens"
TOKEN = Proof("token")


def token(connection: Connection) -> str:
    """A token of whoever is logged in there.

    @raise NotThere: the server refuses the word as one that it does not know.
    """
    value: str = optional(connection, "token", "token-issued", "tokens")["value"]
    return value


@check(TOKENS)
def resuming(room: Room) -> None:
    """A token logs in without the password, on any connection, as often as it is shown."""
    account, sender = room.account(), room.user()
    value = token(room.enter(account))
    send(sender, account.name, "waiting")
    for waiting in (1, 0):
        connection = room.stranger()
        TOKEN.show(connection, account.name.upper(), value)
        welcome = connection.answer("welcome", username=account.name)
        same("how many messages wait", welcome["waiting"], waiting)
        if waiting:
            id = connection.delivery(body="waiting")["id"]
            connection.system("received", ids=[id])
            connection.settle()


@check(TOKENS)
def token_at_once(room: Room) -> None:
    """User name and token may be sent at once; frames behind them wait for the welcome."""
    account = room.account()
    value = token(room.enter(account))
    connection = room.stranger()
    connection.write(
        connection.encoded("login", field="username", value=account.name)
        + connection.encoded("login", field="token", value=value)
        + connection.encoded("system", keyword="ping")
    )
    connection.answer("password")
    connection.answer("welcome", username=account.name)
    connection.answer("pong")


@check(TOKENS)
def wrong_tokens(room: Room) -> None:
    """Another's token or none at all is refused, also for a free name, and makes no account: wrong-token."""
    account, other = room.account(), room.account()
    value = token(room.enter(account))
    connection = room.stranger()
    TOKEN.not_taken(connection, other.name, value)
    TOKEN.not_taken(connection, account.name, value[:-1])
    TOKEN.not_taken(connection, account.name, "")
    free = room.fresh()
    TOKEN.not_taken(connection, free.name, value, "new-password")
    sign_up(connection, free)
    connection.login("token", value)
    connection.refused("bad-state")
    connection.answer("username")
    log_in(connection, account)


@check(TOKENS)
def logging_out(room: Room) -> None:
    """logout revokes the tokens of the login; with all, every one, and the other sessions end."""
    account = room.account()
    one, two = room.enter(account), room.enter(account)
    first, second = token(one), token(two)
    one.system("logout")
    one.answer("logged-out")
    one.answer("username")
    TOKEN.not_taken(one, account.name, first)
    TOKEN.show(one, account.name, second)
    one.answer("welcome", username=account.name)
    third = token(one)
    two.system("logout", all=True)
    two.answer("logged-out")
    two.answer("username")
    one.fatal("logged-out-elsewhere")
    for value in (second, third):
        TOKEN.not_taken(two, account.name, value)
    log_in(two, account)


@check(TOKENS)
def tokens_and_passwords(room: Room) -> None:
    """A new password revokes every token, and who was logged in with the old one is given no other."""
    account = room.account()
    alice, other = room.enter(account), room.enter(account)
    value = token(other)
    alice.system("change-password", password=account.password, new=room.fresh().password)
    alice.answer("password-changed")
    TOKEN.not_taken(room.stranger(), account.name, value)
    other.system("token")
    other.refused("bad-state")
    again = room.stranger()
    TOKEN.show(again, account.name, token(alice))
    again.answer("welcome", username=account.name)
