"""What the files of TLS credential sets hold, for ``--check-config``: judged as by the daemon."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sad.config.problems import BrokenRule
from sad.config.resolve import Resolve, to_credential_rules, to_credentials
from sad.config.settings import Settings
from sad.credentials.expiry import expiry_finding
from sad.credentials.judging import judge
from sad.credentials.reading import Place, read_material
from sad.model.credential import Finding, WantedCredential


@dataclass(frozen=True, slots=True)
class Checked:
    """``broken`` are refusals, at their setting; ``lines`` are words on each endpoint's set."""

    broken: tuple[BrokenRule, ...]
    lines: Mapping[str, tuple[str, ...]]


def check_credentials(
    settings: Settings,
    environment: Mapping[str, str],
    now: float,
    *,
    resolve_user: Resolve,
    resolve_group: Resolve,
) -> Checked:
    """Read and judge every set at an instant, in real-time seconds. The names must be known."""
    place = Place.of_process(environment)
    wanted = to_credentials(settings, resolve_user, resolve_group)
    days = to_credential_rules(settings).warning_days
    broken: list[BrokenRule] = []
    lines: dict[str, tuple[str, ...]] = {}
    for index, endpoint in enumerate(settings.endpoint):
        wish = wanted.get(endpoint.name)
        if wish is None:
            continue
        if place.credentials is None and (names := _of_systemd(wish)):
            words = f"TLS: not looked at: systemd hands {', '.join(names)} to the service alone"
            lines[endpoint.name] = (words,)
            continue
        refusals, said = _check(wish, place, now, days)
        broken += (_broken_rule(index, found) for found in refusals)
        lines[endpoint.name] = tuple(said)
    return Checked(tuple(broken), lines)


def _of_systemd(wanted: WantedCredential) -> list[str]:
    sources = (wanted.certificate, wanted.key, wanted.ca)
    return [source for source in sources if not source.startswith("/")]


def _check(
    wanted: WantedCredential, place: Place, now: float, days: int
) -> tuple[tuple[Finding, ...], Iterator[str]]:
    material, unread = read_material(wanted, place)
    try:
        judged = judge(material, wanted, now)
    finally:
        if material.key is not None:
            material.key.wipe()

    def lines() -> Iterator[str]:
        facts = judged.facts
        if facts is None:
            return
        yield (
            f"TLS {wanted.minimum_version} or later, client authentication "
            f"{wanted.client_authentication}: {', '.join(facts.names)}, {facts.algorithm}, issued "
            f"by {facts.issuer}"
        )
        end = expiry_finding(facts, now, days)
        for found in (*judged.warnings, *(() if end is None else (end,))):
            yield f"warning: {found.part}: {found.text}; {found.hint}"

    return (*unread, *judged.refusals), lines()


def _broken_rule(index: int, found: Finding) -> BrokenRule:
    reason = f"{found.text} ({found.reason}, {found.rule})"
    return BrokenRule(("endpoint", index, "tls", found.part.value), reason, found.hint)
