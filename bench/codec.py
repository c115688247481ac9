"""What the wire costs: CPU microseconds for one message with a body of 200 bytes.

Run it from the top of the checkout: C{python -m bench.codec}, or C{python bench/codec.py}.
The first table is of the codecs alone; each of its messages has its own millisecond, so no
time is found in what L{chat.messages} remembers.  The second is of the doors, as the server
uses them under load: for every message a send is read, an answer and a delivery are written
and a receipt is read, twenty at a time or each alone.  At the text door the receipt is the
next line that is typed.  Each figure is the best of several runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time
from typing import Any, Callable, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec.structs import replace

from chat.messages import (
    USER_FRAME_BYTES,
    Accepted,
    Frame,
    Message,
    Password,
    Pong,
    Received,
    Username,
    Version,
    Welcome,
)
from chat.times import rfc3339
from chat.wire import Codec, der, json
from chat.wire.schema import reference_decode, reference_encode
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator, Translator

RUNS = 9
#: How many different messages: more than L{chat.messages} remembers the times of.
MESSAGES = 5000
START = 1795381620123
BATCHES = (20, 1)


def messages(first: int = 0, count: int = MESSAGES) -> list[Message]:
    """Messages as a server delivers them."""
    return [
        Message(
            id=123456 + number,
            sender="alice",
            recipient="bob",
            time=rfc3339(START + number),
            subject="Lunch on Friday?",
            body="x" * 200,
            ref=f"c1-{number:06}",
        )
        for number in range(first, first + count)
    ]


def cost(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """CPU microseconds for one call; the best of several runs over all the arguments."""
    figures = []
    for _ in range(RUNS):
        started = process_time()
        for argument in arguments:
            call(argument)
        figures.append((process_time() - started) / len(arguments) * 1e6)
    return min(figures)


class Door:
    """One door, from the server's side, with one client that sends and one that reads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sender = self._logged_in("alice")
        self.reader = self._logged_in("bob")

    def _logged_in(self, user: str) -> Translator:
        if self.name != "text":
            return FrameTranslator(Codec(self.name))
        door = TextTranslator()
        door.render([Version(protocol=1, server="bench"), Username()])
        for line, answer in ((user, Password()), ("secret", Welcome(username=user, waiting=0))):
            door.feed(f"{line}\n".encode())
            door.take(USER_FRAME_BYTES)
            door.render([answer])
        return door

    def sends(self, batch: Sequence[Message]) -> bytes:
        """What a client sends that these messages come of."""
        if self.name == "text":
            return "".join([f"/to {one.recipient} {one.body}\n" for one in batch]).encode()
        return self.sender.render(
            [
                Message(recipient=one.recipient, subject=one.subject, body=one.body, ref=f"c1-{one.id}")
                for one in batch
            ]
        )

    def accept(self, batch: tuple[bytes, list[Frame]]) -> None:
        """Read what is sent and write the answers."""
        sends, answers = batch
        self.sender.feed(sends)
        assert len(self.sender.take(USER_FRAME_BYTES)) == len(answers)
        self.sender.render(answers)

    def deliver(self, batch: tuple[bytes, list[Message]]) -> None:
        """Write messages and read the receipt."""
        receipt, frames = batch
        self.reader.render(frames)
        self.reader.feed(receipt)
        received, *ping = self.reader.take(USER_FRAME_BYTES)
        assert isinstance(received, Received)
        if ping:
            self.reader.render([Pong()])

    def receipt(self, batch: Sequence[Message]) -> bytes:
        """What a client says that has been shown these."""
        if self.name == "text":
            return b"/ping\n"
        return self.reader.render([Received(ids=[one.id for one in batch])])


def door_costs(name: str, size: int) -> tuple[float, float]:
    """CPU microseconds for each message: accepting it, and delivering it."""
    door = Door(name)
    sent: list[tuple[bytes, list[Frame]]] = []
    shown: list[tuple[bytes, list[Message]]] = []
    for first in range(0, 2000, size):
        time = rfc3339(START + first)  # of the commit that all of them were in
        batch = [replace(one, time=time, ref=None) for one in messages(first, size)]
        answers = [Accepted(ref=f"c1-{one.id}", id=one.id, time=time, state="waiting") for one in batch]
        sent.append((door.sends(batch), list(answers)))
        shown.append((door.receipt(batch), batch))
    return cost(door.accept, sent) / size, cost(door.deliver, shown) / size


def main() -> None:
    """Measure and print."""
    frames = messages()
    print(f"{'codec, one message':<24}{'encode':>10}{'decode':>10}   µs")
    codecs: tuple[tuple[str, Callable[[Any], bytes], Callable[[bytes], object], int], ...] = (
        ("JSON", json.encode, json.decode, MESSAGES),
        ("DER", der.encode, der.decode, MESSAGES),
        ("DER through pyasn1", reference_encode, reference_decode, 50),
    )
    for name, encode, decode, count in codecs:
        some = frames[:count]
        wires = [encode(frame) for frame in some]
        print(f"{name:<24}{cost(encode, some):>10.1f}{cost(decode, wires):>10.1f}", flush=True)
    for size in BATCHES:
        print(f"\n{f'door, {size} at a time':<24}{'accept':>10}{'deliver':>10}{'in all':>10}   µs")
        for name in ("json", "der", "text"):
            accept, deliver = door_costs(name, size)
            print(f"{name:<24}{accept:>10.1f}{deliver:>10.1f}{accept + deliver:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
