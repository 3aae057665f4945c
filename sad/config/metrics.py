"""The settings of the metrics: the ``[metrics]`` table of the settings file."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sad.config.problems import refused
from sad.config.values import AbsolutePath, Count

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):([1-9][0-9]{0,4})")


def _check_listen(value: str) -> str:
    if not value:
        return value
    if value.startswith("unix:/"):
        return value
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match[2]) > 65_535:
        raise refused(
            f'"{value}" is no place to listen at',
            'write "unix:/run/sad/metrics.sock", "127.0.0.1:9750" or "[::1]:9750"',
        )
    return value


class MetricsSettings(BaseModel):
    """Where Prometheus finds metrics; nowhere unless it is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        default="",
        description="Where metrics are served over HTTP at /metrics: an address with port, or "
        "unix:/run/sad/metrics.sock; empty: nowhere. An address also needs a drop-in of the unit "
        "(metrics.conf.example), which lets the daemon use the network for nothing else",
    )
    textfile: AbsolutePath | None = Field(
        default=None,
        description="File to which metrics are written, for the textfile collector of "
        "node_exporter; its folder must be writable for sad (ReadWritePaths= in a drop-in)",
    )
    textfile_interval_seconds: Count = Field(
        default=15, ge=1, le=3600, description="How often that file is written"
    )
