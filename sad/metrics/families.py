"""Families of metrics that are made when somebody asks."""

from collections.abc import Mapping
from typing import TypeAlias

from prometheus_client.core import GaugeMetricFamily

Values: TypeAlias = Mapping[tuple[str, ...], float]


def gauge(name: str, help_text: str, labels: tuple[str, ...], values: Values) -> GaugeMetricFamily:
    """Return a gauge with a value for each combination of labels."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
