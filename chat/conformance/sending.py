"""Checks of sending, and of messages that come back."""

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
    returned,
    same,
    send,
)

SENDING = "Sending"
BACK = "Messages that come back"
LIMITS = "Limits"

#: Texts that programs have spoilt: controls, line ends, marks, pairs, every length of UTF-8.
DELICATE = (
    "\0\x01\x1b[31m\x7f\x80\x9f",
    "\r\n\r\n \t line ends \n",
    ' "quoted" \\ {"type":"system"} ',
    "\ufeffmarks\u200b\u202e\u2028\u2029",
    "\u00e9 e\u0301 \u20ac \uffff \U0001f600 \U0010ffff",
    " ",
)


@check(SENDING)
def accepted(room: Room) -> None:
    """A message is accepted with its ref, an id, a time and the state waiting, then delivered unaltered."""
    alice, bob = room.couple()
    alice.message(bob.name, "hello", subject="hi", ref="c1")
    answer = alice.answer("accepted", ref="c1", state="waiting")
    got = bob.delivery(
        id=answer["id"],
        time=answer["time"],
        sender=alice.name,
        recipient=bob.name,
        subject="hi",
        body="hello",
        returned=None,
        ref=None,
    )
    holds("a message delivered for the first time is marked again", not got.get("again"))


@check(SENDING)
def without_ref(room: Room) -> None:
    """A message without ref is accepted without one, each time as another message."""
    alice, bob = room.couple()
    first, second = send(alice, bob.name), send(alice, bob.name)
    holds("two messages have one id", first != second)
    bob.delivery(id=first)
    bob.delivery(id=second)


@check(SENDING)
def many_under_way(room: Room) -> None:
    """Of many sends under way the answers come in the order of the sends, with growing ids."""
    alice, bob = room.couple()
    refs = [f"r{number}" for number in range(200)]
    alice.write(*[alice.encoded("message", recipient=bob.name, body=ref, ref=ref) for ref in refs])
    ids = [alice.answer("accepted", ref=ref)["id"] for ref in refs]
    same("the ids", ids, sorted(set(ids)))
    for id, ref in zip(ids, refs):
        bob.delivery(id=id, body=ref)


@check("Logged in")
def order_of_answers(room: Room) -> None:
    """Answers come in the order of the frames, whether these are accepted, refused or commands."""
    alice, bob = room.couple()
    alice.write(
        alice.encoded("message", recipient=bob.name, body="one", ref="1")
        + alice.encoded("message", recipient=bob.name, body="two", ref="2", subject="s" * 257)
        + alice.encoded("system", keyword="list", box="sent")
        + alice.encoded("message", recipient="nobody of that name", body="three", ref="3")
        + alice.encoded("system", keyword="read", ids=[])
        + alice.encoded("system", keyword="delete", ids=[])
        + alice.encoded("system", keyword="pong")
        + alice.encoded("message", recipient=bob.name, body="four", ref="4")
        + alice.encoded("system", keyword="ping")
    )
    alice.answer("accepted", ref="1", state="waiting")
    alice.refused("too-large", ref="2")
    same("how many were sent", len(alice.answer("listing", box="sent")["messages"]), 1)
    alice.answer("accepted", ref="3", state="returned")
    alice.answer("messages", messages=[], missing=[])
    alice.answer("deleted", ids=[], missing=[])
    alice.refused("bad-frame")
    alice.answer("accepted", ref="4", state="waiting")
    alice.answer("pong")


@check(SENDING)
def ids_grow(room: Room) -> None:
    """Ids grow with the order of acceptance, whoever sends."""
    alice, bob = room.couple()
    ids = [send(sender, bob.name) for sender in (alice, bob, bob, alice)]
    same("the ids", ids, sorted(set(ids)))


@check(SENDING)
def repeated_ref(room: Room) -> None:
    """The same ref again gives the same id and time and no second copy, on another connection too."""
    account, bob = room.account(), room.user()
    alice = room.enter(account)
    alice.message(bob.name, "once", ref="r", subject="s")
    first = alice.answer("accepted", ref="r", state="waiting")
    alice.close()
    for _ in range(2):
        alice = room.enter(account)
        alice.message(bob.name, "once", ref="r", subject="s")
        alice.answer("accepted", ref="r", id=first["id"], time=first["time"], state="waiting")
    bob.delivery(id=first["id"])
    bob.undisturbed()
    same("how many were sent", len(listed(alice, "sent")), 1)


