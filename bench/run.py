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
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench import load
from bench.doors import DOORS

ROOT = Path(__file__).resolve().parent.parent
#: The first of these is for servers, the second for the generator.
CORES = frozenset(os.sched_getaffinity(0))
#: How long a server may take to listen, and to stop.
START_SECONDS = 20.0
STOP_SECONDS = 30.0

TWISTD = "from twisted.scripts.twistd import run; run()"

BARE = "bare loop"
CHAT = "chat"


def bare_loop(data: Path, codec: str) -> list[str]:
    """The command that starts the bare loop; it has a JSON door only."""
    return [sys.executable, str(ROOT / "bench" / "bare_loop.py"), "--data", str(data)]


def chat_server(data: Path, codec: str, endpoint: str = "tcp:0:interface=127.0.0.1") -> list[str]:
    """The command that starts the server, with cheap passwords: logins are not measured."""
    return [sys.executable, "-c", TWISTD, *chat_arguments(data, codec, endpoint)]


def chat_arguments(data: Path, codec: str, endpoint: str = "tcp:0:interface=127.0.0.1") -> list[str]:
    """What twistd is told; how much a sender may send is counted, as always, and never too much."""
    twistd = ["--nodaemon", "--pidfile=", "chat", "--data", str(data), f"--{codec}", endpoint]
    return [*twistd, "--bcrypt-rounds", "4", "--messages-per-second", "1e9", "--bytes-per-second", "1e12"]


COMMANDS: dict[str, Callable[[Path, str], list[str]]] = {BARE: bare_loop, CHAT: chat_server}


