"""The driver of ipsec-ike against the fake charon: what it loads, ends, compares, and leaves."""

import asyncio
import dataclasses
import gc
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    Direction,
    MoveLifetime,
    Policy,
    PolicyAction,
    PolicyId,
    SaId,
    Selector,
    Template,
)
from sad.core import ike
from sad.core.table import AssociationTable
from sad.mechanisms.ipsec_ike import IkeFindings, IpsecIke
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.endpoint import Endpoint, Profile, Role
from sad.model.errors import KernelRefused, MechanismUnavailable
from sad.model.ike import IkePeer, IkeProfile, IkeService
from sad.model.ike_child import IkeChild
from sad.model.requests import NoKeys
from sad.vici.values import ChildSa
from tests.ike.fake_charon import FakeCharon
from tests.support.fake_kernel import FakeKernel, FakeTables
from tests.support.make import endpoint
from tests.support.xfrm_values import add_sa, security_association

OWNER = 0x5AD0_5AD0
EDGE, UE = "10.0.0.1", "10.0.0.2"
SECRET = b"a secret of some length"


class World:
    """A driver, the charon that it drives, and the kernel beside them."""

    def __init__(self, folder: Path, peers: int, patience: float = 3.0) -> None:
        self.folder = folder
        self.charon = FakeCharon(folder / "charon.vici")
        self.tables = FakeTables(time.time)
        self.kernel = FakeKernel(self.tables)
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRET + b"\n")
        self.secret.chmod(0o600)
        profile = IkeProfile(
            identity="edge.example.org",
            initiates=False,
            certificate=None,
            private_key=None,
            authorities=(),
            ike_proposals=("aes128gcm16-prfsha256-x25519",),
            esp_proposals=("aes128gcm16",),
            life=600,
            unregistered=60,
            dead_peer=30,
            peers=tuple(_peer(n, str(self.secret)) for n in range(peers)),
        )
        self.endpoint: Endpoint = endpoint(profile=Profile.RFC3329, ike=profile)
        service = IkeService(
            socket_path=str(self.charon.socket),
            connect=patience,
            command=patience,
            start=5.0,
            terminate=0.2,
            check=10.0,
            restart=5.0,
        )
        self.driver = IpsecIke(
            service,
            self.kernel,
            owner=OWNER,
            endpoints=lambda: {self.endpoint.name: self.endpoint},
            environment={},
        )

    def association(self, number: int = 0, *, port: int = 5100, address: str = UE) -> Association:
        """Return a decided association of a peer."""
        peer = _peer(number, str(self.secret))
        association_id = f"{number:06x}{port:06x}"
        where = IkeChild(
            role=Role.EDGE,
            local_address=EDGE,
            peer_address=address,
            local_ports=(5064,),
            peer_ports=(port,),
            connection="",
            child="",
        )
        return Association(
            id=association_id,
            endpoint=self.endpoint.name,
            private_identity=next(iter(peer.users)),
            public_identities=(),
            mechanism=ike.MECHANISM,
            state=AssociationState.ESTABLISHED,
            phase=Phase.INSTALLED,
            reqid_in=0,
            reqid_out=(),
            created_at=0.0,
            confirmed_at=0.0,
            deadline_at=1000.0,
            policies_until=0.0,
            ipsec_ike=self.driver.named(self.endpoint, peer, association_id, where),
        )

    async def install(self, *associations: Association) -> None:
        for association in associations:
            await self.driver.install((), association, NoKeys())

    async def up(self, *associations: Association) -> None:
        """Install, and have the peers set up their children."""
        await self.install(*associations)
        for association in associations:
            assert association.ipsec_ike is not None
            assert self.charon.peer_initiates(association.ipsec_ike.child)
        await self.driver.look()

    async def examine(self, associations: Iterable[Association]) -> IkeFindings:
        """Compare with a table of these."""
        table = AssociationTable()
        for association in associations:
            table.put(association)
        (found,) = [f async for f in self.driver.examine(table, {}, frozenset)]
        assert isinstance(found, IkeFindings)
        return found

    def ours(self) -> set[str]:
        return {*self.charon.connections, *self.charon.secrets, *self.charon.sas}


def _peer(number: int, secret: str) -> IkePeer:
    return IkePeer(
        name=f"peer{number}",
        identity=f"user{number}@example.org",
        users=frozenset({f"user{number}@example.org"}),
        auth="psk",
        secret=secret,
        ports=(),
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, peers=3)
    await made.charon.start()
    yield made
    made.driver.close()
    await made.charon.kill()


