"""What is counted, as the text of Prometheus: `render` gives it, `write` puts it into a file for node_exporter.

The one rule: nothing is worked out before somebody asks. The parts count in plain numbers; this reads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

import inboxd
from inboxd.daemon.crew import Crew
from inboxd.daemon.intake import Intake
from inboxd.daemon.janitor import Janitor
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.spool import Spool
from inboxd.jobs.client import ApiClient
from inboxd.jobs.tally import Histogram


class Metrics(Collector):
    """The metrics of one daemon."""

    def __init__(
        self,
        spool: Spool,
        *,
        intake: Intake,
        client: ApiClient,
        outbox: Outbox,
        crew: Crew,
        janitor: Janitor,
        window: int,
    ) -> None:
        self._spool = spool
        self._intake = intake
        self._client = client
        self._outbox = outbox
        self._crew = crew
        self._janitor = janitor
        self._window = window
        self._registry = CollectorRegistry()
        self._registry.register(self)
        # Memory, processor time and open files of the process, under the names that everybody uses for them.
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Give all of it in the text format, version 0.0.4."""
        return generate_latest(self._registry)

    def write(self, path: str) -> None:
        """Replace the file whole; raises OSError."""
        unfinished = f"{path}.{os.getpid()}.tmp"
        try:
            with open(unfinished, "wb") as file:
                file.write(self.render())
            os.rename(unfinished, path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: only what there is to tell is told."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all numbers."""
        yield InfoMetricFamily("inboxd", "The daemon.", {"version": inboxd.__version__})
        yield from self._per_api()
        yield from self._lanes()
        yield _histogram(
            "inboxd_commit_seconds", "How long groups of answers took to become durable.", self._outbox.took
        )
        yield from self._folders()
        found = self._intake.hints.found_by_clock
        yield _counter("inboxd_found_by_rescan", "Files found by looking, without an event of the kernel.", found)
        window = GaugeMetricFamily("inboxd_window_jobs", "Jobs in memory.", labels=["state"])
        queue = self._client.queue
        window.add_metric(["running"], queue.running)
        window.add_metric(["waiting"], max(queue.held - queue.running, 0))
        yield window
        processes = GaugeMetricFamily("inboxd_process_jobs", "Jobs that other processes have.", labels=["process"])
        for mate in self._crew.state:
            processes.add_metric([str(mate["number"])], mate["jobs"])
        yield processes
        yield GaugeMetricFamily("inboxd_window_limit", "Jobs that memory may hold.", self._window)
        trouble = (self._intake.trouble, self._outbox.trouble, self._intake.watch.trouble)
        yield GaugeMetricFamily(
            "inboxd_trouble", "How many parts cannot do their work just now.", sum(map(bool, trouble))
        )

    def _per_api(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("inboxd_answers", "Answers by API and status.", labels=["api", "status"])
        attempts = CounterMetricFamily("inboxd_attempts", "Calls by how they ended.", labels=["api", "outcome"])
        cache = CounterMetricFamily("inboxd_cache_answers", "What the cache did for answers.", labels=["api", "use"])
        waits = SummaryMetricFamily("inboxd_lane_wait_seconds", "Waits of due jobs for their call.", labels=["api"])
        for api, tally in sorted(self._client.queue.tallies.all().items()):
            _add(answers, api, tally.answers)
            _add(attempts, api, tally.attempts)
            _add(cache, api, tally.cache)
            waits.add_metric([api], tally.taken, tally.waited)
        yield from (answers, attempts, cache, waits)

    def _lanes(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("inboxd_lane_jobs", "Jobs in memory by API.", labels=["api", "state"])
        rests = GaugeMetricFamily("inboxd_lane_rests_seconds", "For how long an API is left alone.", labels=["api"])
        faults = GaugeMetricFamily("inboxd_lane_faults", "Temporary faults in a row.", labels=["api"])
        known = self._client.queue.tallies.all()
        for api, state in self._client.queue.states().items():
            if api in known:
                jobs.add_metric([api, "waiting"], state["waiting"])
                jobs.add_metric([api, "running"], state["running"])
                rests.add_metric([api], state["rests_for"])
                faults.add_metric([api], state["faults"])
        rates = GaugeMetricFamily("inboxd_lane_rate_limit", "Calls a second that an API allows.", labels=["api"])
        for one in self._client.apis.named.values():
            if one.rate is not None:
                rates.add_metric([one.name], one.rate.per_second)
        yield from (jobs, rests, faults, rates)

    def _folders(self) -> Iterator[Metric]:
        files = GaugeMetricFamily("inboxd_folder_files", "Files at the janitor's last round.", labels=["folder"])
        size = GaugeMetricFamily("inboxd_folder_bytes", "Their size.", labels=["folder"])
        for folder, (count, total) in sorted(self._janitor.held.items()):
            files.add_metric([folder], count)
            size.add_metric([folder], total)
        removed = CounterMetricFamily("inboxd_removed_files", "Files that were kept no longer.", labels=["folder"])
        for folder in ("outbox", "failed", "cache", *(name for name in self._janitor.held if name.endswith("/dead"))):
            removed.add_metric([folder], self._janitor.removed[folder])
        yield from (files, size, removed)
        yield GaugeMetricFamily("inboxd_disk_free_bytes", "What can still be written.", self._spool.free_bytes())


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _add(family: CounterMetricFamily, api: str, counts: Mapping[str, int]) -> None:
    # A copy in one step: others are counting.
    for label, count in sorted(dict(counts).items()):
        family.add_metric([api, label], count)


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    counts, buckets, total = list(histogram.counts), [], 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(name, text, buckets, histogram.total)
