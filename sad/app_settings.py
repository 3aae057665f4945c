"""From the settings to the values that the parts of the daemon are built from."""

import dataclasses
from collections.abc import Iterator, Mapping

from netlink.model import family_of
from netlink.uapi import AF_INET
from sad.api.authorization import AccessPolicy
from sad.config import (
    Settings,
    to_credential_rules,
    to_credentials,
    to_endpoints,
    to_gids,
    to_layout,
    to_lifetimes,
    to_limits,
)
from sad.model.algorithms import AlgorithmPair
from sad.model.credential import CredentialRules, WantedCredential
from sad.runtime import state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What may change in a running daemon; all names of users and groups are looked up."""

    settings: Settings
    shell: state.Settings
    access: AccessPolicy
    credentials: Mapping[str, WantedCredential]
    credential_rules: CredentialRules

    @property
    def algorithm_pairs(self) -> tuple[AlgorithmPair, ...]:
        """The pairs of all endpoints."""
        return pairs_of(self.shell)

    @property
    def tls_ports(self) -> frozenset[int]:
        """Where endpoints speak TLS."""
        ports = (e.tls_port for e in self.shell.endpoints.values())
        return frozenset(port for port in ports if port is not None)

    @property
    def ip_versions(self) -> frozenset[int]:
        """4, 6 or both."""
        return ip_versions_of(self.shell)


def parts_of(settings: Settings) -> Parts:
    """Return the parts. Raises ConfigurationError for a user or group that does not exist."""
    shell = state.Settings(
        endpoints={e.name: e for e in to_endpoints(settings)},
        layout=to_layout(settings),
        lifetimes=to_lifetimes(settings),
        limits=to_limits(settings),
        remove_on_stop=settings.stop == "remove",
        reconcile_interval=settings.kernel.reconcile_interval_seconds,
        key_directory=settings.key_directory,
    )
    access = AccessPolicy(
        endpoint_uids=frozenset().union(*(e.uids for e in shell.endpoints.values())),
        control_gids=to_gids(settings.control_groups),
        status_gids=to_gids(settings.status_groups),
    )
    return Parts(
        settings=settings,
        shell=shell,
        access=access,
        credentials=to_credentials(settings),
        credential_rules=to_credential_rules(settings),
    )


def pairs_of(shell: state.Settings) -> tuple[AlgorithmPair, ...]:
    """Return the algorithm pairs of all endpoints that IPsec can be agreed on at."""
    endpoints = (e for e in shell.endpoints.values() if e.uses_ipsec)
    return tuple(AlgorithmPair(*pair) for e in endpoints for pair in e.algorithms)


def ip_versions_of(shell: state.Settings) -> frozenset[int]:
    """Return 4, 6 or both."""
    return frozenset(_versions(shell))


def _versions(shell: state.Settings) -> Iterator[int]:
    for endpoint in shell.endpoints.values():
        for address in endpoint.addresses:
            yield 4 if family_of(address) == AF_INET else 6