async def test_ike_peer_has_one_connection_with_a_child_for_each_association(
    world: World,
) -> None:
    """Ecosystem 3: loaded with the first, unloaded with the last, the secret with it."""
    first, second = world.association(port=5100), world.association(port=5102)
    await world.up(first, second)
    (loaded,) = world.charon.connections.values()
    assert len(loaded["children"]) == 2
    assert [s["data"] for s in world.charon.secrets.values()] == [SECRET.decode()]
    await world.driver.remove((first,), first)
    (loaded,) = world.charon.connections.values()
    assert len(loaded["children"]) == 1
    (sa,) = world.charon.sas.values()
    assert len(sa["child-sas"]) == 1
    await world.driver.remove((second,), second)
    assert world.ours() == set()


async def test_ike_install_that_charon_does_not_hear_leaves_nothing(world: World) -> None:
    association = world.association()
    await world.charon.kill()
    with pytest.raises(MechanismUnavailable, match="has ended"):
        await world.driver.install((), association, NoKeys())
    await world.charon.start()
    assert (await world.examine([])).missing == ()
    assert world.ours() == set()


async def test_ike_peer_that_left_the_settings_gets_nothing(world: World) -> None:
    association = world.association(number=7)
    with pytest.raises(MechanismUnavailable, match="has no peer any more"):
        await world.driver.install((), association, NoKeys())


async def test_ike_secret_that_is_a_pipe_holds_nobody_up(world: World) -> None:
    """Whoever opens one waits for a writer, and the whole daemon with it."""
    world.secret.unlink()
    os.mkfifo(world.secret, 0o600)
    with pytest.raises(MechanismUnavailable, match="no regular file"):
        await world.driver.install((), world.association(), NoKeys())


async def test_ike_connections_that_are_over_leave_nothing_in_memory(world: World) -> None:
    """An Offer in clear names one by the address that it claims: there may be any number."""

    async def come_and_go(address: str) -> None:
        association = world.association(address=address)
        await world.up(association)
        await world.driver.remove((association,), association)

    await come_and_go("10.0.1.1")
    before = _locks()
    for number in range(2, 12):
        await come_and_go(f"10.0.1.{number}")
    assert _locks() == before


def _locks() -> int:
    gc.collect()
    return sum(isinstance(one, asyncio.Lock) for one in gc.get_objects())


async def test_ike_removal_that_charon_does_not_hear_is_no_removal(world: World) -> None:
    """Fail closed: it is offered to nobody, and tried again."""
    association = world.association()
    await world.up(association)
    world.charon.hang()
    with pytest.raises(KernelRefused, match="did not answer"):
        await world.driver.remove((association,), association)
    world.charon.go_on()
    await world.driver.remove((association,), association)
    assert world.ours() == set()


async def test_ike_comparison_finds_what_went_and_what_belongs_to_nobody(world: World) -> None:
    kept, lost = world.association(number=0), world.association(number=1)
    unknown = world.association(number=2)
    await world.up(kept, lost, unknown)
    assert lost.ipsec_ike is not None
    world.charon.peer_deletes(lost.ipsec_ike.child)
    found = await world.examine([kept, lost])
    assert found.adopted == (kept.id,)
    assert set(found.lost) == {lost.id}
    assert await world.driver.is_lost(lost)
    assert not await world.driver.is_lost(kept)
    await world.driver.mend(found)
    assert unknown.ipsec_ike is not None
    assert unknown.ipsec_ike.connection not in world.ours()
    assert len(world.charon.sas) == 2


async def test_ike_comparison_with_a_charon_that_is_not_there_says_nothing(world: World) -> None:
    """What is not known is not lost."""
    association = world.association()
    await world.up(association)
    await world.charon.kill()
    table = AssociationTable()
    table.put(association)
    assert [f async for f in world.driver.examine(table, {}, frozenset)] == []
    assert not await world.driver.is_lost(association)
    await world.charon.start()


async def test_ike_charon_that_came_back_is_given_its_connections(world: World) -> None:
    association = world.association()
    await world.install(association)
    await world.charon.kill()
    await world.charon.start()
    found = await world.examine([association])
    assert found.missing
    await world.driver.mend(found)
    assert association.ipsec_ike is not None
    assert world.charon.peer_initiates(association.ipsec_ike.child)


def _left_of(child: ChildSa) -> list[AddSa | AddPolicy]:
    def sa(source: str, destination: str, spi: int) -> AddSa:
        made = security_association(owner=0)
        traffic = made.selector._replace(source=source, destination=destination)
        return add_sa(
            dataclasses.replace(
                made,
                id=SaId(destination, spi),
                source=source,
                reqid=child.reqid,
                selector=traffic,
            )
        )

    return [
        sa(UE, EDGE, child.spi_in),
        sa(EDGE, UE, child.spi_out),
        AddPolicy(_policy(child.reqid)),
    ]


