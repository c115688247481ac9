"""Numbers for Prometheus, and whether the server is well; the first only for its operator.

There is nothing secret in the numbers: no name, no address of anybody.  But how many people write
how much is nobody's business who happens to reach the page.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from chat import __version__
from chat.errors import Code
from chat.health import gauges
from chat.health.gauges import Histogram
from chat.health.vitals import Reading, Vitals
from chat.journal import Event
from chat.tls.door import is_local
from chat.web.origins import is_loopback
from chat.web.site import Request

_log = Logger()


class Numbers(Collector):
    """Everything there is to tell, as it was when L{reading} was read."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self.reading = Reading(False, None)

    def collect(self) -> Iterator[Metric]:
        """Each metric with its values; docs/operations.rst says what they mean."""
        yield from self._server()
        yield from self._people()
        yield from self._messages()
        yield from self._work()
        yield from self._rounds()

    def _server(self) -> Iterator[Metric]:
        vitals, reading = self._vitals, self.reading
        yield InfoMetricFamily("chat_build", "The version of the server.", {"version": __version__})
        yield _gauge("chat_healthy", "1: nothing is wrong, see /health.", not vitals.problems(reading))
        yield _gauge("chat_started_timestamp_seconds", "When the server was started.", vitals.since)
        yield _gauge("chat_database_up", "1: the database answers.", reading.answered)
        disk = vitals.disk()
        yield _gauge("chat_disk_free_bytes", "Free on the file system of the data directory.", disk.free)
        yield _gauge(
            "chat_disk_reserve_bytes", "When no more is free, nothing new is accepted.", disk.reserve
        )
        yield _gauges("chat_file_bytes", "The size of each file.", "file", disk.files.items())
        expires = vitals.expires()
        yield _gauges(
            "chat_certificate_expiry_timestamp_seconds",
            "Until when the TLS certificate is good; absent where there is none.",
            None,
            [] if expires is None else [("", expires.timestamp())],
        )

    def _people(self) -> Iterator[Metric]:
        vitals = self._vitals
        accounts, sessions = vitals.directory.online
        yield _gauge("chat_sessions", "Sessions that are logged in.", sessions)
        yield _gauge("chat_accounts_online", "Accounts with at least one session.", accounts)
        doors = GaugeMetricFamily(
            "chat_door_connections",
            "Connections at each door; encryption is tls, plaintext, or local.",
            labels=["door", "address", "encryption"],
        )
        for door in vitals.doors():
            doors.add_metric([door.kind, door.address, door.way], door.connections)
        yield doors
        yield _counter("chat_connections_refused", "Connections that came in vain.", vitals.crowd.refused)
        yield _gauge(
            "chat_buffered_bytes", "What clients do not read, or do not complete.", vitals.crowd.weight
        )
        yield _counters(
            "chat_account_events",
            "Logins, sign-ups and the like, as the log calls them.",
            "event",
            (
                (name, gauges.events[name])
                for name in (event.name.lower().replace("_", "-") for event in Event)
            ),
        )
        yield _counters(
            "chat_refusals",
            "What clients were refused, by the code they were told.",
            "code",
            ((code.value, gauges.refusals[code.value]) for code in Code),
        )

    def _messages(self) -> Iterator[Metric]:
        census = self.reading.census
        yield _counters(
            "chat_messages_accepted",
            "Messages that were ever accepted.",
            None,
            [] if census is None else [("", census.accepted)],
        )
        yield _gauges(
            "chat_messages",
            "Messages by what became of them; together all that were accepted.",
            "fate",
            [] if census is None else census.fates.items(),
        )
        yield _gauges(
            "chat_unaccounted_messages",
            "Messages that were accepted and are nowhere: always 0.",
            None,
            [] if census is None else [("", census.unaccounted)],
        )
        yield _gauges(
            "chat_counted_timestamp_seconds",
            "When all messages were last looked at, one by one.",
            None,
            [] if census is None else [("", census.counted / 1000)],
        )

    def _work(self) -> Iterator[Metric]:
        store = self._vitals.store.gauges
        yield _gauge(
            "chat_sends_under_way", "Messages on their way into the ledger.", self._vitals.mailroom.under_way
        )
        yield _gauges(
            "chat_queue_length",
            "What waits for the database, and passwords that are being hashed or wait for it.",
            "queue",
            [("database", store.queued), ("passwords", store.hashing)],
        )
        yield _histogram("chat_commit_seconds", "How long commits took, in seconds.", store.seconds)
        yield _histogram("chat_commit_operations", "How many operations a commit held.", store.sizes)

    def _rounds(self) -> Iterator[Metric]:
        rounds = self._vitals.rounds()
        yield _gauges(
            "chat_task_last_success_timestamp_seconds",
            "When a task was last done; 0: never since the start.",
            "task",
            [(each.name, each.succeeded or 0) for each in rounds],
        )
        yield _gauges(
            "chat_task_period_seconds",
            "How often it should be done.",
            "task",
            [(each.name, each.period) for each in rounds],
        )
        yield _gauges(
            "chat_task_late",
            "1: it was not done for three periods.",
            "task",
            [(each.name, each.late) for each in rounds],
        )
        yield _counters(
            "chat_task_failures",
            "How often it failed.",
            "task",
            [(each.name, each.failures) for each in rounds],
        )


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def _gauges(name: str, words: str, label: str | None, values: Iterable[tuple[str, float]]) -> Metric:
    return _family(GaugeMetricFamily, name, words, label, values)


