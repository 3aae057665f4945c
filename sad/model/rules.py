"""Settings that pure decisions and plans need, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """Spans in seconds (norms section 12; design section 6)."""

    reg_await_auth: float = 240.0
    registration_margin: float = 30.0
    retiring: float = 128.0  # 64*T1 with T1 = 2 s toward the UE (GAP-8)
    backstop: float = 15.0
    longest_registration: float = 604_800.0
    longest_linger: float = 128.0
    key_switch: float = 60.0
    nat_keepalive: float = 20.0  # RFC 3948 section 4; 0 for none

    @property
    def policies(self) -> float:
        """The kernel's limit of a registration's policies.

        Beyond that of any SA of its sets, and of a temporary set that shares them at the end.
        """
        longest = self.longest_registration + self.registration_margin + self.reg_await_auth
        return longest + 2 * self.backstop

    def outlasts(self, deadline_at: float, policies_until: float) -> bool:
        """Whether policies must be renewed for a set that ends at ``deadline_at``."""
        return deadline_at + self.reg_await_auth + self.backstop > policies_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How sets lie in the kernel (design section 7). A smaller policy priority wins.

    ``block_standby_priority`` is that of an endpoint's block policies while another node owns it:
    nothing of it passes, whatever else stands. ``tell_counters``: the kernel tells of their
    sequence numbers, for another node to go on from.
    """

    owner: int
    replay_window: int = 128
    reqid_range: tuple[int, int] = (0x2000_0000, 0x7FFF_FFFF)
    policy_priority: int = 2000
    block_clear_priority: int = 3_000_000_000
    block_endpoint_priority: int = 4_000_000_000
    tell_counters: bool = False
    block_standby_priority: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many there may be.

    The kernel keeps the policies of one pair of addresses in one chain (ten a set), which it
    walks for each packet and each change: ``max_sets_per_address_pair`` bounds that.

    ``calls_at_once`` are worked on, ``waiting_calls`` wait for their turn: those for user agents
    with an association in one queue, those for others in another. The rest bounds what
    unprotected REGISTERs can take (design section 6): temporary sets, and Screen and Offer calls
    a second (a bucket holds ``burst_seconds`` of them). ``reserved`` is the part of
    ``max_associations`` that is kept for REGISTERs on an SA.
    """

    max_associations: int = 200_000
    max_sets_per_registration: int = 3  # T33-7.1-p3: six SAs per direction
    max_sets_per_address_pair: int = 128
    max_temporary_sets: int = 20_000
    max_temporary_sets_per_address: int = 256
    max_temporary_sets_per_identity: int = 4
    offers_per_second: float = 2000.0
    offers_per_second_per_address: float = 50.0
    burst_seconds: float = 2.0
    reserved_percent: int = 5
    calls_at_once: int = 256
    waiting_calls: int = 4096
    waiting_calls_per_uid: int = 2048

    @property
    def reserved(self) -> int:
        """Associations that only a REGISTER on an SA may still take."""
        return self.max_associations * self.reserved_percent // 100