def _policy(reqid: int, *, port: int = 5064, owner: int = 0) -> Policy:
    selector = Selector(
        source=UE,
        source_prefix=32,
        destination=EDGE,
        destination_prefix=32,
        source_port=5100,
        source_port_mask=0xFFFF,
        destination_port=port,
        destination_port_mask=0xFFFF,
        protocol=17,
        owner=owner,
    )
    return Policy(
        id=PolicyId(Direction.IN, selector),
        action=PolicyAction.ALLOW,
        priority=366_847,
        template=Template(source=UE, destination=EDGE, reqid=reqid),
    )


async def test_ike_of_a_dead_charon_exactly_its_children_go(world: World) -> None:
    """Other reqids, other ports, our own policies: they stay."""
    association = world.association()
    await world.up(association)
    (sa,) = await world.driver.look()
    (child,) = sa.children
    others = [
        AddPolicy(_policy(child.reqid + 1, port=5066)),
        AddPolicy(_policy(child.reqid, port=5068)),
        AddPolicy(_policy(child.reqid, owner=OWNER)),
    ]
    outcomes = await world.kernel.commit([*_left_of(child), *others])
    assert set(outcomes) == {None}
    await world.charon.kill()
    world.driver.dead = True
    await world.driver.remove((association,), association)
    assert await world.kernel.dump_sas() == []
    left = {p.id for p in await world.kernel.dump_policies()}
    assert left == {o.policy.id for o in others}
    await world.charon.start()


async def test_ike_counters_are_the_kernels(world: World) -> None:
    """Under charon's name for the pair; when one came last, charon does not tell."""
    association = world.association()
    await world.up(association)
    (sa,) = await world.driver.look()
    (child,) = sa.children
    assert await world.driver.counters(association) == ()  # the kernel has none
    used = CurrentLifetime(bytes=300, packets=3, add_time=1_700_000_000, use_time=1_700_000_060)
    carrying = MoveLifetime(
        id=SaId(EDGE, child.spi_in), source=UE, reqid=child.reqid, current=used
    )
    assert set(await world.kernel.commit([*_left_of(child), carrying])) == {None}

    inbound, outbound = await world.driver.counters(association)

    assert (inbound.inbound, inbound.spi, inbound.packets) == (True, child.spi_in, 3)
    assert inbound.last_used_at == used.use_time
    assert (outbound.inbound, outbound.spi, outbound.packets) == (False, child.spi_out, 0)
    assert inbound.name.startswith(f"INSTALLED ({child.cipher}, ")


async def test_ike_child_that_comes_up_while_it_is_listed_is_no_orphan(world: World) -> None:
    """The list is older than the event: nothing of it is forgotten, or removed from the kernel."""
    association = world.association()
    await world.install(association)
    assert association.ipsec_ike is not None
    world.charon.hang()
    looking = asyncio.create_task(world.driver.look())
    await asyncio.sleep(0.05)
    came = child_sa(association.ipsec_ike.child)
    await world.kernel.commit(_left_of(came))
    world.driver.see(came)
    world.charon.go_on()
    assert await looking == ()
    assert world.driver.is_up(association.id)
    assert len(await world.kernel.dump_sas()) == 2


def child_sa(name: str) -> ChildSa:
    return ChildSa(
        name=name,
        unique_id=9,
        state="INSTALLED",
        mode="TRANSPORT",
        reqid=9,
        spi_in=0xC0000009,
        spi_out=0xD0000009,
        cipher="AES_GCM_16",
        age_seconds=0,
        life_seconds=600,
        rekey_seconds=None,
        local_selectors=(),
        remote_selectors=(),
    )


async def test_ike_end_reason_of_the_lost_is_ikes(world: World) -> None:
    assert world.driver.lost_as is EndReason.IKE_DOWN


async def test_ike_five_hundred_are_listed_and_compared(tmp_path: Path) -> None:
    """A comparison costs about as much as two listings, whatever the machine."""
    world = World(tmp_path, peers=500, patience=30.0)
    await world.charon.start()
    try:
        associations = [world.association(n, port=6000 + n) for n in range(500)]
        await world.up(*associations)
        begun = time.perf_counter()
        for _ in range(3):
            assert len(await world.driver.look()) == 500
        listed = time.perf_counter() - begun
        begun = time.perf_counter()
        for _ in range(3):
            found = await world.examine(associations)
            assert await world.driver.mend(found) == (0, 0)
        compared = time.perf_counter() - begun
        assert (len(found.adopted), found.lost, found.stray) == (500, {}, ())
        assert compared < 6 * listed
    finally:
        world.driver.close()
        await world.charon.kill()
