"""The rules of the guard as text for ``nft -f`` and ``iptables-restore``, and their counters.

Inbound, a packet to a protected address and port without a security path is dropped where it is
delivered (hook input). Outbound, a packet from one whose route has no IPsec transformation is
dropped where it leaves (hook postrouting: after any rerouting, and forwarded packets that borrow
our address are seen too). Both hooks see the loopback interface. ESP packets have no ports and
pass; what they carried is seen again after decryption.

The iptables form lives in the table ``mangle``: ``filter`` belongs to the administrator's own rule
sets, which are flushed and reloaded. Nothing outside our own table or chains is ever named, but
for the two jumps to them.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

NFT_TABLE: Final = "sad_guard"
CHAIN_IN: Final = "SAD-GUARD-IN"
CHAIN_OUT: Final = "SAD-GUARD-OUT"
# transports that SIP runs over; a protected port is one in each of them
TRANSPORTS: Final = ("udp", "tcp", "sctp")
_JUMPS: Final = (("INPUT", CHAIN_IN), ("POSTROUTING", CHAIN_OUT))


class ProtectedEndpoint(Protocol):
    """What the guard must know; :class:`sad.config.EndpointSettings` and Endpoint have it."""

    @property
    def name(self) -> str:
        """Name by which rules and counters mention the endpoint."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Local addresses, canonical text."""

    @property
    def ports(self) -> frozenset[int]:
        """Every protected port."""


@dataclass(frozen=True, slots=True)
class RuleCounter:
    """What the rules of one endpoint, address and direction have dropped."""

    endpoint: str
    address: str
    inbound: bool
    packets: int
    bytes: int


