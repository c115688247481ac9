"""Checks of the account's own commands, and of the connection's."""

from __future__ import annotations

from chat.conformance.check import Room, check, entry, log_in, read, returned, same, send, sign_up
from chat.conformance.talk import match

ACCOUNT = "The account"
CONNECTION = "The connection"


@check(ACCOUNT)
def changing_password(room: Room) -> None:
    """change-password asks for the present one; then the new one works, and the old one does not."""
    account = room.account()
    alice, other = room.enter(account), room.enter(account)
    new = room.fresh().password
    alice.system("change-password", password="not " + account.password, new=new)
    alice.refused("wrong-password")
    alice.system("change-password", password=account.password, new="short")
    alice.refused("bad-password")
    alice.system("change-password", password=account.password, new=new)
    alice.answer("password-changed")
    other.settle()
    stranger = room.stranger()
    stranger.login("username", account.name)
    stranger.answer("password")
    stranger.login("password", account.password)
    stranger.refused("wrong-password")
    stranger.answer("username")
    log_in(stranger, account._replace(password=new))


@check(ACCOUNT)
def deleting_account(room: Room) -> None:
    """delete-account asks for the password; then the session is before the login, and may log in again."""
    account, next_one = room.account(), room.account()
    alice = room.enter(account)
    alice.system("delete-account", password="not " + account.password)
    alice.refused("wrong-password")
    alice.settle()
    alice.system("delete-account", password=account.password)
    alice.answer("account-deleted")
    alice.answer("username")
    alice.message(next_one.name, "too late")
    alice.refused("bad-state")
    alice.answer("username")
    log_in(alice, next_one)
    alice.undisturbed()


@check(ACCOUNT)
def reserved_name(room: Room) -> None:
    """The name of a deleted account is reserved: to sign up for it is refused, name-reserved."""
    account = room.account()
    alice = room.enter(account)
    alice.system("delete-account", password=account.password)
    alice.answer("account-deleted")
    alice.answer("username")
    alice.login("username", account.name.upper())
    said = alice.any_answer("failed")
    if said.keyword == "new-password":  # it is left open when a server says so
        alice.login("password", account.password)
        said = alice.any_answer("failed")
    match(said, "failed", code="name-reserved")
    alice.answer("username")
    sign_up(alice, room.fresh())


@check(ACCOUNT)
def account_gone(room: Room) -> None:
    """The other sessions of a deleted account end: account-gone."""
    account = room.account()
    alice, other = room.enter(account), room.enter(account)
    alice.system("delete-account", password=account.password)
    alice.answer("account-deleted")
    other.fatal("account-gone")


@check(ACCOUNT)
def mail_of_deleted_account(room: Room) -> None:
    """What waits for a deleted account goes back to its senders, and so does new mail: account-deleted."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    waiting = send(sender, account.name, "wait", subject="s")
    delivered = send(sender, account.name, receipt=True)
    bob.delivery(id=waiting)
    bob.delivery(id=delivered)
    bob.system("received", ids=[delivered])
    sender.notice(ids=[delivered])
    bob.system("delete-account", password=account.password)
    bob.answer("account-deleted")
    me = sender.name
    why = returned(sender.delivery(id=waiting, sender=me, recipient=me, subject="s", body="wait"))
    same("why", (why["code"], why["recipient"]), ("account-deleted", account.name))
    same("the fate of what waited", entry(sender, "sent", waiting)["state"], "returned")
    same("the fate of what was delivered", entry(sender, "sent", delivered)["state"], "delivered")
    sender.message(account.name, "too late")
    late = sender.answer("accepted", state="returned")["id"]
    same("why", returned(sender.delivery(id=late))["code"], "account-deleted")
    sender.undisturbed()


@check(ACCOUNT)
def sender_gone(room: Room) -> None:
    """What a deleted account had sent is delivered all the same, with its sender's name."""
    account, bob = room.account(), room.account()
    alice = room.enter(account)
    id = send(alice, bob.name, "farewell", receipt=True)
    alice.system("delete-account", password=account.password)
    alice.answer("account-deleted")
    heir = room.stranger()
    same("how many messages wait", log_in(heir, bob), 1)
    heir.delivery(id=id, sender=account.name, body="farewell")
    heir.system("received", ids=[id])
    heir.settle()
    same("the body that was read", read(heir, id)["body"], "farewell")


@check(CONNECTION)
def ping(room: Room) -> None:
    """ping is answered by pong, each by its own."""
    alice = room.user()
    alice.write(alice.encoded("system", keyword="ping") * 3)
    for _ in range(3):
        alice.answer("pong")
    alice.settle()


@check(CONNECTION)
def quitting(room: Room) -> None:
    """quit is answered by bye after all other answers; then the connection closes."""
    alice, bob = room.couple()
    alice.write(
        alice.encoded("message", recipient=bob.name, body="last", ref="1")
        + alice.encoded("system", keyword="list", box="sent")
        + alice.encoded("message", recipient=bob.name, body="very last", ref="2")
        + alice.encoded("system", keyword="quit")
    )
    alice.answer("accepted", ref="1")
    alice.answer("listing")
    alice.answer("accepted", ref="2")
    alice.answer("bye")
    alice.closed()
    bob.delivery(body="last")
    bob.delivery(body="very last")


@check(CONNECTION)
def hanging_up(room: Room) -> None:
    """A client may just close: what was accepted is delivered, and what is repeated makes no copy."""
    account, bob = room.account(), room.user()
    alice = room.enter(account)
    alice.message(bob.name, "in haste", ref="r")
    alice.close()
    alice = room.enter(account)
    id = send(alice, bob.name, "in haste", ref="r")
    bob.delivery(id=id, body="in haste")
    bob.undisturbed()
