"""What the codecs cost: CPU microseconds for one message with a body of 200 bytes.

Run it from the top of the checkout: C{python -m bench.codec}, or C{python bench/codec.py}.
Each figure is the median of several runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chat.messages import Message, rfc3339
from chat.wire import der, json
from chat.wire.schema import reference_decode, reference_encode

RUNS = 9
#: How many different messages.  Each has its own millisecond, and there are more of them
#: than L{chat.messages} remembers the times of: no figure is better than on a busy server.
MESSAGES = 5000
START = 1795381620123


def messages() -> list[Message]:
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
        for number in range(MESSAGES)
    ]


def cost(call: Callable[[Any], object], arguments: list[Any]) -> float:
    """CPU microseconds for one call; the median of several runs over all the arguments."""
    figures = []
    for _ in range(RUNS):
        started = process_time()
        for argument in arguments:
            call(argument)
        figures.append((process_time() - started) / len(arguments) * 1e6)
    return median(figures)


def main() -> None:
    """Measure and print."""
    frames = messages()
    print(f"{'CPU per message':<24}{'encode':>10}{'decode':>10}   µs")
    codecs: tuple[tuple[str, Callable[[Any], bytes], Callable[[bytes], object], int], ...] = (
        ("JSON", json.encode, json.decode, MESSAGES),
        ("DER", der.encode, der.decode, MESSAGES),
        ("DER through pyasn1", reference_encode, reference_decode, 50),
    )
    for name, encode, decode, count in codecs:
        some = frames[:count]
        wires = [encode(frame) for frame in some]
        print(f"{name:<24}{cost(encode, some):>10.1f}{cost(decode, wires):>10.1f}", flush=True)


if __name__ == "__main__":
    main()
