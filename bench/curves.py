"""Whether what a message costs stays flat, as sessions, messages and accounts grow.

    python -m bench.curves --json curves.json

C{sessions}: 10 to 5,000 sessions, half of them sending to the other half; and the same
hundred busy sessions among ever more idle ones.
C{ledger}: 0 to 5,000,000 messages in the ledger, written beforehand by L{bench.ledgers} and all
in the index of the search; the same while the server is still busy with making that index; also how long
it takes to listen, in both states, and what a message takes on the disk.
C{accounts}: 10 to 100,000 accounts beside the same hundred busy ones; and, at its worst, each
message to another one of them, none of them here.
The bare loop, which has no accounts, is measured in turns with the server where it can be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from bench import load
from bench.ledgers import crowd_names, grow, grow_bare, index, settle
from bench.run import BARE, CHAT, Server, make_room, simple_table, started

#: Of how many messages a figure is the mean, about.
MESSAGES = 20_000
#: How many messages each sender has unanswered at a time.
IN_FLIGHT = 20
#: How many pairs are busy where something else than their number grows.
PAIRS = 50


class Curve(msgspec.Struct):
    """One figure of each server, as something grows."""

    title: str
    x: str
    y: str
    points: dict[str, list[tuple[int, float]]]


class Curves:
    """All points that were measured."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], dict[str, dict[int, list[float]]]] = {}

    def add(self, curve: tuple[str, str, str], server: str, x: int, y: float) -> None:
        """Note one value; C{curve} is its title, and what x and y are."""
        points = self._values.setdefault(curve, {}).setdefault(server, {})
        points.setdefault(x, []).append(y)
        print(f"  {curve[0]}, {server}: {x:,} {curve[1]}: {y:,.1f} {curve[2]}", file=sys.stderr, flush=True)

    def curves(self) -> list[Curve]:
        """The medians."""
        return [
            Curve(
                *curve,
                {
                    server: [(x, median(values)) for x, values in sorted(points.items())]
                    for server, points in servers.items()
                },
            )
            for curve, servers in self._values.items()
        ]

    def dump(self) -> bytes:
        """The medians, as JSON."""
        return msgspec.json.format(msgspec.json.encode({"curves": self.curves()}), indent=1)

    def tables(self) -> str:
        """The medians, as tables in reStructuredText."""
        texts = []
        for curve in self.curves():
            servers = list(curve.points)
            xs = sorted({x for points in curve.points.values() for x, _ in points})
            rows = [[curve.x, *servers]]
            for x in xs:
                values = [dict(curve.points[server]).get(x) for server in servers]
                rows.append([f"{x:,}", *["-" if y is None else f"{y:,.1f}" for y in values]])
            texts.append(f"{curve.title}: {curve.y}\n\n{simple_table(rows)}")
        return "\n\n".join(texts)


CPU = "CPU us a message"
BUSY = ("all sessions busy", "sessions", CPU)
AMONG_IDLE = ("100 busy sessions among idle ones", "sessions", CPU)
LEDGER = ("messages in the ledger", "messages", CPU)
LEDGER_AWAY = ("messages in the ledger, recipient away", "messages", CPU)
LEDGER_UNINDEXED = ("messages in the ledger, not indexed yet", "messages", CPU)
START = ("start with a ledger", "messages", "seconds to listening")
START_COLD = ("start, nothing of the files in memory", "messages", "seconds to listening")
DISK = ("disk", "messages", "bytes a message")
AMONG_ACCOUNTS = ("100 busy sessions among accounts", "accounts", CPU)
ACCOUNTS = ("accounts, each message to another one", "accounts", CPU)