def _counters(name: str, words: str, label: str | None, values: Iterable[tuple[str, float]]) -> Metric:
    return _family(CounterMetricFamily, name, words, label, values)


def _family(
    kind: Any, name: str, words: str, label: str | None, values: Iterable[tuple[str, float]]
) -> Metric:
    """A metric with one value for each value of a label, or with one or none without."""
    family = kind(name, words, labels=[] if label is None else [label])
    for value, number in values:
        family.add_metric([] if label is None else [value], number)
    made: Metric = family
    return made


def _histogram(name: str, words: str, histogram: Histogram) -> Metric:
    buckets = [("+Inf" if bound == float("inf") else f"{bound:g}", number) for bound, number in histogram]
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=histogram.total)


class Metrics(Resource):
    """For Prometheus."""

    isLeaf = True

    def __init__(self, vitals: Vitals, everybody: bool) -> None:
        """Tell the operator.

        @param everybody: tell everybody else, too.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._vitals = vitals
        self._everybody = everybody
        self._numbers = Numbers(vitals)
        self.registry = CollectorRegistry()  # not the one that is the same for the whole process
        self.registry.register(self._numbers)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render_GET(self, request: Request) -> bytes | int:
        """All the numbers, in the format that is asked for."""
        if not (self._everybody or from_operator(request)):
            detail = (
                "The numbers are for programs on the server's own machine that ask it directly, by HTTP/1.1,"
                " where the server was told of no proxy (--web-proxy, --web-origin)."
                " Its operator can let everybody ask with --metrics-open."
            )
            return request.refuse(HTTPStatus.FORBIDDEN, "not-for-you", detail)
        return _later(request, self._vitals.read(), self._write)

    def _write(self, request: Request, reading: Reading) -> bytes:
        self._numbers.reading = reading
        encode, kind = choose_encoder(request.getHeader("Accept") or "")
        request.setHeader(b"Content-Type", kind.encode())  # type: ignore[no-untyped-call]
        written: bytes = encode(self.registry)
        return written


class Health(Resource):
    """Whether the server is well; what is wrong, only for its operator."""

    isLeaf = True

    def __init__(self, vitals: Vitals, everybody: bool) -> None:
        """Tell everybody.

        @param everybody: tell everybody what is wrong, too.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._vitals = vitals
        self._everybody = everybody

    def render_GET(self, request: Request) -> bytes | int:
        """C{ok}, or a status for programs that look no further."""
        return _later(request, self._vitals.read(), self._write)

    def _write(self, request: Request, reading: Reading) -> bytes:
        problems = self._vitals.problems(reading)
        status = "failing" if any(each.grave for each in problems) else "degraded" if problems else "ok"
        answer: dict[str, object] = {"status": status}
        if self._everybody or from_operator(request):
            answer["problems"] = [{"part": each.part, "detail": each.words} for each in problems]
        if problems:
            request.setResponseCode(HTTPStatus.SERVICE_UNAVAILABLE)
        request.setHeader(b"Content-Type", b"application/json")  # type: ignore[no-untyped-call]
        return json.dumps(answer).encode() + b"\n"


def resources(vitals: Vitals, everybody: bool = False) -> dict[bytes, IResource]:
    """What is below the web door, by the first part of the path.

    @param everybody: whether the operator lets others see the numbers.
    """
    return {b"metrics": Metrics(vitals, everybody), b"health": Health(vitals, everybody)}


def from_operator(request: Request) -> bool:
    """Whether a program on this machine asks, directly and by a name that is only this machine's.

    A proxy that says nothing of those it asks for looks like such a program.  So nobody is one where
    the operator has told of a proxy, or speaks as nginx does that is told nothing else (HTTP/1.0).
    The name tells of other proxies, and of a web page that had its own name lead here.
    """
    return (
        is_local(request.getClientAddress())
        and is_loopback(request.getHeader(b"Host"))
        and request.clientproto == b"HTTP/1.1"
        and not (request.forwarded or request.site.proxies.named or request.site.origins.named)
    )


def _later(request: Request, reading: Deferred[Reading], write: Callable[[Request, Reading], bytes]) -> int:
    """Answer when it was read, unless nobody waits any more."""
    gone: list[object] = []
    request.notifyFinish().addBoth(gone.append)

    def answer(read: Reading) -> None:
        if not gone:
            body = write(request, read)
            request.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
            request.write(b"" if request.method == b"HEAD" else body)  # type: ignore[no-untyped-call]
            request.finish()  # type: ignore[no-untyped-call]

    reading.addCallback(answer).addErrback(request.processingFailed)
    reading.addErrback(lambda _: None)  # it is logged, and told
    return NOT_DONE_YET
