"""What lies in etcd and waits for it: sealed rows, records, the queue, the epochs of before."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.secret import Secret
from sad.cluster.memory import Memory, Remembered
from sad.cluster.queue import Queue
from sad.cluster.records import (
    Instant,
    Unreadable,
    association_of,
    decode_association,
    decode_counters,
    decode_floors,
    decode_keys,
    encode_association,
    encode_counters,
    encode_floors,
    encode_keys,
    record_of,
)
from sad.cluster.sealing import Row, Sealer, Unopenable, open_sealer
from sad.model.cluster import CounterSnapshot
from sad.store.sealing_key import RecordsUnusable
from tests.support.make import CK, IK, LIFETIMES, association

OLD, NEW = Secret(bytes(range(32))), Secret(bytes(range(32, 64)))
ROW = Row("keys", "access", "00ff")


def test_a_sealed_value_opens_for_its_row_alone() -> None:
    """Another kind, endpoint, id, cluster or a changed bit: it does not open."""
    sealed = Sealer("edge", [OLD]).seal(ROW, 7, b"secret")
    assert Sealer("edge", [OLD]).open(ROW, sealed) == (7, b"secret")
    assert b"secret" not in sealed
    for row in (
        Row("counters", "access", "00ff"),
        Row("keys", "b", "00ff"),
        Row("keys", "access", "1"),
    ):
        with pytest.raises(Unopenable, match="another row"):
            Sealer("edge", [OLD]).open(row, sealed)
    with pytest.raises(Unopenable):
        Sealer("other", [OLD]).open(ROW, sealed)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Unopenable):
            Sealer("edge", [OLD]).open(ROW, bytes(changed))


def test_two_keys_open_and_the_newest_seals() -> None:
    """While a key is changed; one that is not given says so."""
    sealed = Sealer("edge", [OLD]).seal(ROW, 0, b"x")
    both = Sealer("edge", [NEW, OLD])
    assert both.open(ROW, sealed) == (0, b"x")
    assert not both.is_of_newest_key(sealed)
    assert both.is_of_newest_key(both.seal(ROW, 0, b"x"))
    with pytest.raises(Unopenable, match="does not have"):
        Sealer("edge", [NEW]).open(ROW, sealed)


def test_no_nonce_is_used_twice_under_one_key() -> None:
    """Each process has a salt of its own and counts (NIST SP 800-38D 8.2.1)."""
    sealers = [Sealer("edge", [OLD]) for _ in range(3)]
    heads = {sealer.seal(ROW, 0, b"")[:41] for sealer in sealers for _ in range(100)}
    assert len(heads) == 300


def test_a_node_without_the_credential_is_told_how_to_make_it(tmp_path: Path) -> None:
    """And one that others can read is refused."""
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(RecordsUnusable, match="needs the credential") as raised:
        open_sealer("edge", environment)
    assert "urandom" in raised.value.hint
    (tmp_path / "sad-cluster").write_bytes(bytes(32))
    (tmp_path / "sad-cluster").chmod(0o644)
    with pytest.raises(RecordsUnusable, match="by others"):
        open_sealer("edge", environment)
    (tmp_path / "sad-cluster").chmod(0o400)
    assert open_sealer("edge", environment).open(
        ROW, open_sealer("edge", environment).seal(ROW, 1, b"y")
    )


@given(
    boottime=st.floats(0, 1e9),
    other=st.floats(0, 1e9),
    left=st.floats(-1e3, 1e6),
)
def test_a_deadline_goes_over_by_the_wall_clock(
    boottime: float, other: float, left: float
) -> None:
    """Each node counts boot time from its own boot; what is left is the same."""
    here = association(deadline_at=boottime + left)
    record = decode_association(
        encode_association(record_of(here, "a", Instant(boottime=boottime, realtime=1.7e9)))
    )
    there = association_of(record, LIFETIMES, Instant(boottime=other, realtime=1.7e9))
    assert there.deadline_at - other == pytest.approx(left, abs=1e-3)
    assert there.policies_until == other + LIFETIMES.policies
    assert there.sa_set == here.sa_set
    assert record.node == "a"


@given(
    numbers=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2),
    lives=st.integers(0, 2**32 - 1),
    read_at=st.floats(0, 1e10),
)
def test_counters_go_over_as_they_are(numbers: list[int], lives: int, read_at: float) -> None:
    """Every number, and how old it is."""
    snapshot = CounterSnapshot(
        association_id="1", read_at=read_at, sent=tuple(numbers), received=(1, 2), lives=lives
    )
    assert decode_counters("1", encode_counters(snapshot)) == snapshot


@given(lives=st.dictionaries(st.text(max_size=40), st.integers(0, 2**32 - 1), max_size=9))
def test_floors_go_over_as_they_are(lives: dict[str, int]) -> None:
    """Every set's, under its id."""
    assert decode_floors(encode_floors(7.25, lives)) == (7.25, lives)


