"""From settings to the values that the daemon's inside works with.

Names of users and groups become numbers here; the lookups are arguments, so that the conversion
stays pure. The counterparts are :mod:`sad.model.endpoint` and :mod:`sad.model.rules`.
"""

import grp
import pwd
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from sad.config.cluster import ClusterSettings
from sad.config.endpoint import EndpointSettings
from sad.config.locate import Path
from sad.config.problems import BrokenRule, ConfigurationError, Problem, dotted
from sad.config.settings import Settings
from sad.config.static_list import names_in, static_list
from sad.model.credential import CredentialRules, WantedCredential
from sad.model.endpoint import Endpoint, Profile
from sad.model.rules import Layout, Lifetimes, Limits

Resolve: TypeAlias = Callable[[str], int]
"""From a name to its number; raises KeyError if there is no such name."""


def system_user(name: str) -> int:
    """Return the uid of a user of this system, or raise KeyError."""
    return pwd.getpwnam(name).pw_uid


def system_group(name: str) -> int:
    """Return the gid of a group of this system, or raise KeyError."""
    return grp.getgrnam(name).gr_gid


def to_endpoints(settings: Settings, resolve_user: Resolve = system_user) -> tuple[Endpoint, ...]:
    """Return the endpoints as the daemon knows them.

    Raises ConfigurationError if a user is unknown: who may install must never be guessed.
    """
    _refuse(unknown_users(settings, resolve_user))
    return tuple(
        _to_endpoint(endpoint, resolve_user, settings.cluster) for endpoint in settings.endpoint
    )


def to_gids(groups: Iterable[str | int], resolve_group: Resolve = system_group) -> frozenset[int]:
    """Return the gids of groups given by name or number; unknown names raise KeyError."""
    return frozenset(_number(group, resolve_group) for group in groups)


def to_lifetimes(settings: Settings) -> Lifetimes:
    """Return the spans of time that decisions need, in seconds."""
    spans = settings.lifetimes
    return Lifetimes(
        reg_await_auth=spans.reg_await_auth_seconds,
        registration_margin=spans.registration_margin_seconds,
        retiring=spans.retiring_seconds,
        backstop=spans.backstop_seconds,
        longest_registration=spans.longest_registration_seconds,
        longest_linger=spans.max_linger_seconds,
        key_switch=spans.key_switch_seconds,
        nat_keepalive=spans.nat_keepalive_seconds,
    )


def to_credentials(
    settings: Settings,
    resolve_user: Resolve = system_user,
    resolve_group: Resolve = system_group,
) -> dict[str, WantedCredential]:
    """Return what is wanted of each endpoint's TLS credential set, where there is one.

    Raises ConfigurationError if a user or group is unknown: they could read the key.
    """
    _refuse([*unknown_users(settings, resolve_user), *unknown_groups(settings, resolve_group)])
    return {
        endpoint.name: WantedCredential(
            endpoint=endpoint.name,
            certificate=tls.certificate,
            key=tls.key,
            ca=tls.ca,
            domains=tls.domains,
            minimum_version=tls.minimum_version,
            ciphers=tls.ciphers,
            client_authentication=tls.client_authentication,
            write_files=tls.write_files,
            reload_command=tls.reload_command,
            readers=frozenset(_number(user, resolve_user) for user in endpoint.users),
            group=None if tls.group is None else _number(tls.group, resolve_group),
        )
        for endpoint in settings.endpoint
        if (tls := endpoint.tls) is not None
    }


def to_credential_rules(settings: Settings) -> CredentialRules:
    """Return what holds for the TLS credential sets of all endpoints."""
    wishes = settings.credentials
    return CredentialRules(
        directory=wishes.directory,
        warning_days=wishes.warning_days,
        command_seconds=wishes.command_seconds,
    )


def to_layout(settings: Settings) -> Layout:
    """Return how sets lie in the kernel."""
    kernel = settings.kernel
    return Layout(
        owner=settings.ownership_tag,
        replay_window=kernel.replay_window,
        reqid_range=kernel.reqid_range,
        policy_priority=kernel.policy_priority,
        block_clear_priority=kernel.block_clear_priority,
        block_endpoint_priority=kernel.block_endpoint_priority,
        tell_counters=settings.cluster.enabled,
    )