@check("Sending")
def repeated_ref_in_one_go(room: Room) -> None:
    """The same ref twice among sends under way makes one message."""
    alice, bob = room.couple()
    alice.write(alice.encoded("message", recipient=bob.name, body="once", ref="r") * 3)
    ids = {alice.answer("accepted", ref="r")["id"] for _ in range(3)}
    same("how many ids one ref has", len(ids), 1)
    bob.delivery(id=ids.pop())
    bob.undisturbed()


@check(SENDING)
def state_now(room: Room) -> None:
    """The accepted for a repeated ref tells the state now: delivered, recalled, returned."""
    alice, bob = room.couple()
    id = send(alice, bob.name, ref="d", receipt=True)
    bob.delivery(id=id)
    bob.system("received", ids=[id])
    alice.notice(ids=[id])
    alice.message(bob.name, "hello", ref="d", receipt=True)
    alice.answer("accepted", ref="d", id=id, state="delivered")
    absent = room.account()
    id = send(alice, absent.name, ref="r")
    alice.system("delete", ids=[id])
    alice.answer("deleted", ids=[id], missing=[])
    alice.message(absent.name, "hello", ref="r")
    alice.answer("accepted", ref="r", id=id, state="recalled")
    id = send(alice, room.fresh().name + "?", ref="x")
    back = alice.delivery(id=id)
    alice.message(returned(back)["recipient"], "hello", ref="x")
    alice.answer("accepted", ref="x", id=id, state="returned")


@check(SENDING)
def ref_after_removal(room: Room) -> None:
    """The ref of a message that was delivered and removed by its recipient still gives the same id."""
    alice, bob = room.couple()
    id = send(alice, bob.name, ref="r")
    bob.delivery(id=id)
    bob.system("delete", ids=[id])
    bob.answer("deleted", ids=[id], missing=[])
    alice.message(bob.name, "hello", ref="r")
    alice.answer("accepted", ref="r", id=id, state="delivered")
    bob.undisturbed()


@check(SENDING)
def reused_ref(room: Room) -> None:
    """The same ref with another recipient, subject or body is refused, with it: ref-reused."""
    alice, bob = room.couple()
    send(alice, bob.name, "body", subject="s", ref="r")
    for recipient, body, more in (
        (alice.name, "body", {"subject": "s"}),
        (bob.name, "other", {"subject": "s"}),
        (bob.name, "body", {"subject": "other"}),
        (bob.name, "body", {"subject": ""}),
        (bob.name, "body", {}),
    ):
        alice.message(recipient, body, ref="r", **more)
        alice.refused("ref-reused", ref="r")
    bob.delivery(body="body")
    bob.undisturbed()
    alice.undisturbed()


@check(SENDING)
def ref_of_each_sender(room: Room) -> None:
    """A ref belongs to its sender: another may use the same."""
    alice, bob = room.couple()
    first, second = send(alice, bob.name, ref="r"), send(bob, bob.name, ref="r")
    holds("two senders with one ref have one id", first != second)


@check(LIMITS)
def ref_limit(room: Room) -> None:
    """A ref has at most 64 bytes; over that, too-large."""
    alice, bob = room.couple()
    for ref in ("r" * 64, "\u20ac" * 21 + "e"):
        send(alice, bob.name, ref=ref)
        bob.delivery()
    for ref in ("r" * 65, "\u20ac" * 21 + "ee"):
        alice.message(bob.name, "hello", ref=ref)
        alice.answer("failed", code="too-large")
    bob.undisturbed()


@check(LIMITS)
def subject_limit(room: Room) -> None:
    """A subject has at most 256 bytes of UTF-8, and is delivered whole; over that, too-large."""
    alice, bob = room.couple()
    for subject in ("s" * 256, "\u20ac" * 85 + "e", "\U0001f600" * 64):
        send(alice, bob.name, subject=subject)
        bob.delivery(subject=subject)
    for subject in ("s" * 257, "\u20ac" * 86, "\U0001f600" * 64 + "e"):
        alice.message(bob.name, "hello", subject=subject, ref=subject[:4])
        alice.refused("too-large", ref=subject[:4])
    bob.undisturbed()


@check(LIMITS)
def body_limit(room: Room) -> None:
    """A body has at most 65536 bytes of UTF-8, and is delivered whole; over that, too-large."""
    alice, bob = room.couple()
    for body in ("b" * 65536, "\x01" * 65536, "\U0001f600" * 16384, "\u20ac" * 21845 + "e"):
        send(alice, bob.name, body)
        holds("a body of 65536 bytes was delivered altered", bob.delivery()["body"] == body)
    for body in ("b" * 65537, "\u20ac" * 21846):
        alice.message(bob.name, body, ref="r")
        alice.refused("too-large", ref="r")
    bob.undisturbed()


