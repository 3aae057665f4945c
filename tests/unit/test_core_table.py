"""The table's indexes against a walk over all associations, through any life of it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState
from sad.model.encapsulation import UdpEncapsulation
from tests.support.make import EDGE_ADDRESS, association, sa_set

ADDRESSES = ("10.10.0.2", "10.10.0.3")
PORTS = (6300, 6301, 6302)
SPIS = (256, 257, 258, 259)
NAT = UdpEncapsulation(peer_address="192.0.2.9", peer_port=4500, local_port=4500)


@st.composite
def values(draw: st.DrawFn) -> Association:
    """An association of a small world, in which everything is shared sooner or later."""
    s = sa_set(
        ue_address=draw(st.sampled_from(ADDRESSES)),
        port_uc=draw(st.sampled_from(PORTS)),
        port_us=draw(st.sampled_from(PORTS)),
        encapsulation=draw(st.sampled_from((None, NAT))),
        **{name: draw(st.sampled_from(SPIS)) for name in ("spi_uc", "spi_us", "spi_pc", "spi_ps")},
    )
    return association(
        id=draw(st.sampled_from("abcd")),
        sa_set=s,
        state=draw(st.sampled_from(AssociationState)),
        private_identity=draw(st.sampled_from(("one", "two"))),
    )


class Model:
    """The table as a list, and who owns each SA: who claimed it last, while he is there."""

    def __init__(self) -> None:
        self.all: dict[str, Association] = {}
        self.owners: dict[tuple[str, int], str] = {}

    def put(self, one: Association) -> None:
        known = self.all.get(one.id)
        if known is None or _keys(known) != _keys(one):
            self.remove(one.id)
            self.owners |= dict.fromkeys(_sas(one), one.id)
        self.all[one.id] = one

    def remove(self, name: str) -> None:
        self.all.pop(name, None)
        self.owners = {sa: owner for sa, owner in self.owners.items() if owner != name}


@given(st.lists(values() | st.sampled_from("abcd"), max_size=12))
def test_every_index_says_what_a_walk_would(steps: list[Association | str]) -> None:
    """Put, put again with other keys, removed: nothing is left behind and nothing lacks."""
    table, model = AssociationTable(), Model()
    for step in steps:
        if isinstance(step, str):
            table.remove(step)
            model.remove(step)
        else:
            table.put(step)
            model.put(step)
        _compare(table, model)
    for one in "abcd":
        table.remove(one)
    _compare(table, Model())


def _compare(table: AssociationTable, model: Model) -> None:
    everything = tuple(model.all.values())
    assert tuple(table) == everything
    assert dict(table.tally) == Counter((a.endpoint, a.mechanism, a.state) for a in everything)
    for mechanism in ("ipsec-3gpp", "tls"):
        of_it = tuple(a for a in everything if a.mechanism == mechanism)
        assert table.of_mechanism(mechanism) == of_it
    assert set(table.registrations()) == {a.registration for a in everything}
    for address in ADDRESSES:
        here = tuple(a for a in everything if a.path.peer_address == address)
        assert table.of_peer(address) == here
        for port in PORTS:
            there = tuple(a for a in here if port in a.path.peer_ports)
            assert table.of_peer_port(address, port) == there
    for one in everything:
        same = tuple(a for a in everything if a.registration == one.registration)
        assert table.of_registration(one.registration) == same
        assert table.is_alone(one) == (len(same) == 1)
        named = tuple(a for a in everything if a.private_identity == one.private_identity)
        assert table.of_identity(one.private_identity) == named
    for destination in (*ADDRESSES, NAT.peer_address, EDGE_ADDRESS):
        for spi in SPIS:
            owner = table.of_spi(destination, spi)
            assert (owner and owner.id) == model.owners.get((destination, spi))


def _keys(one: Association) -> tuple[object, ...]:
    """Return what decides whether a value stands where the one before it stood."""
    s = one.sa_set
    numbers = (s.peer_ports, s.local_spis, s.peer_spis, one.sa_peer_address)
    return one.registration, one.private_identity, *numbers


def _sas(association: Association) -> set[tuple[str, int]]:
    s = association.sa_set
    return {(s.local_address, spi) for spi in s.local_spis} | {
        (association.sa_peer_address, spi) for spi in s.peer_spis
    }


def test_what_nobody_contests_is_found_by_its_spi() -> None:
    """Equal SPIs at other addresses are other SAs; each is found, and only there."""
    first = association(id="a", sa_set=sa_set(spi_uc=256, spi_us=257, spi_pc=258, spi_ps=259))
    second = structs.replace(
        first, id="b", ipsec_3gpp=structs.replace(first.sa_set, ue_address="10.10.0.3", spi_pc=260)
    )
    third = association(
        id="c",
        sa_set=sa_set(ue_address="10.10.0.4", spi_uc=261, spi_us=262, spi_pc=261, spi_ps=263),
    )
    table = AssociationTable()
    for one in (first, second, third):
        table.put(one)

    for one in (first, second, third):
        for destination, spi in _sas(one) - {(EDGE_ADDRESS, 259)}:
            assert table.of_spi(destination, spi) is one
    assert table.of_spi("10.10.0.5", 256) is None
    assert table.of_spi(EDGE_ADDRESS, 262) is None
    table.remove("b")
    assert table.of_spi("10.10.0.3", 256) is None
    assert table.of_spi("10.10.0.2", 256) is first
