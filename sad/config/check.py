"""``sad --check-config``: every problem with its place, or what would run."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TextIO, TypeAlias

from sad.config.endpoint import EndpointSettings
from sad.config.load import settings_of
from sad.config.problems import EX_CONFIG, ConfigurationError, Problem, dotted
from sad.config.resolve import (
    Resolve,
    system_group,
    system_user,
    to_endpoints,
    unknown_groups,
    unknown_users,
)
from sad.config.settings import Settings
from sad.config.sources import read_sources
from sad.model.algorithms import WITHDRAWN
from sad.model.endpoint import Endpoint, Profile

CheckKeys: TypeAlias = Callable[
    [Settings, Sequence[Endpoint]], tuple[Sequence[Problem], Sequence[str]]
]
"""From settings to the problems of the key files, and lines on what would be used of them."""

_KEPT: Final = "SAs and policies stay when the daemon stops"
_REMOVED: Final = "SAs and policies go when the daemon stops"


def check_config(
    argv: Sequence[str],
    *,
    resolve_user: Resolve = system_user,
    resolve_group: Resolve = system_group,
    check_keys: CheckKeys = lambda _settings, _endpoints: ((), ()),
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Print all problems, or a summary of what would run; return the exit status, 0 or 78.

    ``argv`` is the command line without the program's name.
    """
    try:
        sources = read_sources(argv)
        settings = settings_of(sources)
        broken = [
            *unknown_users(settings, resolve_user),
            *unknown_groups(settings, resolve_group),
        ]
        of_credentials: Mapping[str, Sequence[str]] = {}
        if not broken:
            # The guard knows the settings, too, and starts early and without all that this needs.
            from sad.config.credentials import check_credentials  # noqa: PLC0415

            checked = check_credentials(
                settings,
                os.environ,
                time.time(),
                resolve_user=resolve_user,
                resolve_group=resolve_group,
            )
            broken, of_credentials = [*checked.broken], checked.lines
        if broken:
            raise ConfigurationError(
                Problem(sources.origin_of(rule.loc), dotted(rule.loc), rule.reason, rule.hint)
                for rule in broken
            )
        problems, key_lines = check_keys(settings, to_endpoints(settings, resolve_user))
        if problems:
            raise ConfigurationError(problems)
    except ConfigurationError as error:
        (stderr or sys.stderr).write(f"{error}\n")
        return EX_CONFIG
    lines = [f"settings: {sources.path or 'no file'}"]
    lines += [f"ignored: environment {name} is no setting" for name in sources.ignored]
    words = describe(settings, of_credentials)
    (stdout or sys.stdout).write("\n".join([*lines, words, *key_lines, ""]))
    return 0


def describe(settings: Settings, of_credentials: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return what a daemon with these settings would do, for people.

    ``of_credentials`` are lines on the TLS credential sets, by endpoint.
    """
    return "\n".join(_lines(settings, of_credentials or {}))


def _lines(settings: Settings, of_credentials: Mapping[str, Sequence[str]]) -> Iterator[str]:
    lifetimes, kernel, limits = settings.lifetimes, settings.kernel, settings.limits
    group = "" if settings.socket_group is None else f", group {settings.socket_group}"
    yield f"socket: {settings.socket_path}, mode {settings.socket_mode:04o}{group}"
    yield f"state: {settings.state_directory}; {_KEPT if settings.stop == 'keep' else _REMOVED}"
    if settings.on_kernel_loss == "rebuild":
        yield (
            "warning: what the kernel loses is rebuilt: keys are kept (sealed), and after a flush "
            "recorded packets could be taken once more"
        )
    yield (
        f"lifetimes: temporary {lifetimes.reg_await_auth_seconds} s, registration + "
        f"{lifetimes.registration_margin_seconds} s, retiring {lifetimes.retiring_seconds:g} s, "
        f"kernel backstop {lifetimes.backstop_seconds} s"
    )
    yield (
        f"kernel: ownership tag {settings.ownership_tag:#010x}, replay window "
        f"{kernel.replay_window}, reqids {kernel.reqid_range[0]}-{kernel.reqid_range[1]}"
    )
    yield (
        f"limits: {limits.max_associations} associations, "
        f"{limits.max_sets_per_registration} sets a registration, "
        f"{limits.max_connections} connections"
    )
    if not settings.endpoint:
        yield "warning: no endpoint: nothing can be installed; add an [[endpoint]] table"
    for endpoint in settings.endpoint:
        yield from _endpoint_lines(endpoint)
        yield from (f"  {line}" for line in of_credentials.get(endpoint.name, ()))


def _endpoint_lines(endpoint: EndpointSettings) -> Iterator[str]:
    yield f"endpoint {endpoint.name}: {' '.join(endpoint.addresses)}"
    yield (
        f"  ports: server {endpoint.server_port}, client "
        f"{endpoint.client_ports[0]}-{endpoint.client_ports[-1]}"
    )
    if endpoint.speaks_tls:
        yield f"  TLS: port {endpoint.tls_port}, not a protected one"
    if endpoint.profile is Profile.IMS and endpoint.mechanisms:
        yield f"  mechanisms: {', '.join(endpoint.mechanisms)}"
    if endpoint.profile is Profile.RFC3329:
        yield f"  profile rfc3329, security {endpoint.security}: {', '.join(endpoint.mechanisms)}"
    yield f"  users: {', '.join(map(str, endpoint.users))}; roles: {', '.join(endpoint.roles)}"
    yield f"  algorithms: {', '.join(endpoint.algorithms)}"
    yield f"  SPIs: {endpoint.spi_range[0]}-{endpoint.spi_range[1]}"
    withdrawn = sorted({n for pair in endpoint.algorithms for n in pair.split("/")} & WITHDRAWN)
    if withdrawn:
        yield f"  warning: {', '.join(withdrawn)} withdrawn by TS 33.203 Annex H"
    if any(pair in endpoint.algorithms for pair in ("null/aes-gcm", "aes-gmac/null")):
        yield (
            "  warning: aes-gcm and aes-gmac need user agents that use no IV twice in both of "
            "their SAs (docs/nonces.md)"
        )
    if endpoint.accept_reserved_spi:
        yield "  warning: SPIs 1 to 255 of peers are accepted"
    if endpoint.security == "optional":
        yield "  warning: user agents that do not agree are served in clear"
    if endpoint.accept_unreplayed_verify:  # R3329-5-a, IPS-2
        yield "  warning: ipsec-man may be listed: manually keyed SAs have no replay protection"
    if endpoint.accept_sip_port:
        yield "  warning: 5060 and 5061 of peers are accepted as protected ports"
