"""What each layer of the server adds to the bare loop, for one message.

    python -m bench.layers

Four servers under the same load, in turns: the bare loop and the server, each with clocks
at the borders between its layers (L{bench.timers}) and as it is.  A layer's figure is CPU
time that no other layer within it took; with the rest, which is between the borders
(threads handing over, the interpreter), they sum up to what the kernel says the process
took.  The last line says what the servers without clocks took in the same minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from bench import load, timers
from bench.doors import DOORS
from bench.run import BARE, CHAT, Server, chat_arguments, chat_server, make_room, simple_table, started
from bench.scratch import measured

#: How long a server may take to write its figures down.
PATIENCE = 10.0


class Clocked(NamedTuple):
    """A server with clocks in it, and where it writes what they say."""

    server: Server
    file: Path

    def snapshot(self, number: int) -> timers.Snapshot:
        """What they say now; C{number} counts the questions."""
        os.kill(self.server.pid, signal.SIGUSR1)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.file.exists():
                said = msgspec.json.decode(self.file.read_bytes(), type=timers.Snapshot)
                if said.number == number:
                    return said
            time.sleep(0.01)
        raise load.LoadError(f"{self.server.name} does not write down its figures")


def shares(before: timers.Snapshot, after: timers.Snapshot, messages: int) -> dict[str, float]:
    """Microseconds of each layer for one message, and of the rest; the cost of the clocks is taken off."""
    found = {}
    clocks = 0.0
    named = 0
    for layer in timers.LAYERS:
        first = before.spent.get(layer, [0, 0, 0])
        spent, entered, left = (b - a for a, b in zip(first, after.spent.get(layer, [0, 0, 0])))
        cost = entered * after.within + left * after.around
        named += spent
        clocks += cost
        found[layer] = (spent - cost) / messages / 1e3
    at_top = after.spent[""][2] - before.spent[""][2]
    rest = after.cpu - before.cpu - named - at_top * after.around
    found[REST] = rest / messages / 1e3
    return found


REST = "rest: threads, interpreter"


class Layers:
    """What was measured, for one number of messages in flight."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._layers: dict[str, dict[str, list[float]]] = {}
        self._plain: dict[str, list[float]] = {}

    def add(self, server: str, layers: dict[str, float]) -> None:
        """Note one run of a server with clocks."""
        for layer, each in layers.items():
            self._layers.setdefault(layer, {}).setdefault(server, []).append(each)

    def add_plain(self, server: str, each: float) -> None:
        """Note one run of a server without."""
        self._plain.setdefault(server, []).append(each)

    def table(self) -> str:
        """The means, which sum up where medians would not."""
        rows = [[self.title, BARE, CHAT, "adds"]]
        sums = {BARE: 0.0, CHAT: 0.0}
        for layer, servers in self._layers.items():
            means = {server: sum(values) / len(values) for server, values in servers.items()}
            if max(map(abs, means.values())) < 0.005:
                continue
            for server, mean in means.items():
                sums[server] += mean
            rows.append(_row(layer, means))
        rows.append(_row("sum", sums))
        rows.append(_row("measured without clocks", {s: median(v) for s, v in self._plain.items()}))
        return simple_table(rows)

    def means(self) -> dict[str, dict[str, float]]:
        """The mean of each layer of each server."""
        return {
            layer: {server: sum(values) / len(values) for server, values in servers.items()}
            for layer, servers in self._layers.items()
        }


def _row(name: str, figures: dict[str, float]) -> list[str]:
    bare, chat = figures[BARE], figures[CHAT]
    return [name, f"{bare:.2f}", f"{chat:.2f}", f"{chat - bare:+.2f}"]


def clocked(name: str, folder: Path, codec: str) -> tuple[list[str], Path]:
    """The command that starts a server with clocks, and the file for its figures."""
    data, file = folder / f"{name} clocked", folder / f"{name} figures"
    data.mkdir()
    run = "run_bare_loop" if name == BARE else "run_chat"
    arguments = ["--data", str(data)] if name == BARE else chat_arguments(data, codec)
    program = f"import os; os.environ[{timers.VARIABLE!r}] = {str(file)!r}; from bench import timers; "
    return [sys.executable, "-c", f"{program}timers.{run}()", *arguments], file


def measure(folder: Path, options: argparse.Namespace) -> list[Layers]:
    """Measure all of it."""
    results = []
    with ExitStack() as stack:
        codecs = {BARE: "json", CHAT: options.codec}
        withs: dict[str, Clocked] = {}
        withouts: dict[str, Server] = {}
        for name, codec in codecs.items():
            command, file = clocked(name, folder, codec)
            data = folder / f"{name} clocked"
            withs[name] = Clocked(stack.enter_context(started(name, data, codec, command)), file)
            own = chat_server(folder / name, codec) if name == CHAT else None
            withouts[name] = stack.enter_context(started(name, folder / name, codec, own))
        servers = [*withouts.values(), *(each.server for each in withs.values())]
        crowds = {server: load.Crowd(server.target, options.senders) for server in servers}
        asked = 0
        for in_flight in options.in_flight:
            layers = Layers(f"{in_flight} in flight, CPU us")
            each = max(20, options.messages if in_flight > 1 else options.messages // 8)
            for crowd in crowds.values():
                crowd.pipelined(max(10, each // 5), in_flight)
            for number in range(options.runs):
                print(f"  {in_flight} in flight, run {number + 1}", file=sys.stderr, flush=True)
                for name in codecs:
                    result = crowds[withouts[name]].pipelined(each, in_flight)
                    layers.add_plain(name, result.cpu_each)
                for name, server in withs.items():
                    before = server.snapshot(asked + 1)
                    result = crowds[server.server].pipelined(each, in_flight)
                    layers.add(name, shares(before, server.snapshot(asked + 2), result.messages))
                asked += 2
            results.append(layers)
        for crowd in crowds.values():
            crowd.check()
            crowd.close()
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a server failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.layers", description="What each layer of the server adds to the bare loop."
    )
    add = parser.add_argument
    add("--runs", type=int, default=5, help="the figures are means of so many (%(default)s)")
    add("--senders", type=int, default=50, help="and as many recipients (%(default)s)")
    add("--messages", type=int, default=1000, help="for each sender (%(default)s)")
    add("--in-flight", type=int, nargs="+", default=[100, 20, 1], help="for each sender (100 20 1)")
    add("--codec", choices=list(DOORS), default="json", help="of the server's door (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)

    def attempt(folder: Path) -> None:
        results = measure(folder, options)
        print("\n\n".join(layers.table() for layers in results))
        if options.json:
            named = {layers.title: layers.means() for layers in results}
            options.json.write_bytes(msgspec.json.encode({"layers": named}) + b"\n")

    return measured("bench.layers", options.data, attempt)


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
