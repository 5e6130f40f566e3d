"""Instruments and families of Prometheus, made from the catalogue: help text, labels and kind stand there.

A process registers only what its roles tell: a web process that said `dmpool_spool_depth 0` would tell
something that is not so. A gauge whose description says when it is absent is not told before it is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pool.telemetry.catalogue import series
from pool.telemetry.series import EVERY, Kind, RoleName, Series

Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


class LateGauge(Gauge):
    """A gauge without labels that is not told before its first `set`."""

    _known = False

    def set(self, value: float) -> None:
        """From now on it is told."""
        super().set(value)
        self._known = True

    def set_function(self, f: Callable[[], float]) -> None:
        """From now on it is told, as `f` says at each scrape."""
        super().set_function(f)
        self._known = True

    def collect(self) -> Iterable[Metric]:
        """Its sample, once there is one."""
        return super().collect() if self._known else ()


class Instruments:
    """Makes the instruments of one process, each from its name alone."""

    def __init__(self, registry: CollectorRegistry, roles: Iterable[RoleName] = EVERY) -> None:
        self.registry = registry
        self._roles = frozenset(roles)

    def gauge(self, name: str) -> Gauge:
        """A gauge; one without labels that may be absent is told from its first `set` on."""
        one = _of_kind(name, "gauge")
        late = one.absent and not one.labels
        return (LateGauge if late else Gauge)(name, one.meaning, one.labels, registry=self._where(one))

    def counter(self, name: str) -> Counter:
        """A counter; `name` ends with _total, as it is served."""
        one = _of_kind(name, "counter")
        return Counter(name, one.meaning, one.labels, registry=self._where(one))

    def histogram(self, name: str) -> Histogram:
        """A histogram, with the bounds of its description."""
        one = _of_kind(name, "histogram")
        return Histogram(name, one.meaning, one.labels, buckets=one.buckets, registry=self._where(one))

    def _where(self, one: Series) -> CollectorRegistry | None:
        return self.registry if self._roles.intersection(one.roles) else None


def gauge_family(name: str, value: float | None = None) -> GaugeMetricFamily:
    """A gauge's samples of one scrape, for a collector: of `value`, or to be filled with `add_metric`."""
    one = _of_kind(name, "gauge")
    return GaugeMetricFamily(name, one.meaning, value, labels=None if value is not None else one.labels)


def counter_family(name: str, value: float | None = None) -> CounterMetricFamily:
    """A counter's, likewise; `name` ends with _total."""
    one = _of_kind(name, "counter")
    return CounterMetricFamily(name, one.meaning, value, labels=None if value is not None else one.labels)


def filled(family: Family, numbers: Mapping[str, float]) -> Family:
    """A family with one label, filled with a number for each of its values."""
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family


def _of_kind(name: str, kind: Kind) -> Series:
    one = series(name)
    if one.kind != kind:
        raise KeyError(f"{name!r} is a {one.kind} in the catalogue of metrics, not a {kind}")
    return one