def port_ranges(ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the ports as (first, last) ranges in ascending order."""
    ranges: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return tuple(ranges)


# --- nftables ------------------------------------------------------------------------------------


def render_nftables(endpoints: Iterable[ProtectedEndpoint]) -> str:
    """Return input for ``nft -f``: one transaction that replaces our table by these rules."""
    inbound, outbound = [], []
    for endpoint, address in _protected(endpoints):
        family = "ip" if ipaddress.ip_address(address).version == 4 else "ip6"
        ports = ", ".join(_nft_range(*ends) for ends in port_ranges(endpoint.ports))
        transports = ", ".join(TRANSPORTS)
        verdict = f'counter drop comment "{endpoint.name} {address}"'
        inbound.append(
            f"{family} daddr {address} meta l4proto {{ {transports} }} "
            f"th dport {{ {ports} }} meta secpath missing {verdict}"
        )
        outbound.append(
            f"{family} saddr {address} meta l4proto {{ {transports} }} "
            f"th sport {{ {ports} }} rt ipsec missing {verdict}"
        )
    return "\n".join(
        [
            f"add table inet {NFT_TABLE}",  # so that the deletion finds one
            f"delete table inet {NFT_TABLE}",
            f"table inet {NFT_TABLE} {{",
            *_nft_chain("inbound", "input priority filter", inbound),
            # after source NAT: what counts is the address that leaves
            *_nft_chain("outbound", "postrouting priority srcnat + 10", outbound),
            "}",
            "",
        ]
    )


def render_nftables_removal() -> str:
    """Return input for ``nft -f`` that removes our table, present or not."""
    return f"add table inet {NFT_TABLE}\ndelete table inet {NFT_TABLE}\n"


def parse_nftables(listing: str) -> tuple[RuleCounter, ...]:
    """Return the counters of ``nft list table inet sad_guard``."""
    counters = []
    inbound = True
    for line in listing.splitlines():
        if chain := re.match(r"\s*chain (inbound|outbound) \{", line):
            inbound = chain[1] == "inbound"
        elif rule := re.search(
            r'counter packets (\d+) bytes (\d+) drop comment "(\S+) (\S+)"', line
        ):
            counters.append(RuleCounter(rule[3], rule[4], inbound, int(rule[1]), int(rule[2])))
    return tuple(counters)


def _nft_range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _nft_chain(name: str, hook: str, rules: Sequence[str]) -> Iterator[str]:
    yield f"\tchain {name} {{"
    yield f"\t\ttype filter hook {hook}; policy accept;"
    yield from (f"\t\t{rule}" for rule in rules)
    yield "\t}"


# --- iptables ------------------------------------------------------------------------------------


def render_iptables(endpoints: Iterable[ProtectedEndpoint]) -> tuple[str, str]:
    """Return input for ``iptables-restore --noflush`` and for ``ip6tables-restore --noflush``.

    One commit replaces the contents of our chains. It also inserts the jumps to them:
    :func:`replacing_jumps` makes the text idempotent. A family without addresses gives "".
    """
    protected = tuple(_protected(endpoints))
    return _render_family(protected, 4), _render_family(protected, 6)


def replacing_jumps(rules: str, saved: str) -> str:
    """Return ``rules`` so that they first delete the jumps that ``saved`` shows.

    ``saved`` is the output of ``iptables-save``. The jumps come back at the head of their chains
    in the same commit, so there is no gap.
    """
    deletions = "".join(f"-D {jump}\n" for jump in _present_jumps(saved))
    first_jump = f"-I {_JUMPS[0][0]} "
    return rules.replace(first_jump, deletions + first_jump, 1)


def render_iptables_removal(saved: str) -> str:
    """Return input for ``iptables-restore --noflush`` that removes what ``saved`` shows of ours.

    "" if there is nothing.
    """
    chains = [chain for _, chain in _JUMPS if re.search(rf"^:{chain} ", saved, re.MULTILINE)]
    if not chains:
        return ""
    lines = [f"-D {jump}" for jump in _present_jumps(saved)]
    lines += [f"-F {chain}" for chain in chains]
    lines += [f"-X {chain}" for chain in chains]
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


def parse_iptables(saved: str) -> tuple[RuleCounter, ...]:
    """Return the counters of ``iptables-save --counters``, the transports of a rule added up."""
    totals: dict[tuple[str, str, bool], tuple[int, int]] = {}
    pattern = rf'^\[(\d+):(\d+)\] -A ({CHAIN_IN}|{CHAIN_OUT}) .*--comment "(\S+) (\S+)"'
    for rule in re.finditer(pattern, saved, re.MULTILINE):
        key = (rule[4], rule[5], rule[3] == CHAIN_IN)
        packets, octets = totals.get(key, (0, 0))
        totals[key] = (packets + int(rule[1]), octets + int(rule[2]))
    return tuple(RuleCounter(*key, *total) for key, total in totals.items())


def _render_family(protected: Sequence[tuple[ProtectedEndpoint, str]], version: int) -> str:
    inbound, outbound = [], []
    for endpoint, address in protected:
        if ipaddress.ip_address(address).version != version:
            continue
        host = f"{address}/{32 if version == 4 else 128}"
        ports = ",".join(
            str(first) if first == last else f"{first}:{last}"
            for first, last in port_ranges(endpoint.ports)
        )
        verdict = f'-m comment --comment "{endpoint.name} {address}" -j DROP'
        for transport in TRANSPORTS:
            inbound.append(
                f"-A {CHAIN_IN} -d {host} -p {transport} -m multiport --dports {ports} "
                f"-m policy --dir in --pol none {verdict}"
            )
            outbound.append(
                f"-A {CHAIN_OUT} -s {host} -p {transport} -m multiport --sports {ports} "
                f"-m policy --dir out --pol none {verdict}"
            )
    if not inbound:
        return ""
    # naming a chain of ours with --noflush makes or empties it
    declared = [f":{chain} - [0:0]" for _, chain in _JUMPS]
    jumps = [f"-I {hook} 1 -j {chain}" for hook, chain in _JUMPS]
    return "\n".join(["*mangle", *declared, *inbound, *outbound, *jumps, "COMMIT", ""])


def _present_jumps(saved: str) -> list[str]:
    pairs = "|".join(f"{hook} -j {chain}" for hook, chain in _JUMPS)
    return re.findall(rf"^(?:\[\d+:\d+\] )?-A ({pairs})$", saved, re.MULTILINE)


def _protected(
    endpoints: Iterable[ProtectedEndpoint],
) -> Iterator[tuple[ProtectedEndpoint, str]]:
    for endpoint in endpoints:
        for address in endpoint.addresses:
            yield endpoint, address