@pytest.mark.parametrize("cipher", [None, Secret(CK)])
def test_keys_go_over_as_they_are(cipher: Secret | None) -> None:
    """With CK and without."""
    record = decode_keys(bytes(encode_keys(Secret(IK), cipher)))
    assert record.integrity_key.reveal() == IK
    assert (record.cipher_key and record.cipher_key.reveal()) == (cipher and cipher.reveal())


@given(st.binary(max_size=200))
def test_what_cannot_be_read_is_told_by_its_type(body: bytes) -> None:
    """Of another version, or cut off: Unreadable, and nothing else."""
    for decode in (
        decode_association,
        decode_keys,
        decode_floors,
        lambda b: decode_counters("1", b),
    ):
        try:
            decode(body)
        except Unreadable:
            continue


def counted(number: int, **values: Any) -> CounterSnapshot:
    known: dict[str, Any] = {"association_id": "1", "read_at": 0.0, "received": (0,)}
    return CounterSnapshot(sent=(number,), **(known | values))


def test_the_newest_takes_the_place_of_the_older_and_keeps_its_age() -> None:
    """One association, many changes: one place in the queue, as old as the first of them."""
    queue = Queue(10)
    for now in (1.0, 2.0, 3.0):
        queue.changed("access", "1", now)
        queue.count("access", [counted(int(now))])
    assert (len(queue), queue.oldest()) == (2, 1.0)
    batch = queue.take("access", 10)
    assert (batch.changed, batch.counters) == ({"1": 1.0}, {"1": counted(3)})
    assert not queue.waits("access")


def test_what_etcd_did_not_take_is_given_back_and_what_is_newer_stays() -> None:
    """Nothing is lost on the way, and nothing goes back in time."""
    queue = Queue(10)
    queue.changed("access", "1", 1.0)
    queue.count("access", [counted(1)])
    batch = queue.take("access", 10)
    queue.changed("access", "1", 2.0)
    queue.count("access", [counted(2)])
    queue.give_back(batch)
    again = queue.take("access", 10)
    assert (again.changed, again.counters) == ({"1": 1.0}, {"1": counted(2)})


def test_a_full_queue_wants_a_compare() -> None:
    """It never grows over its limit, whatever comes; counters are read again anyway."""
    queue = Queue(2)
    for number in range(5):
        queue.changed("access", str(number), 0.0)
        queue.count("access", [counted(1, association_id=str(number))])
    assert len(queue) == 2
    assert queue.to_compare == {"access"}
    queue.forget("access")
    assert (len(queue), queue.waits("access")) == (0, False)


def test_epochs_are_remembered_over_a_restart_and_of_one_cluster(tmp_path: Path) -> None:
    """A damaged file, or that of another cluster, says nothing."""
    path = tmp_path / "state" / "epochs.json"
    Memory(path, "edge").note("access", Remembered(7, 9))
    assert Memory(path, "edge").of("access") == Remembered(7, 9)
    assert Memory(path, "edge").of("other") == Remembered()
    assert Memory(path, "another").of("access") == Remembered()
    for damaged in ("{", '{"cluster": "edge", "endpoints": {"access": [1, -2]}}', "[]"):
        path.write_text(damaged)
        assert Memory(path, "edge").of("access") == Remembered()


def test_a_node_that_is_alone_imports_nothing_of_it() -> None:
    """Neither the package nor etcd's client."""
    code = (
        "import sys, sad.app, sad.ctl.__main__\n"
        "print([m for m in sys.modules if m.startswith(('sad.cluster', 'aetcd', 'grpc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
