"""Starts servers, puts a load on them and prints what it cost them.

    python -m bench.run --compare

measures the server and the bare loop in turns, so that both meet the same moods of a
shared machine.  Servers get one core, the generator another.  Each figure is the median
of several runs, and each run has servers and files of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench import load

ROOT = Path(__file__).resolve().parent.parent
#: The first of these is for servers, the second for the generator.
CORES = frozenset(os.sched_getaffinity(0))
#: How long a server may take to listen, and to stop.
START_SECONDS = 20.0
STOP_SECONDS = 30.0

BARE = "bare loop"
CHAT = "chat"


def bare_loop(data: Path, codec: str) -> list[str]:
    """The command that starts the bare loop; it has a JSON door only."""
    return [sys.executable, str(ROOT / "bench" / "bare_loop.py"), "--data", str(data)]


def chat_server(data: Path, codec: str) -> list[str]:
    """The command that starts the server, with cheap passwords: logins are not measured."""
    twistd = "from twisted.scripts.twistd import run; run()"
    door = [f"--{codec}", "tcp:0:interface=127.0.0.1"]
    start = [sys.executable, "-c", twistd, "--nodaemon", "--pidfile=", "chat"]
    return [*start, "--data", str(data), *door, "--bcrypt-rounds", "4"]


COMMANDS: dict[str, Callable[[Path, str], list[str]]] = {BARE: bare_loop, CHAT: chat_server}


class Server:
    """A server under measurement, on a core of its own."""

    def __init__(self, name: str, data: Path, codec: str = "json") -> None:
        """Start it and wait until it listens.

        @raise load.LoadError: it does not.
        """
        self.name = name
        self.data = data
        self.sent = 0
        self._log = data.with_suffix(".log")
        cores = os.sched_getaffinity(0)
        load.pin(0, CORES)
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    COMMANDS[name](data, codec),
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        finally:
            os.sched_setaffinity(0, cores)
        try:
            port = self._listening(codec)
        except BaseException:
            self.stop()
            raise
        self.target = load.Target(("127.0.0.1", port), codec, self._process.pid)

    def _listening(self, codec: str) -> int:
        """The port of the door, from the line in the log that tells it."""
        line = re.compile(rf"\b{codec}\b.*?127\.0\.0\.1\D{{1,9}}(\d+)", re.IGNORECASE)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := line.search(self._log.read_text(errors="replace")):
                return int(found[1])
            time.sleep(0.05)
        last = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        raise load.LoadError(f"{self.name} does not listen; its last words: " + " / ".join(last))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise load.LoadError(f"{self.name} did not stop in {STOP_SECONDS:.0f} s") from None

    def disk_bytes(self) -> int:
        """The size of its files, once it has stopped, with what was in the journals moved in."""
        for path in self.data.glob("*.db"):
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        return sum(path.stat().st_size for path in self.data.glob("*.db*"))


@contextmanager
def started(name: str, data: Path, codec: str = "json") -> Iterator[Server]:
    """A server that is stopped in the end."""
    data.mkdir(exist_ok=True)
    server = Server(name, data, codec)
    try:
        yield server
    finally:
        server.stop()


class Figures:
    """All measured values: what was measured, of which server, in which run."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, dict[str, list[float]]]] = {}

    def add(self, scenario: str, server: str, **values: float) -> None:
        """Note the values of one run."""
        columns = self._values.setdefault(scenario, {}).setdefault(server, {})
        for column, value in values.items():
            columns.setdefault(column, []).append(value)

    def add_result(self, scenario: str, server: str, result: load.Result) -> None:
        """Note a measured part."""
        values = {"messages": result.messages, "cpu": result.cpu_each, "rate": result.rate}
        if result.latencies:
            values.update(p50=result.latency(50), p99=result.latency(99))
        self.add(scenario, server, generator=result.own_cpu_each, **values)

    def dump(self) -> str:
        """Every single value, as JSON."""
        return json.dumps(self._values, indent=1)

    def table(self) -> str:
        """The medians, as a table in reStructuredText."""
        heads = ["scenario", "server", "messages", "CPU us", "least-most", "x bare"]
        heads += ["messages/s", "p50 ms", "p99 ms"]
        rows = []
        for scenario, servers in self._values.items():
            floor = servers.get(BARE, {}).get("cpu")
            for server, columns in servers.items():
                if "cpu" in columns:
                    rows.append([scenario, server, *self._cells(columns, floor)])
        return _simple_table([heads, *rows])

    def sizes(self) -> str:
        """The medians of what is not a rate, as a table in reStructuredText."""
        rows = [
            [f"{scenario} ({unit})", server, f"{median(values):,.1f}"]
            for scenario, servers in self._values.items()
            for server, columns in servers.items()
            for unit, values in columns.items()
            if "cpu" not in columns
        ]
        return _simple_table([["what", "server", "median"], *rows]) if rows else ""

    @staticmethod
    def _cells(columns: dict[str, list[float]], floor: list[float] | None) -> list[str]:
        cpu = columns["cpu"]
        ratio = f"{median(cpu) / median(floor):.2f}" if floor else "-"
        cells = [f"{median(columns['messages']):,.0f}", f"{median(cpu):,.1f}"]
        cells += [f"{min(cpu):,.1f}-{max(cpu):,.1f}", ratio, f"{median(columns['rate']):,.0f}"]
        for column in ("p50", "p99"):
            cells.append(f"{median(columns[column]):.2f}" if column in columns else "-")
        return cells


def _simple_table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


