"""A snapshot as the text that Prometheus reads (its text format, version 0.0.4)."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from sidecar.core.parameters import clean
from sidecar.metrics.families import FAMILIES, Family
from sidecar.metrics.histogram import Histogram
from sidecar.metrics.snapshot import Snapshot


def text(snapshot: Snapshot) -> bytes:
    """Takes a while where there are many integrations: not for the event loop's own thread."""
    return generate_latest(_Collector(snapshot))


class _Collector:
    """One answer's metrics, and those of the process as every client of Prometheus names them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            yield _metric(family, self._snapshot)
        yield from _PROCESS.collect()


_PROCESS = ProcessCollector(registry=None)


def _metric(family: Family, snapshot: Snapshot) -> Metric:
    if family.type == "histogram":
        return _histogram(family, snapshot)
    kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=family.labels)
    for labels, value in family.read(snapshot):
        assert not isinstance(value, Histogram)
        metric.add_metric([clean(label) for label in labels], value)
    return metric


def _histogram(family: Family, snapshot: Snapshot) -> Metric:
    metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, value in family.read(snapshot):
        assert isinstance(value, Histogram)
        bounds = [*map(floatToGoString, value.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(value.counts), strict=True))
        metric.add_metric([clean(label) for label in labels], buckets, value.sum)
    return metric
