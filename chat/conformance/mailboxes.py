"""Checks of list, read and delete."""

from __future__ import annotations

from chat.conformance.check import (
    Room,
    check,
    confirm,
    entry,
    holds,
    listed,
    log_in,
    read,
    same,
    send,
)
from chat.conformance.talk import Connection

BOXES = "Mailboxes"


def _ids(connection: Connection, box: str, **more: object) -> list[int]:
    return [each["id"] for each in listed(connection, box, **more)]


@check(BOXES)
def inbox_and_sent(room: Room) -> None:
    """A message is listed in its recipient's inbox and in its sender's sent, with all but its body."""
    alice, bob = room.couple()
    alice.message(bob.name, "body", subject="s")
    answer = alice.answer("accepted")
    wanted = {
        "id": answer["id"],
        "sender": alice.name,
        "recipient": bob.name,
        "time": answer["time"],
        "subject": "s",
        "state": "waiting",
    }
    for connection, box in ((bob, "inbox"), (alice, "sent")):
        entries = listed(connection, box)
        same(f"how many entries {box} has", len(entries), 1)
        got = entries[0]
        same(f"the entry in {box}", {name: got.get(name) for name in wanted}, wanted)
        holds(f"an entry in {box} has a body, or came back", not {"body", "returned"} & set(got))
    same("the other boxes", (listed(alice, "inbox"), listed(bob, "sent")), ([], []))


@check(BOXES)
def states(room: Room) -> None:
    """Both boxes show waiting until the recipient confirms, even if it was shown, and delivered after."""
    alice, bob = room.couple()
    id = send(alice, bob.name)
    bob.delivery(id=id)
    for state in ("waiting", "delivered"):
        same("the state in inbox", entry(bob, "inbox", id)["state"], state)
        same("the state in sent", entry(alice, "sent", id)["state"], state)
        same("the state in read", read(bob, id)["state"], state)
        confirm(bob, id)


@check(BOXES)
def pages(room: Room) -> None:
    """A listing ascends, without after itself, at most limit entries, and more tells of others."""
    alice = room.user()
    ids = [send(alice, alice.name) for _ in range(5)]
    for after, limit, wanted, more in (
        (0, 5, ids, False),
        (0, 4, ids[:4], True),
        (ids[0], 2, ids[1:3], True),
        (ids[2], 2, ids[3:], False),
        (ids[2] - 1, 1, ids[2:3], True),
        (ids[4], 1, [], False),
        (2**63 - 1, 1000, [], False),
    ):
        for box in ("inbox", "sent"):
            alice.system("list", box=box, after=after, limit=limit)
            answer = alice.answer("listing", box=box)
            same("the ids listed", [each["id"] for each in answer["messages"]], wanted)
            same("more", answer["more"], more)


@check(BOXES)
def default_page(room: Room) -> None:
    """Without limit a listing has at most 100 entries, without after it begins with the first."""
    alice = room.user()
    alice.write(alice.encoded("message", recipient=alice.name, body="") * 101)
    ids = [alice.answer("accepted")["id"] for _ in range(101)]
    alice.system("list", box="inbox")
    answer = alice.answer("listing", box="inbox", more=True)
    same("the ids listed", [each["id"] for each in answer["messages"]], ids[:100])
    same("the next page", _ids(alice, "inbox", after=ids[99]), ids[100:])
    same("the ids on a page of 1000", _ids(alice, "inbox", limit=1000), ids)


@check(BOXES)
def unknown_box(room: Room) -> None:
    """There are no other boxes than inbox and sent: bad-frame."""
    alice = room.user()
    alice.system("list", box="drafts")
    alice.refused("bad-frame")
    alice.settle()


@check(BOXES)
def reading(room: Room) -> None:
    """read gives whole messages, of the own mailbox and sent ones, and names what is missing."""
    alice, bob = room.couple()
    id = send(alice, bob.name, "body", subject="s")
    delivered = bob.delivery(id=id)
    other = send(alice, alice.name)
    bob.system("read", ids=[id, other, 2**63 - 1])
    answer = bob.answer("messages", missing=[other, 2**63 - 1])
    same("how many messages were read", len(answer["messages"]), 1)
    got = answer["messages"][0]
    for field in ("id", "sender", "recipient", "time", "subject", "body"):
        same(f"the {field} that was read", got.get(field), delivered[field])
    same("the state that was read", got["state"], "waiting")
    same("the sender's reading", read(alice, id)["body"], "body")
    bob.undisturbed()


