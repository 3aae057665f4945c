"""The settings of the daemon as one immutable, valid value.

The descriptions of the fields are the documentation: ``sad --help``, the manual page and the
hints of errors are made of them. Building these models reads nothing: :mod:`sad.config.sources`
reads.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sad.config.cluster import ClusterSettings
from sad.config.endpoint import EndpointSettings
from sad.config.ike import IkeSettings
from sad.config.limits import LimitSettings
from sad.config.metrics import MetricsSettings
from sad.config.problems import BrokenRule, raise_broken
from sad.config.tls import CredentialSettings
from sad.config.values import (
    HIGHEST_U32,
    AbsolutePath,
    Account,
    Count,
    FileMode,
    ReqidRange,
    split_text,
)

Accounts = Annotated[tuple[Account, ...], BeforeValidator(split_text)]


class LifetimeSettings(BaseModel):
    """Spans of time (norms section 12; design section 6)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reg_await_auth_seconds: Count = Field(
        default=240,
        ge=1,
        le=3600,
        description="Life of a temporary set: reg-await-auth of TS 24.229",
    )
    registration_margin_seconds: Count = Field(
        default=30,
        ge=0,
        le=3600,
        description="How much longer than its registration an association lives",
    )
    t1_milliseconds: Count = Field(
        default=2000,
        ge=1,
        le=60_000,
        description="SIP timer T1 toward the user agent (TS 24.229 table 7.7.1); a replaced set "
        "retires for 64*T1",
    )
    backstop_seconds: Count = Field(
        default=15,
        ge=1,
        le=3600,
        description="How far beyond the deadline the kernel ends an SA on its own if the daemon "
        "is dead",
    )
    longest_registration_seconds: Count = Field(
        default=604_800,
        ge=60,
        le=31_536_000,
        description="Longest registration that is accepted; also the kernel's limit of policies",
    )
    key_switch_seconds: Count = Field(
        default=60,
        ge=0,
        le=86_400,
        description="How long after not_before a new key set of ipsec-man is received on before "
        "it is sent on: more than the two clocks may differ",
    )
    max_linger_seconds: Count = Field(
        default=128, ge=0, le=86_400, description="Longest linger that Release may ask for"
    )

    nat_keepalive_seconds: Count = Field(
        default=20, ge=0, le=3600, description="Between keep-alive packets through a NAT; 0: none"
    )

    @property
    def retiring_seconds(self) -> float:
        """64*T1: how long a replaced set stays for the transactions that run on it (GAP-8)."""
        return 64 * self.t1_milliseconds / 1000


