"""``sadctl check`` tells what was looked at, and of nothing else that it is good."""

from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from sad.model.endpoint import Endpoint, Profile
from sad.model.inspection import CheckResult, Fitness
from sad.runtime.checking import Checks
from sad.runtime.state import Shared
from tests.support import make

AES = ("hmac-sha-1-96", "aes-cbc")
GCM = ("null", "aes-gcm")


class FitNode:
    """A node that lacks nothing."""

    def may_administer(self) -> bool:
        return True

    def listeners(self) -> tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]:
        return frozenset(), frozenset()

    def strongswan_socket(self) -> str | None:
        return None


def probe_that_finds(missing: Mapping[str, str]) -> Callable[[], Awaitable[Mapping[str, str]]]:
    async def probe() -> Mapping[str, str]:
        return missing

    return probe


async def looked_at(*endpoints: Endpoint, missing: Mapping[str, str]) -> list[CheckResult]:
    settings = SimpleNamespace(endpoints={e.name: e for e in endpoints})
    checks = Checks(
        cast("Shared", SimpleNamespace(settings=settings)),
        node=FitNode(),
        probe=probe_that_finds(missing),
        connected_uids=dict,
        unfit=lambda _: None,
    )
    return [r for r in await checks.run() if r.what in ("ESP", "algorithm")]


def by_rfc3329(**changes: Any) -> Endpoint:
    listed = {"profile": Profile.RFC3329, "security_server": "tls;q=0.3, digest;q=0.2"}
    return make.endpoint(name="first-hop", **(listed | changes))


async def test_what_nobody_can_agree_on_is_not_called_good() -> None:
    """An endpoint of tls and digest has algorithms by default; nothing asked the kernel."""
    assert [(r.fitness, r.text) for r in await looked_at(by_rfc3329(), missing={})] == [
        (Fitness.OK, "no endpoint needs it")
    ]


async def test_only_what_was_probed_is_told_of() -> None:
    """Those of the endpoint with IPsec, one by one."""
    found = await looked_at(
        make.endpoint(algorithms=(AES,)),
        by_rfc3329(algorithms=(GCM,)),
        missing={"hmac-sha-1-96/aes-cbc": "no such algorithm"},
    )

    assert [(r.what, r.fitness) for r in found] == [
        ("ESP", Fitness.OK),
        ("algorithm", Fitness.FAILED),
    ]
    assert "no such algorithm" in found[1].text