class Bench:
    """The scenarios, each measured for all servers in turn."""

    def __init__(self, options: argparse.Namespace, folder: Path, figures: Figures) -> None:
        self._options = options
        self._folder = folder
        self._figures = figures
        self._names: list[str] = [BARE] if options.only_bare else [CHAT]
        if options.compare and not options.only_bare:
            self._names = [BARE, CHAT]
        self._wanted = set(options.scenarios)

    def _say(self, scenario: str, server: Server, result: load.Result) -> None:
        self._figures.add_result(scenario, server.name, result)
        print(f"  {scenario}, {server.name}: {load.describe(result)}", file=sys.stderr, flush=True)

    def run(self, number: int) -> None:
        """One run of everything that is wanted."""
        print(f"run {number + 1}", file=sys.stderr, flush=True)
        if self._wanted - {"idle"}:
            self._messages(number)
        if "idle" in self._wanted:
            for name in self._names:
                self._idle(number, name)

    def _messages(self, number: int) -> None:
        options = self._options
        with ExitStack() as stack:
            servers = [
                stack.enter_context(started(name, self._data(number, name), options.codec))
                for name in self._names
            ]
            for server in servers:
                at_rest = load.resident_bytes(server.pid) / 2**20
                self._figures.add("at rest", server.name, MiB=at_rest)
            crowds = [
                (server, load.Crowd(server.target, options.senders, body=options.body)) for server in servers
            ]
            for server, crowd in crowds:
                server.sent += crowd.pipelined(min(100, options.messages), 20).messages
            for scenario, measure in self._online():
                for server, crowd in crowds:
                    result = measure(crowd)
                    server.sent += result.messages
                    self._say(scenario, server, result)
            for _, crowd in crowds:
                crowd.check()
                crowd.leave()
            if "offline" in self._wanted:
                for server, crowd in crowds:
                    result = crowd.pipelined(options.messages, 100)
                    server.sent += result.messages
                    self._say("store, recipient away", server, result)
            for _, crowd in crowds:
                crowd.close()
            if "collect" in self._wanted:
                for server in servers:
                    result, grown = load.collect(server.target, options.collect, options.body)
                    server.sent += result.messages
                    self._say("login that collects", server, result)
                    self._figures.add("memory grown by that login", server.name, MiB=grown / 2**20)
        if "disk" in self._wanted:
            for server in servers:
                each = server.disk_bytes() / server.sent
                self._figures.add("disk, each message", server.name, bytes=each)

    def _online(self) -> Iterator[tuple[str, Callable[[load.Crowd], load.Result]]]:
        """The scenarios whose recipients are online."""
        options = self._options
        if "pipelined" in self._wanted:
            for in_flight, share in ((100, 1.0), (20, 1.0), (1, 0.15)):
                each = max(1, int(options.messages * share))
                measure = partial(load.Crowd.pipelined, each=each, in_flight=in_flight)
                yield f"{in_flight} in flight", measure
        if "steady" in self._wanted:
            steadily = partial(load.Crowd.steady, rate=options.rate, seconds=options.seconds)
            yield f"steady {options.rate:g}/s", steadily

    def _idle(self, number: int, name: str) -> None:
        """Accounts are made by one server and logged in at the next, whose memory is fresh."""
        options = self._options
        data = self._data(number, f"{name} idle")
        with started(name, data, options.codec) as server:
            load.sign_up(server.target, options.idle)
        with started(name, data, options.codec) as server:
            each = load.idle(server.target, options.idle, settle=options.settle)
        self._figures.add(f"each of {options.idle} idle sessions", name, KiB=each / 1024)
        print(f"  idle session, {name}: {each / 1024:.1f} KiB", file=sys.stderr, flush=True)

    def _data(self, number: int, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}-{number}"


SCENARIOS = ["pipelined", "steady", "offline", "collect", "idle", "disk"]


def options_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description="Measure the server, alone or beside the bare loop."
    )
    add = parser.add_argument
    add("--compare", action="store_true", help="measure the bare loop in turns with the server")
    add("--only-bare", action="store_true", help="measure the bare loop only")
    add("--runs", type=int, default=3, help="the figures are medians of so many (%(default)s)")
    add("--codec", choices=sorted(load.DOORS), default="json", help="of the server's door")
    add("--senders", type=int, default=50, help="and as many recipients (%(default)s)")
    add("--messages", type=int, default=2000, help="for each sender, pipelined (%(default)s)")
    add("--body", type=int, default=200, help="bytes in each body (%(default)s)")
    add("--rate", type=float, default=500, help="messages a second, steady (%(default)s)")
    add("--seconds", type=float, default=10, help="how long at that rate (%(default)s)")
    add("--idle", type=int, default=5000, help="idle sessions (%(default)s)")
    add("--settle", type=float, default=1, help="seconds before memory is read (%(default)s)")
    add("--collect", type=int, default=20000, help="messages waiting for a login (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("--json", type=Path, help="write every single value to this file")
    add("scenarios", nargs="*", default=SCENARIOS, help=f"some of: {', '.join(SCENARIOS)}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a server failed."""
    parser = options_parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; see --help")
    if options.compare and options.codec != "json":
        parser.error("the bare loop speaks JSON only")
    folder = Path(tempfile.mkdtemp(prefix="chat-bench-", dir=options.data))
    figures = Figures()
    bench = Bench(options, folder, figures)
    try:
        for number in range(options.runs):
            bench.run(number)
    except (load.LoadError, OSError) as error:
        print(f"bench.run: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(figures.table())
    if sizes := figures.sizes():
        print(f"\n{sizes}")
    if options.json:
        options.json.write_text(figures.dump() + "\n")
    return 0


def make_room() -> None:
    """Leave the servers' core, and let this process and its children have many sockets."""
    load.pin(1)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