class KernelSettings(BaseModel):
    """How things lie in the kernel (design section 7)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replay_window: Count = Field(
        default=128,
        ge=64,
        le=4096,
        multiple_of=32,
        description="Anti-replay window of inbound SAs in packets (TS 33.203 7.1: always on), 64 "
        "to 4096, a multiple of 32",
    )
    reqid_range: ReqidRange = Field(
        default=(0x2000_0000, 0x7FFF_FFFF),
        description="Lowest and highest reqid that this daemon draws; keep out of the range of "
        "other IPsec software",
    )
    policy_priority: Count = Field(
        default=2000,
        ge=0,
        le=HIGHEST_U32,
        description="Priority of the policies of an association; a smaller number wins",
    )
    block_clear_priority: Count = Field(
        default=3_000_000_000,
        ge=0,
        le=HIGHEST_U32,
        description="Priority of the policies that block clear text to a peer's protected ports",
    )
    block_endpoint_priority: Count = Field(
        default=4_000_000_000,
        ge=0,
        le=HIGHEST_U32,
        description="Priority of the policies that block clear text on an endpoint's ports",
    )
    event_buffer_bytes: Count = Field(
        default=8_388_608,
        ge=65_536,
        le=1_073_741_824,
        description="Receive buffer of the kernel's notices; if it runs over, everything is "
        "compared",
    )
    request_buffer_bytes: Count = Field(
        default=4_194_304,
        ge=65_536,
        le=1_073_741_824,
        description="Receive buffer of the kernel's answers (768 bytes each)",
    )
    reconcile_interval_seconds: Count = Field(
        default=300,
        ge=1,
        le=86_400,
        description="How often kernel and journal are compared without an occasion",
    )


class Settings(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket_path: AbsolutePath = Field(
        default="/run/sad.sock",
        description="Socket that is made when systemd hands none over (systemd: sad.socket)",
    )
    socket_mode: FileMode = Field(
        default=0o660, description="Permissions of that socket, e.g. 0o660"
    )
    socket_group: Account | None = Field(
        default=None, description="Group of that socket; without it the daemon's own"
    )
    state_directory: AbsolutePath = Field(
        default="/run/sad/state",
        description="Directory of the journal: it describes this boot's kernel state, so it lies "
        "below /run",
    )
    status_groups: Accounts = Field(
        default=(), description="Groups that may look: status, list, monitor"
    )
    control_groups: Accounts = Field(
        default=(), description="Groups that may look and control: reconcile, release"
    )
    stop: Literal["keep", "remove"] = Field(
        default="keep",
        description="What an orderly stop does with SAs and policies: keep them until their "
        "deadlines (a restart loses nothing) or remove them",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged"
    )
    ownership_tag: Count = Field(
        default=0x5AD0_5AD0,
        ge=1,
        le=HIGHEST_U32,
        description="Number that marks what is ours in the kernel (the selector's user field); "
        "not 0, and another for each daemon of a network namespace",
    )
    journal_on_corrupt: Literal["refuse", "rebuild"] = Field(
        default="refuse",
        description="What to do at start with a damaged journal: refuse, or rebuild it from the "
        "rows that can be read and that the kernel confirms, and remove everything else that is "
        "ours",
    )
    on_kernel_loss: Literal["end", "rebuild"] = Field(
        default="end",
        description="What becomes of a set whose SAs somebody else deleted or flushed: end, and "
        "the user agent registers again; or rebuild, with the same keys and SPIs. For that the "
        "keys are kept, sealed, in state_directory, under the 32 bytes of the credential "
        "sad-seal (systemd: LoadCredential), so that a restarted daemon can rebuild too; without "
        "it in memory only; with state_directory on a disk, over a reboot too. After a flush or "
        "a reboot the kernel does not say what was received: somebody who recorded the set's "
        "packets could have each taken once more, unlike with end",
    )
    key_directory: AbsolutePath = Field(
        default="/etc/sad/keys.d",
        description="Directory of the key sets of ipsec-man: files *.toml that no other user may "
        "read or write (see keys.toml.example). Credentials whose names begin with sad-keys are "
        "read, too (systemd: LoadCredential=sad-keys:/etc/sad/keys.d)",
    )
    lifetimes: LifetimeSettings = Field(
        default_factory=LifetimeSettings, description="Spans of time"
    )
    kernel: KernelSettings = Field(
        default_factory=KernelSettings, description="How things lie in the kernel"
    )
    limits: LimitSettings = Field(
        default_factory=LimitSettings, description="How much there may be"
    )
    metrics: MetricsSettings = Field(
        default_factory=MetricsSettings, description="Where Prometheus finds metrics"
    )
    ike: IkeSettings = Field(
        default_factory=IkeSettings, description="The strongSwan of mechanism ipsec-ike"
    )
    cluster: ClusterSettings = Field(
        default_factory=ClusterSettings, description="More than one node"
    )
    credentials: CredentialSettings = Field(
        default_factory=CredentialSettings, description="TLS credential sets of endpoints"
    )
    endpoint: tuple[EndpointSettings, ...] = Field(
        default=(), description="Endpoints: local addresses with their protected ports"
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        raise_broken(self._broken_rules())
        return self

    def _broken_rules(self) -> Iterator[BrokenRule]:
        kernel = self.kernel
        if not kernel.policy_priority < kernel.block_clear_priority:
            yield BrokenRule(
                ("kernel", "block_clear_priority"),
                "not above kernel.policy_priority",
                "a block must lose against the policies of an association: give it a larger "
                "number",
            )
        if self.cluster.enabled and kernel.policy_priority < 2:
            yield BrokenRule(
                ("kernel", "policy_priority"),
                "less than 2",
                "in a cluster 1 is for the blocks of an endpoint that another node owns",
            )
        if not kernel.block_clear_priority < kernel.block_endpoint_priority:
            yield BrokenRule(
                ("kernel", "block_endpoint_priority"),
                "not above kernel.block_clear_priority",
                "the endpoint's block must lose against all others: give it a larger number",
            )
        if self.limits.max_connections_per_uid > self.limits.max_connections:
            yield BrokenRule(
                ("limits", "max_connections_per_uid"),
                "above limits.max_connections",
                "lower it, or raise limits.max_connections",
            )
        if self.limits.max_waiting_calls_per_uid > self.limits.max_waiting_calls:
            yield BrokenRule(
                ("limits", "max_waiting_calls_per_uid"),
                "above limits.max_waiting_calls",
                "lower it, or raise limits.max_waiting_calls",
            )
        for part in ("max_temporary_sets", "offers_per_second"):
            if getattr(self.limits, f"{part}_per_address") > getattr(self.limits, part):
                yield BrokenRule(
                    ("limits", f"{part}_per_address"),
                    f"above limits.{part}",
                    f"lower it, or raise limits.{part}",
                )
        yield from _broken_between_endpoints(self.endpoint)


def _broken_between_endpoints(endpoints: tuple[EndpointSettings, ...]) -> Iterator[BrokenRule]:
    names: set[str] = set()
    holders: dict[tuple[str, int], int] = {}
    for index, endpoint in enumerate(endpoints):
        if endpoint.name in names:
            yield BrokenRule(
                ("endpoint", index, "name"),
                f'there is another endpoint "{endpoint.name}"',
                "give each its own name",
            )
        names.add(endpoint.name)
        for address in endpoint.addresses:
            taken: dict[int, list[int]] = {}
            for port in sorted(endpoint.ports):
                holder = holders.setdefault((address, port), index)
                if holder != index:
                    taken.setdefault(holder, []).append(port)
            for holder, ports in taken.items():
                at_server = ports == [endpoint.server_port]
                yield BrokenRule(
                    ("endpoint", index, "server_port" if at_server else "client_ports"),
                    f"{address} port {', '.join(map(str, ports))} belongs to endpoint "
                    f'"{endpoints[holder].name}"',
                    "an address and port belong to one endpoint: take other ports",
                )
    for index, endpoint in enumerate(endpoints):
        for address in endpoint.addresses if endpoint.speaks_tls else ():
            # Its own ports it has compared itself.
            holder = holders.get((address, endpoint.tls_port), index)
            if holder != index:
                yield BrokenRule(
                    ("endpoint", index, "tls_port"),
                    f"{address} port {endpoint.tls_port} is a protected port of endpoint "
                    f'"{endpoints[holder].name}"',
                    "take another port for TLS: clear text to protected ports is dropped",
                )
