"""All or nothing: whatever the kernel refuses, nothing of the set remains, and only ours goes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from netlink.kernel import KernelIpsec
from netlink.model import AddPolicy, Policy
from sad.core.desired import policies_of
from sip_hooks.client import CallError
from tests.support import eye
from tests.support.daemon import Daemon, endpoint_settings, running, wait_until
from tests.support.make import CK, IK, LAYOUT, LIFETIMES, association, sa_set
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE, UE = "10.10.0.1", "10.10.0.2"
FOREIGN_SA = (
    "state add src {src} dst {dst} proto esp spi {spi} reqid 77 mode transport "
    "auth-trunc hmac(sha1) 0x0101010101010101010101010101010101010101 96 enc ecb(cipher_null)"
)
WANTED = sa_set(spi_uc=45597, spi_us=45598, port_uc=6101, port_us=6100)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        settings = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
        with running(namespace, tmp_path_factory.mktemp("edge"), settings) as daemon:
            yield daemon


def install(daemon: Daemon, **changes: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "ueAddress": UE,
        "pcscfAddress": EDGE,
        "spiUc": WANTED.spi_uc,
        "spiUs": WANTED.spi_us,
        "spiPc": WANTED.spi_pc,
        "spiPs": WANTED.spi_ps,
        "portUc": WANTED.port_uc,
        "portUs": WANTED.port_us,
        "portPc": WANTED.port_pc,
        "portPs": WANTED.port_ps,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
        "integrityKey": IK.hex(),
        "cipherKey": CK.hex(),
    }
    answer = daemon.call(
        "Install",
        endpoint="access",
        registration={"privateIdentity": "ue@ims.example", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp=parameters | changes,
        lifetimeSeconds=60,
    )
    return dict(answer["association"])


def kernel_of(daemon: Daemon) -> tuple[list[str], list[str]]:
    return [s.text for s in eye.states(daemon.namespace)], eye.policies(daemon.namespace)


def xfrm(daemon: Daemon, command: str, *more: str) -> None:
    daemon.namespace.run(["ip", "xfrm", *command.split(), *more])


def in_kernel_of(daemon: Daemon, work: Callable[[KernelIpsec], Awaitable[Any]]) -> Any:
    """Run ``work(kernel)`` with our own netlink code in the daemon's namespace."""

    async def body() -> Any:
        kernel = await KernelIpsec.open()
        try:
            return await work(kernel)
        finally:
            kernel.close()

    return daemon.namespace.call(lambda: asyncio.run(body()))


@pytest.mark.parametrize(
    ("row", "destination", "spi"),
    [
        ("SA1", EDGE, WANTED.spi_ps),
        ("SA2", UE, WANTED.spi_uc),
        ("SA3", UE, WANTED.spi_us),
        ("SA4", EDGE, WANTED.spi_pc),
    ],
)
def test_a_foreign_sa_in_the_way_fails_the_set_and_stays(
    edge: Daemon, row: str, destination: str, spi: int
) -> None:
    """Each NEWSA made to fail in turn: EEXIST names the row; the foreigner is untouched."""
    source = EDGE if destination == UE else UE
    xfrm(edge, FOREIGN_SA.format(src=source, dst=destination, spi=spi), "")
    before = kernel_of(edge)

    with pytest.raises(CallError) as refusal:
        install(edge)

    assert refusal.value.name == "org.sipsad.Associations.KernelRefused"
    assert refusal.value.parameters["name"] == "EEXIST"
    assert refusal.value.parameters["object"].startswith(row)
    assert "ip xfrm" in refusal.value.parameters["hint"]
    assert kernel_of(edge) == before
    assert edge.associations() == []
    xfrm(edge, f"state delete src {source} dst {destination} proto esp spi {spi}")


POLICIES = list(policies_of([association(sa_set=WANTED)], LAYOUT, LIFETIMES).values())


@pytest.mark.parametrize("index", range(len(POLICIES)))
def test_a_policy_in_the_way_fails_the_set(edge: Daemon, index: int) -> None:
    """Each NEWPOLICY made to fail in turn: the error says which, nothing of the set remains.

    Only a policy under our own tag can be in a policy's way, so it is put there by our own code,
    as the leavings of another program with the same tag would lie there.
    """
    policy: Policy = POLICIES[index]
    assert in_kernel_of(edge, lambda k: k.commit([AddPolicy(policy)])) == (None,)
    before = kernel_of(edge)

    with pytest.raises(CallError) as refusal:
        install(edge)

    assert refusal.value.name == "org.sipsad.Associations.KernelRefused"
    assert refusal.value.parameters["name"] == "EEXIST"
    selector = policy.id.selector
    assert f"{selector.destination} port" in refusal.value.parameters["object"]
    assert str(selector.destination_port) in refusal.value.parameters["object"]
    assert kernel_of(edge) == before
    assert edge.reconcile()["removed"] == 1  # it bears our tag and belongs to nobody


def test_after_every_failure_the_same_set_can_be_installed(edge: Daemon) -> None:
    """What was reserved for a refused set is free again."""
    installed = install(edge)
    assert len(eye.states(edge.namespace)) == 4
    edge.call("Release", id=installed["id"])
    assert eye.states(edge.namespace) == []


def test_foreign_objects_are_untouched_before_during_and_after(edge: Daemon) -> None:
    """Design 7: nothing of anyone else is ever touched, not even by reconcile."""
    xfrm(edge, FOREIGN_SA.format(src=UE, dst=EDGE, spi=9999), "")
    foreign_policy = f"src {UE} dst {EDGE} proto tcp dport 5060 dir in priority 5 ptype main"
    xfrm(edge, f"policy add {foreign_policy} tmpl proto esp reqid 77 mode transport")
    foreign = (
        [s.text for s in eye.states(edge.namespace)],
        [p for p in eye.policies(edge.namespace) if "dport 5060" in p],
    )

    def untouched() -> bool:
        states, policies = kernel_of(edge)
        return set(foreign[0]) <= set(states) and set(foreign[1]) <= set(policies)

    installed = install(edge)
    assert untouched()
    assert edge.reconcile()["removed"] == 0
    assert untouched()
    xfrm(edge, FOREIGN_SA.format(src=UE, dst=EDGE, spi=9998), "")
    edge.call("Release", id=installed["id"])
    assert untouched()
    edge.reconcile()
    assert {s.spi for s in eye.states(edge.namespace)} == {9998, 9999}
    for spi in (9998, 9999):
        xfrm(edge, f"state delete src {UE} dst {EDGE} proto esp spi {spi}")
    xfrm(edge, f"policy delete src {UE} dst {EDGE} proto tcp dport 5060 dir in")


def test_an_sa_deleted_by_somebody_ends_its_association(edge: Daemon) -> None:
    """What sad says is what the kernel holds: the loss is noticed without being asked."""
    installed = install(edge)
    xfrm(edge, f"state delete src {UE} dst {EDGE} proto esp spi {WANTED.spi_ps}")

    wait_until(lambda: not edge.associations(), "the loss is noticed")

    assert eye.states(edge.namespace) == []
    with pytest.raises(CallError, match="NoSuchAssociation"):
        edge.call("Confirm", id=installed["id"], expiresSeconds=60)


def test_a_policy_deleted_by_somebody_is_repaired(edge: Daemon) -> None:
    """Policies need no key: a flush of the SPD is mended at once, block policies included."""
    installed = install(edge)
    before = sorted(eye.policies(edge.namespace))

    xfrm(edge, "policy flush")

    wait_until(lambda: sorted(eye.policies(edge.namespace)) == before, "the SPD is repaired")
    edge.call("Release", id=installed["id"])
