"""A recipient in a process of its own, which can be stopped where it stands.

C{python -m tests.force.recipient HOST:PORT NAME} signs up, or logs in, and writes the body of each
message that comes on a line of its own; then the message is confirmed.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from chat.client import Backoff, Client
from chat.messages import Message
from tests.daemon import password


def main(reactor: Any, address: str, name: str) -> Deferred[None]:
    """Run until ended from outside."""

    def take(message: Message) -> None:
        print(message.body, flush=True)

    client = Client(
        reactor,
        address,
        name,
        password(name),
        create=True,
        on_message=take,
        on_connected=lambda welcome: print(f"welcome {welcome.waiting}", flush=True),
        backoff=Backoff(0.05, 0.3),
    )
    return client.start().addCallback(lambda _: Deferred())


if __name__ == "__main__":
    react(main, sys.argv[1:])
