"""How lost SAs are made again: never a sequence number twice, never a packet twice."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.model import ReplayState, SaId
from netlink.secret import Secret
from sad.core import nonces
from sad.core.desired import sas_of
from sad.core.rebuilding import LEAP, MOST_LEAPS, first_record, next_record, plan_rebuild
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.endpoint import Role
from sad.model.key_record import KeyRecord
from tests.support.make import CK, IK, LAYOUT, LIFETIMES, association, sa_set

NUMBERS = st.integers(0, 0xFFFF_FFFF)
REPLAYS = st.builds(ReplayState, sent=NUMBERS, received=NUMBERS)


def record(**changes: int | tuple[int, int]) -> KeyRecord:
    made = first_record(association(), Secret(IK), Secret(CK))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # its fields by name


def ids(one: Association) -> list[SaId]:
    return [n.sa.id for n in sas_of(one, LAYOUT, LIFETIMES, 100.0)]


def rebuilt(one: Association, following: KeyRecord) -> dict[SaId, ReplayState]:
    """The numbers with which each of the four SAs goes on."""
    keys = derive_keys(AlgorithmPair("hmac-sha-1-96", "null"), Secret(IK), None)
    named = sas_of(one, LAYOUT, LIFETIMES, 100.0)
    plan = plan_rebuild(named, one, following, keys)
    assert [operation.sa for operation in plan] == [n.sa for n in named]
    return {operation.sa.id: operation.replay or ReplayState() for operation in plan}


@given(
    st.sampled_from(Role), st.integers(0, 2 * MOST_LEAPS), st.tuples(NUMBERS, NUMBERS), st.data()
)
def test_no_number_is_sent_twice_and_none_is_taken_twice(
    role: Role, leaps: int, received: tuple[int, int], data: st.DataObject
) -> None:
    """RFC 4303 3.3.3 and 3.4.3: whatever the kernel told, both sides go on beyond it."""
    one = association(sa_set=sa_set(role=role))
    heard = data.draw(st.dictionaries(st.sampled_from(ids(one)), REPLAYS))
    before = record(leaps=leaps, received=received)

    following = next_record(one, before, heard)

    if following is None:
        assert max([leaps, *(heard[i].sent // LEAP for i in ids(one) if i in heard)]) >= MOST_LEAPS
        return
    floors = dict(zip(one.sa_set.local_spis, received, strict=True))
    for sa_id, goes_on in rebuilt(one, following).items():
        told = heard.get(sa_id, ReplayState())
        if sa_id.destination == one.sa_set.local_address:
            assert goes_on.received >= max(told.received, floors[sa_id.spi])
            assert goes_on.received in {told.received, floors[sa_id.spi]}
        else:
            # Room for a leap of packets in this life, above every life before it.
            assert goes_on.sent > told.sent
            assert goes_on.sent >= (leaps + 1) * LEAP
            assert goes_on.sent + LEAP <= 1 << 32


@pytest.mark.parametrize("names", [("null", "aes-gcm"), ("aes-gmac", "null")])
def test_combined_algorithms_are_not_rebuilt_beyond_their_bound(names: tuple[str, str]) -> None:
    """T33-I-b: as often as IVs stay unique, each life in its own block of sequence numbers."""
    alg, ealg = names
    one = association(sa_set=sa_set(integrity_algorithm=alg, encryption_algorithm=ealg))
    following: KeyRecord | None = first_record(one, Secret(IK), Secret(CK))
    assert following is not None
    assert following.cipher_key is not None  # aes-gmac needs it for its salt
    blocks = [0]
    while (following := next_record(one, following, {})) is not None:
        blocks.append(following.leaps)
        assert following.leaps * LEAP % nonces.BLOCK == 0

    assert blocks == list(range(nonces.MOST_REBUILDS + 1))


def test_what_is_not_encrypted_keeps_no_cipher_key() -> None:
    """Annex I: the null cipher needs none, so none is kept for it."""
    keys = Secret(IK), Secret(CK)
    secret = association(sa_set=sa_set(encryption_algorithm="aes-cbc"))

    assert first_record(association(), *keys).cipher_key is None
    assert first_record(secret, *keys).cipher_key is keys[1]


def test_a_record_shows_no_key_and_forgets_both() -> None:
    """Design 7: keys never print; a record that was used is wiped."""
    kept = KeyRecord(integrity_key=Secret(IK), cipher_key=Secret(CK))
    assert IK.hex() not in repr(kept)
    assert str(IK) not in repr(kept)

    kept.wipe()

    assert kept.cipher_key is not None
    assert kept.integrity_key.reveal() == kept.cipher_key.reveal() == bytes(16)
