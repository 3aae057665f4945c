"""``sadctl check``: whether the node is fit, and whether SIP servers that shall use it do so.

The counterpart of :mod:`sad.mechanisms.probe`, which refuses a start; this one only tells, and
looks at more.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from sad.model.algorithms import modules_of
from sad.model.endpoint import Endpoint, Profile
from sad.model.inspection import CheckResult, Fitness
from sad.runtime.state import Shared


class NodeView(Protocol):
    """The node (:class:`sad.runtime.node.Node`)."""

    def may_administer(self) -> bool:
        """Whether this process holds CAP_NET_ADMIN."""

    def listeners(self) -> tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]:
        """Return the (address, port) pairs of UDP sockets, and of listening TCP sockets."""

    def strongswan_socket(self) -> str | None:
        """Return charon's VICI socket, if there is one."""


class Checks:
    """Looks at the node. ``probe`` asks the kernel and returns what it lacks, with its words."""

    def __init__(
        self,
        shared: Shared,
        *,
        node: NodeView,
        probe: Callable[[], Awaitable[Mapping[str, str]]],
        connected_uids: Callable[[], Mapping[int, int]],
        unfit: Callable[[Exception], tuple[str, str] | None],
    ) -> None:
        self._shared = shared
        self._node = node
        self._probe = probe
        self._connected_uids = connected_uids
        self._unfit = unfit

    async def run(self) -> tuple[CheckResult, ...]:
        """Return what was found, in the order in which it matters."""
        endpoints = tuple(self._shared.settings.endpoints.values())
        results = [self._capability()]
        results += await self._algorithms()
        if not endpoints:
            results.append(
                _warning("endpoints", "none is configured", "add [[endpoint]] to sad.toml")
            )
        for endpoint in endpoints:
            results += self._ports(endpoint)
            results.append(self._hook(endpoint))
        results.append(self._strongswan(endpoints))
        return tuple(results)

    def _capability(self) -> CheckResult:
        if self._node.may_administer():
            return _ok("capability", "CAP_NET_ADMIN is held")
        return _failed(
            "capability",
            "CAP_NET_ADMIN is not held",
            "start sad by its systemd unit",
        )

    async def _algorithms(self) -> list[CheckResult]:
        try:
            missing = await self._probe()
        except Exception as error:
            known = self._unfit(error)
            if known is None:
                raise
            return [_failed("ESP", f"the node lacks {known[0]}", known[1])]
        pairs = dict.fromkeys(
            "/".join(pair)
            for e in self._shared.settings.endpoints.values()
            if e.uses_ipsec  # of the others nothing was probed
            for pair in e.algorithms
        )
        if not pairs:
            return [_ok("ESP", "no endpoint needs it")]
        results = [_ok("ESP", "the kernel takes security associations of ours")]
        for pair in pairs:
            if pair in missing:
                hint = f"modprobe {modules_of(pair)}, or take it off the list"
                results.append(_failed("algorithm", f"{pair}: {missing[pair]}", hint))
            else:
                results.append(_ok("algorithm", pair))
        return results

    def _ports(self, endpoint: Endpoint) -> Iterator[CheckResult]:
        if endpoint.profile is not Profile.IMS:
            return
        for transport, bound in zip(("UDP", "TCP"), self._node.listeners(), strict=True):
            lacking = [
                f"{address} port {', '.join(map(str, ports))}"
                for address in endpoint.addresses
                if (ports := _unheard(address, sorted(endpoint.ports), bound))
            ]
            name = f"ports of {endpoint.name}"
            if not lacking:
                yield _ok(name, f"{transport}: a SIP server listens on all")
            else:
                yield _warning(
                    name,
                    f"{transport}: nobody listens on {'; '.join(lacking)}",
                    "does the SIP server run, with a listen line for each protected port?",
                )

    def _hook(self, endpoint: Endpoint) -> CheckResult:
        name = f"hook of {endpoint.name}"
        connected = self._connected_uids()
        there = sorted(uid for uid in endpoint.uids if connected.get(uid))
        if there:
            count = sum(connected[uid] for uid in there)
            return _ok(name, f"{count} connections of uid {', '.join(map(str, there))}")
        return _warning(
            name,
            f"no connection of uid {', '.join(map(str, sorted(endpoint.uids)))} is open",
            "it opens one at its first call: does the SIP server run, and is it in group sad?",
        )

    def _strongswan(self, endpoints: tuple[Endpoint, ...]) -> CheckResult:
        wanted = [e.name for e in endpoints if "ipsec-ike" in e.security_server]
        path = self._node.strongswan_socket()
        if path is not None:
            return _ok("strongSwan", f"charon's socket is {path}")
        if wanted:
            return _failed(
                "strongSwan",
                f"no charon, and ipsec-ike is listed by {', '.join(wanted)}",
                "install and start charon-systemd with the vici plugin",
            )
        return _ok("strongSwan", "not there, and no endpoint needs it")


def _unheard(address: str, ports: Iterable[int], bound: AbstractSet[tuple[str, int]]) -> list[int]:
    """Return the ports of an address at which nobody listens, not at every address either."""
    return [p for p in ports if not {(address, p), ("0.0.0.0", p), ("::", p)} & bound]  # noqa: S104 - read


def _ok(what: str, text: str) -> CheckResult:
    return CheckResult(what=what, fitness=Fitness.OK, text=text)


def _warning(what: str, text: str, hint: str) -> CheckResult:
    return CheckResult(what=what, fitness=Fitness.WARNING, text=text, hint=hint)


def _failed(what: str, text: str, hint: str) -> CheckResult:
    return CheckResult(what=what, fitness=Fitness.FAILED, text=text, hint=hint)