class Server:
    """A server under measurement, on a core of its own."""

    def __init__(
        self,
        name: str,
        data: Path,
        codec: str = "json",
        command: Sequence[str] | None = None,
        connect: load.Connect = load.plain,
    ) -> None:
        """Start it and wait until it listens.

        @param name: what it is called in the tables.
        @param command: starts it; by default, what L{COMMANDS} has under its name.
        @param connect: opens a connection to it.
        @raise load.LoadError: it does not.
        """
        self.name = name
        self.data = data = data.resolve()  # the server is started in another folder
        self.sent = 0
        self._log = data.with_suffix(".log")
        cores = os.sched_getaffinity(0)
        load.pin(0, CORES)
        try:
            with open(self._log, "wb") as log:
                started = time.perf_counter()
                self._process = subprocess.Popen(
                    COMMANDS[name](data, codec) if command is None else command,
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
        #: Seconds from the start of the process to its door being open, to 5 ms; the CPU it took.
        self.start_seconds = time.perf_counter() - started
        self.start_cpu = load.cpu_seconds(self._process.pid)
        self.target = load.Target(("127.0.0.1", port), codec, self._process.pid, connect)

    def _listening(self, codec: str) -> int:
        """The port of the door, from the line in the log that tells it."""
        line = re.compile(rf"\b{codec}\b.*?127\.0\.0\.1\D{{1,9}}(\d+)", re.IGNORECASE)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := line.search(self._log.read_text(errors="replace")):
                return int(found[1])
            time.sleep(0.005)
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
def started(
    name: str,
    data: Path,
    codec: str = "json",
    command: Sequence[str] | None = None,
    connect: load.Connect = load.plain,
) -> Iterator[Server]:
    """A server, see L{Server}, that is stopped in the end."""
    data.mkdir(exist_ok=True)
    server = Server(name, data, codec, command, connect)
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

    def add_result(self, scenario: str, server: str, result: load.Result, after: float | None = None) -> None:
        """Note a measured part.

        @param after: the CPU time that the server used by itself when it was over, in seconds.
        """
        values = {"messages": result.messages, "cpu": result.cpu_each, "rate": result.rate}
        if result.latencies:
            values.update(p50=result.latency(50), p99=result.latency(99))
        if after is not None:
            values["after"] = after / result.messages * 1e6
        self.add(scenario, server, generator=result.own_cpu_each, **values)

    def dump(self) -> str:
        """Every single value, as JSON."""
        return json.dumps({"figures": self._values}, indent=1)

    def ratio(self, scenario: str, server: str) -> float:
        """How many times the bare loop's CPU the server takes for a message, see L{times}."""
        servers = self._values[scenario]
        return times(servers[server]["cpu"], servers[BARE]["cpu"])

    def table(self) -> str:
        """The medians, as a table in reStructuredText."""
        heads = ["scenario", "server", "messages", "CPU us", "least-most", "x bare"]
        heads += ["after us", "x in all", "messages/s", "p50 ms", "p99 ms", "load us"]
        rows = []
        for scenario, servers in self._values.items():
            floor = servers.get(BARE, {})
            for server, columns in servers.items():
                if "cpu" in columns:
                    rows.append([scenario, server, *self._cells(columns, floor)])
        return simple_table([heads, *rows]) if rows else ""

    def sizes(self) -> str:
        """The medians of what is not a rate, as a table in reStructuredText."""
        rows = [
            [f"{scenario} ({unit})", server, f"{median(values):,.1f}"]
            for scenario, servers in self._values.items()
            for server, columns in servers.items()
            for unit, values in columns.items()
            if "cpu" not in columns
        ]
        return simple_table([["what", "server", "median"], *rows]) if rows else ""

    @staticmethod
    def _cells(columns: dict[str, list[float]], floor: dict[str, list[float]]) -> list[str]:
        cpu = columns["cpu"]
        ratio = f"{times(cpu, floor['cpu']):.2f}" if floor else "-"
        cells = [f"{median(columns['messages']):,.0f}", f"{median(cpu):,.1f}"]
        cells += [f"{min(cpu):,.1f}-{max(cpu):,.1f}", ratio]
        if "after" in columns:
            cells.append(f"{median(columns['after']):.1f}")
            cells.append(f"{times(_in_all(columns), _in_all(floor)):.2f}" if floor else "-")
        else:
            cells += ["-", "-"]
        cells.append(f"{median(columns['rate']):,.0f}")
        for column in ("p50", "p99"):
            cells.append(f"{median(columns[column]):.2f}" if column in columns else "-")
        cells.append(f"{median(columns['generator']):.1f}")
        return cells


def _in_all(columns: dict[str, list[float]]) -> list[float]:
    """What a message cost with what the server did afterwards, in each run."""
    return [during + after for during, after in zip(columns["cpu"], columns["after"])]


def times(values: Sequence[float], floor: Sequence[float]) -> float:
    """How many times the floor: the median of the runs, each compared with itself.

    What else the machine does changes from run to run, and slows both.
    """
    return median(value / least for value, least in zip(values, floor))


def simple_table(rows: list[list[str]]) -> str:
    """Rows of cells, the first being the heads, as a table in reStructuredText."""
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
        self._codecs = {labelled(codec): codec for codec in options.codec or ["json"]}
        if options.only_bare:
            self._codecs = {}
        if options.compare or options.only_bare:
            self._codecs = {BARE: "json", **self._codecs}
        self._wanted = set(options.scenarios)

    def _say(self, scenario: str, server: Server, result: load.Result, *, ends: bool = True) -> None:
        """Note a result, when all that the server has put off is done, too."""
        after = load.until_it_rests(server.pid) if ends else None
        self._figures.add_result(scenario, server.name, result, after)
        print(f"  {scenario}, {server.name}: {load.describe(result)}", file=sys.stderr, flush=True)

    def run(self, number: int) -> None:
        """One run of everything that is wanted."""
        print(f"run {number + 1}", file=sys.stderr, flush=True)
        if self._wanted - {"idle"}:
            self._messages(number)
        if "idle" in self._wanted:
            for name in self._codecs:
                self._idle(number, name)

    def _messages(self, number: int) -> None:
        options = self._options
        with ExitStack() as stack:
            servers = [
                stack.enter_context(self._started(name, self._data(number, name))) for name in self._codecs
            ]
            for server in servers:
                at_rest = load.resident_bytes(server.pid) / 2**20
                self._figures.add("at rest", server.name, MiB=at_rest)
            crowds = [
                (server, load.Crowd(server.target, options.senders, body=options.body)) for server in servers
            ]
            for server, crowd in crowds:
                server.sent += crowd.pipelined(min(100, options.messages), 20).messages
                load.until_it_rests(server.pid)
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
                    self._say("login that collects", server, result, ends=False)
                    self._figures.add("memory grown by that login", server.name, MiB=grown / 2**20)
        if "disk" in self._wanted:
            for server in servers:
                each = server.disk_bytes() / server.sent
                self._figures.add("disk, each message", server.name, bytes=each)

    def _started(self, name: str, data: Path) -> AbstractContextManager[Server]:
        codec = self._codecs[name]
        return started(name, data, codec, COMMANDS[BARE if name == BARE else CHAT](data, codec))

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
        with self._started(name, data) as server:
            load.sign_up(server.target, options.idle)
        with self._started(name, data) as server:
            each, busy = load.idle(server.target, options.idle, settle=options.settle)
        self._figures.add(f"each of {options.idle} idle sessions", name, KiB=each / 1024)
        self._figures.add(f"CPU of {options.idle} idle sessions", name, **{"ms a second": busy * 1000})
        together = f"all of them: {busy * 1000:.2f} ms CPU a second"
        print(f"  idle session, {name}: {each / 1024:.1f} KiB; {together}", file=sys.stderr, flush=True)

    def _data(self, number: int, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}-{number}"


def labelled(codec: str) -> str:
    """What the server is called in the tables when this door of it is measured."""
    return CHAT if codec == "json" else f"{CHAT}, {codec.upper() if codec == 'der' else codec}"


SCENARIOS = ["pipelined", "steady", "offline", "collect", "idle", "disk"]


def options_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description="Measure the server, alone or beside the bare loop.",
        epilog="--at-most: exit status 1 when a pipelined message costs the server more than so many"
        " times the CPU of the bare loop, measured in the same run.",
    )
    add = parser.add_argument
    add("--compare", action="store_true", help="measure the bare loop in turns with the server")
    add("--only-bare", action="store_true", help="measure the bare loop only")
    add("--runs", type=int, default=3, help="the figures are medians of so many (%(default)s)")
    add("--codec", choices=list(DOORS), nargs="+", help="the server's doors to measure (json)")
    add("--senders", type=int, default=50, help="and as many recipients (%(default)s)")
    add("--messages", type=int, default=2000, help="for each sender, pipelined (%(default)s)")
    add("--body", type=int, default=200, help="bytes in each body (%(default)s)")
    add("--rate", type=float, default=500, help="messages a second, steady (%(default)s)")
    add("--seconds", type=float, default=10, help="how long at that rate (%(default)s)")
    add("--idle", type=int, default=5000, help="idle sessions (%(default)s)")
    add("--settle", type=float, default=5, help="seconds that they idle, measured (%(default)s)")
    add("--collect", type=int, default=20000, help="messages waiting for a login (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("--json", type=Path, help="write every single value to this file")
    add("--at-most", type=float, metavar="RATIO", help="fail when a message costs more, see below")
    add("scenarios", nargs="*", default=SCENARIOS, help=f"some of: {', '.join(SCENARIOS)}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a server failed."""
    parser = options_parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; see --help")
    if options.at_most and not (options.compare and "pipelined" in options.scenarios):
        parser.error("--at-most needs --compare and the scenario pipelined")
    folder = Path(tempfile.mkdtemp(prefix="chat-bench-", dir=options.data)).resolve()
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
    print("\n\n".join(filter(None, (figures.table(), figures.sizes()))))
    if options.json:
        options.json.write_text(figures.dump() + "\n")
    return 0 if options.at_most is None else guard(figures, options.at_most)


def guard(figures: Figures, bound: float) -> int:
    """Exit status 1 when the server has become slow beside the bare loop."""
    status = 0
    for scenario in ("100 in flight", "20 in flight"):
        ratio = figures.ratio(scenario, CHAT)
        verdict = "good" if ratio <= bound else "TOO SLOW"
        print(f"{scenario}: {ratio:.2f} times the bare loop, at most {bound:g}: {verdict}")
        status |= ratio > bound
    return status


def make_room() -> None:
    """Leave the servers' core, and let this process and its children have many sockets."""
    load.pin(1)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