@check(LIMITS)
def recipient_limit(room: Room) -> None:
    """A recipient over 4096 bytes is too-large; a shorter one that is no name comes back."""
    alice = room.user()
    alice.message("n" * 4097, "hello", ref="r")
    alice.refused("too-large", ref="r")
    send(alice, "n" * 4096)
    same("the recipient", returned(alice.delivery())["recipient"], "n" * 4096)


@check("Frames")
def unaltered(room: Room) -> None:
    """Subjects and bodies come through unaltered, control characters included."""
    alice, bob = room.couple()
    for text in DELICATE:
        id = send(alice, bob.name, text, subject=text)
        bob.delivery(id=id, subject=text, body=text)
        same("the body that was read", read(bob, id)["body"], text)
        same("the subject that was listed", entry(bob, "inbox", id).get("subject"), text)
    alice.message(bob.name, "", ref="\0\n\u20ac")
    alice.answer("accepted", ref="\0\n\u20ac")
    bob.delivery(body="")


@check(SENDING)
def empty_subject(room: Room) -> None:
    """An empty subject is not the same as none; both are kept."""
    alice, bob = room.couple()
    for subject in ("", None):
        more = {} if subject is None else {"subject": subject}
        id = send(alice, bob.name, **more)
        holds("a subject was made up or lost", bob.delivery().get("subject") == subject)
        holds("a subject was made up or lost in read", read(bob, id).get("subject") == subject)
        holds("a subject was made up or lost in list", entry(alice, "sent", id).get("subject") == subject)


@check(SENDING)
def to_oneself(room: Room) -> None:
    """A message to oneself is like any other."""
    alice = room.user()
    id = send(alice, alice.name, "memo", receipt=True)
    alice.delivery(id=id, sender=alice.name, recipient=alice.name, body="memo", returned=None)
    alice.system("received", ids=[id])
    alice.notice(ids=[id])


@check(BACK)
def unknown_recipient(room: Room) -> None:
    """A message to nobody is accepted as returned and comes back: same id, time, sender, subject, body."""
    alice, nobody = room.user(), room.fresh().name
    alice.message(nobody, "hello?", subject="hi", ref="r")
    answer = alice.answer("accepted", ref="r", state="returned")
    back = alice.delivery(
        id=answer["id"],
        time=answer["time"],
        sender=alice.name,
        recipient=alice.name,
        subject="hi",
        body="hello?",
    )
    same("the code", returned(back)["code"], "unknown-recipient")
    same("the recipient addressed", returned(back)["recipient"], nobody)


@check(BACK)
def impossible_recipients(room: Room) -> None:
    """A recipient that no account could be called comes back like any unknown one."""
    alice = room.user()
    for recipient in ("", "n" * 300, "two words", "nul\0", "\u20ac" * 65, " "):
        alice.message(recipient, "hello?")
        id = alice.answer("accepted", state="returned")["id"]
        why = returned(alice.delivery(id=id))
        same("the code", why["code"], "unknown-recipient")
        same("the recipient addressed", why["recipient"], recipient)


@check(BACK)
def returns_are_durable(room: Room) -> None:
    """A message that came back waits like any other: it comes again until it is confirmed, then never."""
    account = room.account()
    alice = room.enter(account)
    id = send(alice, room.fresh().name)
    alice.delivery(id=id)
    alice.close()
    alice = room.stranger()
    same("how many messages wait", log_in(alice, account), 1)
    returned(alice.delivery(id=id, sender=account.name, recipient=account.name))
    confirm(alice, id)
    alice.close()
    alice = room.stranger()
    same("how many messages wait", log_in(alice, account), 0)
    alice.undisturbed()


@check(BACK)
def returned_in_boxes(room: Room) -> None:
    """In sent it is returned, to the one addressed; in inbox waiting, then delivered; in both with why."""
    alice, nobody = room.user(), room.fresh().name
    id = send(alice, nobody)
    alice.delivery(id=id)
    sent, inbox = entry(alice, "sent", id), entry(alice, "inbox", id)
    same("the state in sent", sent["state"], "returned")
    same("the recipient in sent", sent["recipient"], nobody)
    same("the state in inbox", inbox["state"], "waiting")
    same("the recipient in inbox", inbox["recipient"], alice.name)
    message = read(alice, id)
    same("the recipient in read", message["recipient"], alice.name)
    for where in (sent, inbox, message):
        why = returned(where)
        same("why", (why["code"], why["recipient"]), ("unknown-recipient", nobody))
    confirm(alice, id)
    same("the state in inbox", entry(alice, "inbox", id)["state"], "delivered")
    same("the state in sent", entry(alice, "sent", id)["state"], "returned")