@check(BOXES)
def reading_confirms_nothing(room: Room) -> None:
    """What was only read still waits, and comes at the next login."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    id = send(sender, account.name)
    bob.delivery(id=id)
    read(bob, id)
    bob.close()
    bob = room.stranger()
    same("how many messages wait", log_in(bob, account), 1)
    bob.delivery(id=id)


@check("Limits")
def read_limit(room: Room) -> None:
    """read takes 100 ids; more are too-large."""
    alice = room.user()
    id = send(alice, alice.name)
    far = list(range(2**62, 2**62 + 99))
    alice.system("read", ids=[id, *far])
    same("how many were read", len(alice.answer("messages", missing=far)["messages"]), 1)
    alice.system("read", ids=[id, *far, 2**62 + 99])
    alice.refused("too-large")


@check(BOXES)
def deleting(room: Room) -> None:
    """delete removes from the own mailbox what is there, and says missing of the rest."""
    alice, bob = room.couple()
    ids = [send(alice, bob.name) for _ in range(3)]
    confirm(bob, ids[0])
    bob.system("delete", ids=[ids[0], ids[1], 2**63 - 1])
    bob.answer("deleted", ids=ids[:2], missing=[2**63 - 1])
    bob.system("delete", ids=[ids[0]])
    bob.answer("deleted", ids=[], missing=[ids[0]])
    same("the inbox", _ids(bob, "inbox"), ids[2:])
    bob.system("read", ids=ids[:2])
    bob.answer("messages", messages=[], missing=ids[:2])
    same(
        "what the sender sees",
        [each["state"] for each in listed(alice, "sent")],
        ["delivered"] * 2 + ["waiting"],
    )


@check(BOXES)
def deleting_confirms(room: Room) -> None:
    """Deleting a message that still waits confirms it first: its sender is told delivered."""
    account, sender = room.account(), room.user()
    bob = room.enter(account)
    id = send(sender, account.name, receipt=True)
    bob.delivery(id=id)
    bob.system("delete", ids=[id])
    bob.answer("deleted", ids=[id], missing=[])
    sender.notice(ids=[id])
    same("the state in sent", entry(sender, "sent", id)["state"], "delivered")
    same("how many messages wait", log_in(room.stranger(), account), 0)


@check(BOXES)
def recalling(room: Room) -> None:
    """delete recalls what I sent and still waits, even if it was shown: it never comes again."""
    account, alice = room.account(), room.user()
    bob = room.enter(account)
    shown = send(alice, account.name)
    bob.delivery(id=shown)
    bob.close()
    hidden, kept = send(alice, account.name), send(alice, account.name)
    alice.system("delete", ids=[shown, hidden])
    alice.answer("deleted", ids=[shown, hidden], missing=[])
    same(
        "the states in sent",
        [each["state"] for each in listed(alice, "sent")],
        ["recalled", "recalled", "waiting"],
    )
    bob = room.stranger()
    same("how many messages wait", log_in(bob, account), 1)
    bob.delivery(id=kept)
    same("the inbox", _ids(bob, "inbox"), [kept])
    bob.system("received", ids=[shown])
    bob.settle()
    same("the fate of the recalled", entry(alice, "sent", shown)["state"], "recalled")


@check(BOXES)
def not_mine_to_delete(room: Room) -> None:
    """What I sent and was delivered, and what is another's, is missing to delete, and stays."""
    alice, bob = room.couple()
    mallory = room.user()
    id = send(alice, bob.name)
    bob.delivery(id=id)
    mallory.system("delete", ids=[id])
    mallory.answer("deleted", ids=[], missing=[id])
    mallory.system("read", ids=[id])
    mallory.answer("messages", messages=[], missing=[id])
    same("the state in inbox", entry(bob, "inbox", id)["state"], "waiting")
    confirm(bob, id)
    alice.system("delete", ids=[id])
    alice.answer("deleted", ids=[], missing=[id])
    same("the inbox", _ids(bob, "inbox"), [id])
