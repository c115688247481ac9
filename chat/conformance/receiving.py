"""Checks of receiving, and of receipts."""

from __future__ import annotations

from typing import Any

from chat.conformance.check import Room, check, confirm, entry, log_in, same, send

RECEIVING = "Receiving"
RECEIPTS = "Receipts"


@check(RECEIVING)
def comes_again(room: Room) -> None:
    """What was not confirmed is delivered again at each login, with the same id, time and contents."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    id = send(sender, account.name, "important", subject="s")
    first = bob.delivery(id=id)
    bob.close()
    for _ in range(2):
        bob = room.stranger()
        same("how many messages wait", log_in(bob, account), 1)
        bob.delivery(
            id=id,
            time=first["time"],
            sender=sender.name,
            recipient=account.name,
            subject="s",
            body="important",
        )
        bob.close()


@check(RECEIVING)
def confirmed_never_again(room: Room) -> None:
    """What was confirmed never comes again; what was sent beside it does."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    ids = [send(sender, account.name) for _ in range(3)]
    for id in ids:
        bob.delivery(id=id)
    confirm(bob, ids[1])
    bob.undisturbed()
    bob.close()
    bob = room.stranger()
    same("how many messages wait", log_in(bob, account), 2)
    bob.delivery(id=ids[0])
    bob.delivery(id=ids[2])
    bob.undisturbed()


@check(RECEIVING)
def ignored_receipts(room: Room) -> None:
    """received for an id that is unknown, another's or settled already is ignored, and has no answer."""
    account, sender = room.account(), room.user()
    bob, mallory = room.enter(account), room.user()
    id = send(sender, account.name, receipt=True)
    bob.delivery(id=id)
    for stranger in (mallory, sender):
        stranger.system("received", ids=[id])
        stranger.settle()
    bob.system("received", ids=[0, 2**63 - 1])
    bob.system("received", ids=[])
    bob.settle()
    sender.undisturbed()
    bob.close()
    bob = room.stranger()
    same("how many messages wait", log_in(bob, account), 1)
    bob.delivery(id=id)
    bob.system("received", ids=[id, id])
    sender.notice(ids=[id])
    bob.system("received", ids=[id])
    bob.settle()
    sender.undisturbed()


@check(RECEIVING)
def once_in_a_session(room: Room) -> None:
    """One session never gets the same id twice, whatever the other sessions and the sender do."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    id = send(sender, account.name, ref="r")
    bob.delivery(id=id)
    room.enter(account).delivery(id=id)
    sender.message(account.name, "hello", ref="r")
    sender.answer("accepted", id=id)
    bob.undisturbed()


@check("Logged in")
def order_of_acceptance(room: Room) -> None:
    """From one sender, messages are delivered in the order of acceptance, online and after."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    ids = [send(sender, account.name) for _ in range(10)]
    same("the ids delivered", [bob.delivery()["id"] for _ in ids], ids)
    bob.close()
    bob = room.enter(account)
    same("the ids delivered after a login", [bob.delivery()["id"] for _ in ids], ids)


@check(RECEIPTS)
def receipt(room: Room) -> None:
    """With receipt, all sessions of the sender are told delivered, with the id and a time."""
    account, bob = room.account(), room.user()
    one, other = room.enter(account), room.enter(account)
    id = send(one, bob.name, receipt=True)
    bob.delivery(id=id)
    one.undisturbed()
    bob.system("received", ids=[id])
    one.notice(ids=[id])
    other.notice(ids=[id])
    one.undisturbed()


@check(RECEIPTS)
def no_receipt(room: Room) -> None:
    """Without receipt, or with false, the sender is told nothing."""
    alice, bob = room.couple()
    without: tuple[dict[str, Any], ...] = ({}, {"receipt": False})
    for more in without:
        id = send(alice, bob.name, **more)
        bob.delivery(id=id)
        confirm(bob, id)
        alice.undisturbed()


@check(RECEIPTS)
def sender_away(room: Room) -> None:
    """A sender who was away finds the state with list."""
    account, bob = room.account(), room.user()
    alice = room.enter(account)
    id = send(alice, bob.name, receipt=True)
    alice.close()
    bob.delivery(id=id)
    confirm(bob, id)
    alice = room.enter(account)
    same("the state in sent", entry(alice, "sent", id)["state"], "delivered")