def to_limits(settings: Settings) -> Limits:
    """Return how many associations there may be."""
    limits = settings.limits
    return Limits(
        max_associations=limits.max_associations,
        max_sets_per_registration=limits.max_sets_per_registration,
        max_sets_per_address_pair=limits.max_sets_per_address_pair,
        max_temporary_sets=limits.max_temporary_sets,
        max_temporary_sets_per_address=limits.max_temporary_sets_per_address,
        max_temporary_sets_per_identity=limits.max_temporary_sets_per_identity,
        offers_per_second=limits.offers_per_second,
        offers_per_second_per_address=limits.offers_per_second_per_address,
        reserved_percent=limits.reserved_percent,
        calls_at_once=limits.max_calls_at_once,
        waiting_calls=limits.max_waiting_calls,
        waiting_calls_per_uid=limits.max_waiting_calls_per_uid,
    )


def unknown_users(settings: Settings, resolve_user: Resolve) -> Iterator[BrokenRule]:
    """Find users of endpoints that this system does not know."""
    for index, endpoint in enumerate(settings.endpoint):
        for position, user in enumerate(endpoint.users):
            if not _is_known(user, resolve_user):
                yield BrokenRule(
                    ("endpoint", index, "users", position),
                    f'there is no user "{user}"',
                    "install the SIP server that brings it, correct the name, or give the uid",
                )


def unknown_groups(settings: Settings, resolve_group: Resolve) -> Iterator[BrokenRule]:
    """Find groups that this system does not know."""
    wanted: list[tuple[Path, str | int]] = [
        ((name, position), group)
        for name in ("status_groups", "control_groups")
        for position, group in enumerate(getattr(settings, name))
    ]
    if settings.socket_group is not None:
        wanted.append((("socket_group",), settings.socket_group))
    for index, endpoint in enumerate(settings.endpoint):
        if endpoint.tls is not None and endpoint.tls.group is not None:
            wanted.append((("endpoint", index, "tls", "group"), endpoint.tls.group))
    for loc, group in wanted:
        if not _is_known(group, resolve_group):
            yield BrokenRule(
                loc,
                f'there is no group "{group}"',
                f"make it (groupadd --system {group}), correct the name, or give the gid",
            )


def _to_endpoint(
    settings: EndpointSettings, resolve_user: Resolve, cluster: ClusterSettings
) -> Endpoint:
    pairs = (name.partition("/") for name in settings.algorithms)
    return Endpoint(
        name=settings.name,
        addresses=settings.addresses,
        server_port=settings.server_port,
        client_ports=settings.client_ports,
        uids=frozenset(_number(user, resolve_user) for user in settings.users),
        roles=frozenset(settings.roles),
        algorithms=tuple((integrity, encryption) for integrity, _, encryption in pairs),
        spi_range=cluster.part_of(settings.spi_range),
        accept_reserved_spi=settings.accept_reserved_spi,
        accept_sip_port=settings.accept_sip_port,
        identity_at_one_address=settings.identity_at_one_address,
        profile=settings.profile,
        security_required=settings.security == "required",
        security_server=""
        if settings.profile is Profile.IMS
        else static_list(settings.mechanisms),
        ims_mechanisms=settings.ims_mechanisms if settings.profile is Profile.IMS else (),
        tls_port=settings.tls_port if settings.speaks_tls else None,
        mechanisms=names_in(settings.mechanisms),
        ike=None if settings.ike is None else settings.ike.value(),
        nat_port=settings.nat_port if settings.nat_traversal else 0,
        nat_networks=settings.nat_networks,
        nat_shared=settings.nat_socket == "shared",
    )


def _number(account: str | int, resolve: Resolve) -> int:
    return account if isinstance(account, int) else resolve(account)


def _is_known(account: str | int, resolve: Resolve) -> bool:
    try:
        _number(account, resolve)
    except KeyError:
        return False
    return True


def _refuse(found: Iterable[BrokenRule]) -> None:
    problems = [Problem("settings", dotted(rule.loc), rule.reason, rule.hint) for rule in found]
    if problems:
        raise ConfigurationError(problems)
