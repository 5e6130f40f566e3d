"""What a process tells on its metrics listener, read: series by name, to be asked by label. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
_NOTHING: Final[tuple[tuple[Labels, float], ...]] = ()


class Samples:
    """One scrape. Series that are not there are None, never 0."""

    def __init__(self, series: Mapping[str, Iterable[tuple[Labels, float]]]) -> None:
        self._series = {name: tuple(samples) for name, samples in series.items()}

    @classmethod
    def parse(cls, text: str) -> Samples:
        """Of Prometheus's text format; raises ValueError for what is none."""
        series: dict[str, list[tuple[Labels, float]]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    series.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(f"what it tells is no Prometheus text: {error}") from None
        if not series:
            raise ValueError("it tells no series: is this a metrics listener?")
        return cls(series)

    def of(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """The samples of a series that have these labels."""
        found = self._series.get(name, _NOTHING)
        return [(has, value) for has, value in found if labels.items() <= dict(has).items()]

    def sum(self, name: str, **labels: str) -> float | None:
        """All of them together; None when there is none."""
        return self._all(sum, name, labels)

    def max(self, name: str, **labels: str) -> float | None:
        """The greatest; None when there is none."""
        return self._all(max, name, labels)

    def min(self, name: str, **labels: str) -> float | None:
        """The least; None when there is none."""
        return self._all(min, name, labels)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Sums by the values of a label."""
        sums: dict[str, float] = {}
        for has, value in self.of(name, **labels):
            sums[has.get(label, "")] = sums.get(has.get(label, ""), 0.0) + value
        return sums

    def _all(self, what: Callable[[list[float]], float], name: str, labels: Labels) -> float | None:
        values = [value for _, value in self.of(name, **labels)]
        return what(values) if values else None
