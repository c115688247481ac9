"""Checks of blocking, and of automatic messages: a server may do without either."""

from __future__ import annotations

from chat.conformance.check import NotThere, Room, check, optional, read, returned, same, send
from chat.conformance.talk import Connection

BLOCKS = "Who is not heard"
AUTOMATIC = "Automatic messages"


def change(connection: Connection, keyword: str, **data: object) -> list[str]:
    """The names that are answered.

    @raise NotThere: the server refuses the word as one that it does not know.
    """
    names: list[str] = optional(connection, keyword, "blocked", "blocks", **data)["usernames"]
    return names


@check(BLOCKS)
def blocking(room: Room) -> None:
    """What a blocked account sends goes back to it; what others send, and what it sent before, does not."""
    alice, mallory = room.couple()
    bob = room.user()
    before = send(mallory, alice.name)
    same("the names", change(alice, "block", username=mallory.name.upper()), [mallory.name])
    alice.delivery(id=before)
    mallory.message(alice.name, "psst", ref="m")
    id = mallory.answer("accepted", ref="m", state="returned")["id"]
    why = returned(mallory.delivery(id=id, body="psst"))
    same("why it came back", (why["code"], why["recipient"]), ("blocked", alice.name))
    alice.delivery(id=send(bob, alice.name))
    mallory.delivery(id=send(alice, mallory.name))
    alice.settle()


@check(BLOCKS)
def unblocking(room: Room) -> None:
    """unblock ends it, blocks only asks, and each is answered by all names in their order."""
    alice, mallory = room.couple()
    eve = room.account().name
    change(alice, "block", username=mallory.name)
    both = sorted([mallory.name, eve])
    for keyword, data, names in (
        ("block", {"username": eve}, both),
        ("block", {"username": eve}, both),
        ("blocks", {}, both),
        ("unblock", {"username": mallory.name}, [eve]),
        ("unblock", {"username": mallory.name}, [eve]),
    ):
        same(f"the names after {keyword}", change(alice, keyword, **data), names)
    alice.delivery(id=send(mallory, alice.name))


@check(BLOCKS)
def blocking_nobody(room: Room) -> None:
    """A name that no account has cannot be blocked: unknown-recipient."""
    alice = room.user()
    change(alice, "blocks")
    alice.system("block", username=room.fresh().name)
    alice.refused("unknown-recipient")
    same("the names", change(alice, "blocks"), [])


@check(AUTOMATIC)
def automatic_messages(room: Room) -> None:
    """A message that a program wrote is marked so when it comes, is read, and comes back; no other is."""
    alice, bob = room.couple()
    id = send(alice, bob.name, automatic=True)
    if "automatic" not in bob.delivery(id=id):
        raise NotThere("the server does not know automatic messages, which are optional")
    bob.delivery(id=send(alice, bob.name), automatic=None)
    same("whether it is marked when it is read", read(bob, id).get("automatic"), True)
    nobody = room.fresh().name
    alice.message(nobody, "hello", automatic=True)
    id = alice.answer("accepted", state="returned")["id"]
    same("whether it is marked when it comes back", alice.delivery(id=id).get("automatic"), True)


@check(AUTOMATIC)
def answers_to_programs(room: Room) -> None:
    """What a program answers to a program, or to what came back, is refused; all other answers are not."""
    alice, bob = room.couple()
    written, told = send(alice, bob.name), send(alice, bob.name, automatic=True)
    bob.delivery(id=written)
    if "automatic" not in bob.delivery(id=told):
        raise NotThere("the server does not know automatic messages, which are optional")
    alice.message(room.fresh().name, "hello")
    back = alice.answer("accepted", state="returned")["id"]
    alice.delivery(id=back)
    bob.message(alice.name, "I am away.", ref="loop", automatic=True, answers=told)
    bob.refused("automatic-loop", ref="loop")
    alice.message(bob.name, "I am away.", ref="loop", automatic=True, answers=back)
    alice.refused("automatic-loop", ref="loop")
    alice.delivery(id=send(bob, alice.name, automatic=True, answers=written))
    alice.delivery(id=send(bob, alice.name, answers=told))
    alice.settle()
