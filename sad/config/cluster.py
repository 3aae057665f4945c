"""The settings of more than one node: the ``[cluster]`` table of the settings file."""

import re
import socket
from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sad.config.problems import BrokenRule, raise_broken, refused
from sad.config.values import AbsolutePath, Count, split_text

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHARE: Final = re.compile(r"([0-9]{1,3})/([0-9]{1,3})")
_MEMBER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([1-9][0-9]{0,4})")


def _check_name(value: str) -> str:
    if value and _NAME.fullmatch(value) is None:
        raise refused(f'"{value}" is no name', "take letters, digits, dots and dashes, at most 63")
    return value


def _check_member(value: str) -> str:
    match = _MEMBER.fullmatch(value)
    if match is None or int(match[2]) > 65_535:
        raise refused(
            f'"{value}" is no member of etcd', 'write "10.0.0.1:2379", one for each member'
        )
    return value


def _check_share(value: str) -> str:
    match = _SHARE.fullmatch(value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise refused(f'"{value}" is no share', 'write "1/2" at one node, "2/2" at the other')
    return value


Name = Annotated[str, AfterValidator(_check_name)]
Member = Annotated[str, AfterValidator(_check_member)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class ClusterSettings(BaseModel):
    """More than one node; with a name, and not without."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(
        default="",
        description="Name of the cluster, the same at all of its nodes; empty: this node is alone "
        "and needs no etcd. Needs the package's extra sad[cluster], the credential sad-cluster "
        "(32 bytes, the same at all nodes) and a drop-in of the unit (cluster.conf.example)",
    )
    node: Name = Field(
        default="", description="Name of this node, no two the same; empty: that of the host"
    )
    etcd: Annotated[tuple[Member, ...], BeforeValidator(split_text)] = Field(
        default=(),
        description='Members of the etcd cluster, the nearest first, e.g. ["10.0.0.1:2379"]',
    )
    etcd_ca: AbsolutePath | None = Field(
        default=None, description="Trust anchor of etcd's certificate, PEM; without it no TLS"
    )
    etcd_certificate: AbsolutePath | None = Field(
        default=None, description="This node's certificate toward etcd, PEM"
    )
    etcd_key: AbsolutePath | None = Field(
        default=None, description="Its private key, PEM, which only root or sad's user may read"
    )
    etcd_user: str = Field(
        default="",
        description="User of etcd; its password is the credential sad-etcd-password",
    )
    call_timeout_seconds: Seconds = Field(
        default=1.0, description="How long a member of etcd may take to answer"
    )
    lease_seconds: Count = Field(
        default=3,
        ge=2,
        le=60,
        description="Lease of a node: an automatic endpoint whose owner has not renewed it for so "
        "long is another's. etcd grants no less than 1.5 of its election times",
    )
    lease_margin_seconds: Seconds = Field(
        default=1.0,
        description="How long before the end of its lease an owner stops: more than a stall of "
        "the node, and than the clocks of two nodes differ in that time",
    )
    start_seconds: Seconds = Field(
        default=10.0,
        description="How long the start waits for etcd; then a manual endpoint is served from "
        "this node's own state if it was this node's, and an automatic one is not",
    )
    takeover_seconds: Seconds = Field(
        default=30.0,
        description="How long the owner of an endpoint may take to give it when another node asks",
    )
    max_waiting_changes: Count = Field(
        default=100_000,
        ge=1000,
        le=4_000_000,
        description="Changes of associations that etcd has not been told yet; when there are "
        "more, whole endpoints are compared with etcd later",
    )
    max_sets_per_identity: Count = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="SA sets of a private identity that has some at another node, too, all nodes "
        "together; 0: no limit but those of each node",
    )
    spi_share: Annotated[str, AfterValidator(_check_share)] = Field(
        default="1/1",
        description="Part of every spi_range that this node allocates from, e.g. 1/2 and 2/2 at "
        "two nodes: no SPI is then given out by both, whichever has an address",
    )
    counters_interval_seconds: Seconds = Field(
        default=1.0,
        description="How often etcd is told of sequence numbers that have moved",
    )

    @property
    def enabled(self) -> bool:
        """Whether this node is in a cluster."""
        return bool(self.name)

    def part_of(self, spi_range: tuple[int, int]) -> tuple[int, int]:
        """Return this node's part of a range, inclusive; parts are of one size."""
        number, parts = map(int, self.spi_share.split("/"))
        low, high = spi_range
        size = (high - low + 1) // parts
        first = low + (number - 1) * size
        return first, first + size - 1 if number < parts else high

    @property
    def node_name(self) -> str:
        """The name of this node."""
        return self.node or socket.gethostname().partition(".")[0]

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        raise_broken(self._broken_rules())
        return self

    def _broken_rules(self) -> Iterator[BrokenRule]:
        if self.name and not self.etcd:
            yield BrokenRule(("etcd",), "missing", 'name its members: etcd = ["10.0.0.1:2379"]')
        if self.name and _NAME.fullmatch(self.node_name) is None:
            yield BrokenRule(("node",), "missing", "give this node a name that no other has")
        if (self.etcd_certificate is None) != (self.etcd_key is None):
            yield BrokenRule(
                ("etcd_key",), "a certificate and its key belong together", "give both, or none"
            )
        if self.etcd_certificate is not None and self.etcd_ca is None:
            yield BrokenRule(
                ("etcd_ca",), "missing: without it no TLS is spoken", "give etcd's trust anchor"
            )
        if self.lease_margin_seconds * 2 > self.lease_seconds:
            yield BrokenRule(
                ("lease_margin_seconds",),
                "more than half of lease_seconds",
                "an owner must have time to renew: make the lease longer or the margin shorter",
            )
