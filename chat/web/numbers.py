"""The numbers themselves, for Prometheus.

This is imported when somebody asks for them: prometheus_client takes more than 1 MiB, with a web server
of its own, and most servers have nobody who asks.  What could not be imported then is in L{chat.rights.LATE}.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator

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

from chat import __version__
from chat.errors import Code
from chat.health import gauges
from chat.health.gauges import Histogram
from chat.health.vitals import Reading, Vitals
from chat.journal import Event


class Numbers(Collector):
    """Everything there is to tell, as it was when L{reading} was read."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self.reading = Reading(False, None)
        self._registry = CollectorRegistry()  # not the one that is the same for the whole process
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def written(self, reading: Reading, accepted: str) -> tuple[bytes, str]:
        """All the numbers, in the format that is asked for, and what that is called."""
        self.reading = reading
        encode, kind = choose_encoder(accepted)
        return encode(self._registry), kind

    def collect(self) -> Iterator[Metric]:
        """Each metric with its values; docs/operations.rst says what they mean."""
        yield from self._server()
        yield from self._people()
        yield from self._messages()
        yield from self._work()
        yield from self._tasks()

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
        yield _gauge(
            "chat_unindexed_messages", "Messages that are not in the index yet, about.", store.unindexed
        )
        yield _histogram("chat_commit_seconds", "How long commits took, in seconds.", store.seconds)
        yield _histogram("chat_commit_operations", "How many operations a commit held.", store.sizes)

    def _tasks(self) -> Iterator[Metric]:
        tasks = self._vitals.tasks()
        yield _gauges(
            "chat_task_last_success_timestamp_seconds",
            "When a task was last done; 0: never since the start.",
            "task",
            [(each.name, each.succeeded or 0) for each in tasks],
        )
        yield _gauges(
            "chat_task_period_seconds",
            "How often it should be done.",
            "task",
            [(each.name, each.period) for each in tasks],
        )
        yield _gauges(
            "chat_task_late",
            "1: it was not done for three periods.",
            "task",
            [(each.name, each.late) for each in tasks],
        )
        yield _counters(
            "chat_task_failures",
            "How often it failed.",
            "task",
            [(each.name, each.failures) for each in tasks],
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