class Bench:
    """The curves, one point after the other."""

    def __init__(self, folder: Path, options: argparse.Namespace, curves: Curves) -> None:
        self._folder = folder
        self._options = options
        self._curves = curves
        self._made = 0

    @contextmanager
    def _fresh(self) -> Iterator[Path]:
        """A folder for the files of one point, which may be large: gone as soon as it is done with."""
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _servers(self, folder: Path) -> Iterator[list[Server]]:
        with ExitStack() as stack:
            yield [stack.enter_context(started(name, folder / name[:4])) for name in (BARE, CHAT)]

    def _in_turns(
        self,
        curve: tuple[str, str, str],
        x: int,
        measures: Sequence[tuple[Server, Callable[[], load.Result]]],
    ) -> None:
        for _ in range(self._options.runs):
            for server, measure in measures:
                self._curves.add(curve, server.name, x, measure().cpu_each)

    def sessions(self) -> None:
        """More and more sessions."""
        for count in self._points(10, 100, 1000, 5000):
            pairs = max(1, count // 2)
            with self._fresh() as folder:
                idlers = max(0, count - 2 * PAIRS)
                names = crowd_names(pairs, "b") + crowd_names(PAIRS) + [f"idle{n}" for n in range(idlers)]
                grow(folder / CHAT, names)
                with self._servers(folder) as servers:
                    self._crowded(BUSY, count, servers, pairs, "b")
                    if count >= 2 * PAIRS:
                        idle = load.Loop()
                        for server in servers:
                            load.open_idle(idle, server.target.door(), server.target, range(idlers))
                        self._crowded(AMONG_IDLE, count, servers, PAIRS, "")
                        idle.close()

    def _crowded(
        self, curve: tuple[str, str, str], x: int, servers: Sequence[Server], pairs: int, prefix: str
    ) -> None:
        each = max(2 * IN_FLIGHT, self._options.messages // pairs)
        crowds = [(server, load.Crowd(server.target, pairs, prefix=prefix)) for server in servers]
        for _, crowd in crowds:
            crowd.pipelined(max(1, each // 4), IN_FLIGHT)
        self._in_turns(
            curve, x, [(server, partial(crowd.pipelined, each, IN_FLIGHT)) for server, crowd in crowds]
        )
        for _, crowd in crowds:
            crowd.close()

    def ledger(self) -> None:
        """More and more messages in the ledger."""
        names = crowd_names(PAIRS)
        for count in self._points(0, 50_000, 500_000, 5_000_000):
            with self._fresh() as folder:
                grow(folder / CHAT, names, count)
                grow_bare(folder / BARE[:4], names, count)
                sent = {CHAT: 0, BARE: 0}
                if count:
                    self._start(folder, count, f"{CHAT}, not indexed")
                    with self._servers(folder) as servers:
                        self._filled(count, servers, LEDGER_UNINDEXED)
                    sent = {server.name: server.sent for server in servers}
                index(folder / CHAT)
                self._start(folder, count, CHAT)
                with self._servers(folder) as servers:
                    self._filled(count, servers, LEDGER, LEDGER_AWAY)
                if count:
                    for server in servers:
                        each = server.disk_bytes() / (count + sent[server.name] + server.sent)
                        self._curves.add(DISK, server.name, count, each)

    def _start(self, folder: Path, count: int, name: str) -> None:
        for curve, cold in ((START, False), (START_COLD, True)):
            for _ in range(self._options.runs):
                settle(folder / CHAT, forget=cold)
                with started(CHAT, folder / CHAT) as server:
                    self._curves.add(curve, name, count, server.start_seconds)
                    self._curves.add(curve, f"{name}, CPU of it", count, server.start_cpu)

    def _filled(
        self,
        count: int,
        servers: Sequence[Server],
        present: tuple[str, str, str],
        away: tuple[str, str, str] | None = None,
    ) -> None:
        each = max(3, self._options.messages // PAIRS)
        crowds = [(server, load.Crowd(server.target, PAIRS)) for server in servers]

        def counted(server: Server, crowd: load.Crowd) -> load.Result:
            result = crowd.pipelined(each, IN_FLIGHT)
            server.sent += result.messages
            return result

        measures = [(server, partial(counted, server, crowd)) for server, crowd in crowds]
        for _, measure in measures:
            measure()
        self._in_turns(present, count, measures)
        for _, crowd in crowds:
            crowd.check()
            crowd.leave()
        if away is not None:
            self._in_turns(away, count, measures)
        for _, crowd in crowds:
            crowd.close()

    def accounts(self) -> None:
        """More and more accounts, each message to another one."""
        for count in self._points(10, 1000, 10_000, 100_000):
            with self._fresh() as folder:
                grow(folder / CHAT, [f"p{number:09d}" for number in range(count)] + crowd_names(PAIRS))
                with self._servers(folder) as servers:
                    self._crowded(AMONG_ACCOUNTS, count, servers, PAIRS, "")
                    measures = []
                    for server in servers:
                        loop, door, address = load.Loop(), server.target.door(), server.target.address
                        crowd = load.open_all(
                            loop,
                            [
                                partial(Scattering, loop, door, address, f"s{number}")
                                for number in range(PAIRS)
                            ],
                        )
                        measures.append((server, partial(self._scattered, server, loop, crowd, count)))
                    for _, measure in measures:
                        measure()
                    self._in_turns(ACCOUNTS, count, measures)

    def _scattered(
        self, server: Server, loop: load.Loop, crowd: Sequence[Scattering], accounts: int
    ) -> load.Result:
        each = max(3, self._options.messages // PAIRS)
        run = os.urandom(4).hex() + "-"
        for number, sender in enumerate(crowd):
            sender.scatter(accounts, number, len(crowd), run)
        watch = load.Stopwatch(server.pid)
        for sender in crowd:
            sender.start(each, IN_FLIGHT)
        loop.run(lambda: all(sender.accepted == sender.total for sender in crowd))
        return watch.stop(each * len(crowd))

    def _points(self, *points: int) -> list[int]:
        most = self._options.most
        return [point for point in points if most is None or point <= most]


class Scattering(load.Sender):
    """Sends each message to another account."""

    _accounts = _turn = _others = 0

    def scatter(self, accounts: int, turn: int, others: int, run: str) -> None:
        """Prepare a run in which C{others} such senders go through the accounts, each in its turn."""
        self.prepare("p" + load.HOLE, 200, run)
        self._accounts, self._turn, self._others = accounts, turn, others
        # Recipient, body and ref each have a number in them; only the first one is special.
        # (The fields of the frames that are used here stand in the order of the contract.)
        self._before, self._within, *self._after = self._parts

    def send(self, count: int) -> None:
        """Send the next so many at once."""
        wires = []
        for number in range(self.sent, self.sent + count):
            # Not one after the other, as nobody writes to neighbours in an index.
            recipient = (number * self._others + self._turn) * 7919 % self._accounts
            digits = b"%09d" % number
            start = b"%b%09d%b" % (self._before, recipient, self._within)
            wires.append(digits.join([start, *self._after]))
        self.write(b"".join(wires))
        self.sent += count


CURVES = ["sessions", "ledger", "accounts"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a server failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.curves", description="Whether a message's cost stays flat as things grow."
    )
    add = parser.add_argument
    add("--runs", type=int, default=3, help="each point is the median of so many (%(default)s)")
    add("--messages", type=int, default=MESSAGES, help="in each of these, about (%(default)s)")
    add("--most", type=int, help="leave out what is larger than this")
    add("--data", type=Path, help="make the files, some GiB, below this folder (a temporary one)")
    add("--json", type=Path, help="write the points to this file")
    add("curves", nargs="*", default=CURVES, help=f"some of: {', '.join(CURVES)}")
    options = parser.parse_args(arguments)
    if unknown := set(options.curves) - set(CURVES):
        parser.error(f"no such curve: {', '.join(sorted(unknown))}; see --help")
    folder = Path(tempfile.mkdtemp(prefix="chat-bench-", dir=options.data)).resolve()
    curves = Curves()
    bench = Bench(folder, options, curves)
    try:
        for name in options.curves:
            getattr(bench, name)()
    except (load.LoadError, OSError) as error:
        print(f"bench.curves: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(curves.tables())
    if options.json:
        options.json.write_bytes(curves.dump() + b"\n")
    return 0


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
