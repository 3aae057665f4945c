"""From the keys that were given to those of each SA: lengths, and what no key may be."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from netlink.model import SaKeys
from netlink.secret import Secret
from sad.model.key_set import KeySetDraft, same_key
from sad.model.manual_algorithms import MANUAL_ENCRYPTION, MANUAL_INTEGRITY

_RANDOM: Final = "take what /dev/urandom gives"


class MaterialFault(NamedTuple):
    """What is wrong with a key: which field, why, the rule, the way out."""

    field: str
    reason: str
    rule: str | None
    hint: str


def split_keys(
    draft: KeySetDraft,
) -> tuple[tuple[SaKeys, SaKeys] | None, tuple[MaterialFault, ...]]:
    """Return the keys of the inbound and the outbound SA, or what is wrong with them.

    They are copies: the draft's own may be wiped. Of an algorithm that is not ours nothing is
    said here.
    """
    given = draft.keys
    faults: list[MaterialFault] = []
    integrity = MANUAL_INTEGRITY.get(draft.integrity_algorithm)
    encryption = MANUAL_ENCRYPTION.get(draft.encryption_algorithm)
    mine: list[tuple[Secret | None, ...]] = []
    for kind, algorithm, name, keys in (
        (
            "integrity_key",
            integrity,
            draft.integrity_algorithm,
            (given.integrity_key, given.integrity_key_in, given.integrity_key_out),
        ),
        (
            "encryption_key",
            encryption,
            draft.encryption_algorithm,
            (given.encryption_key, given.encryption_key_in, given.encryption_key_out),
        ),
    ):
        if algorithm is not None:
            faults += _faults_of(kind, keys, algorithm.key_bits // 8, name)
        shared, inbound, outbound = keys
        mine.append((inbound or shared, outbound or shared))
    (integrity_in, integrity_out), (encryption_in, encryption_out) = mine
    if faults or integrity is None or encryption is None:
        return None, tuple(faults)
    faults += _faults_together((integrity_in, encryption_in), (integrity_out, encryption_out))
    if faults:
        return None, tuple(faults)
    return (_keys(integrity_in, encryption_in), _keys(integrity_out, encryption_out)), ()


def _faults_of(
    kind: str, keys: tuple[Secret | None, ...], length: int, algorithm: str
) -> Iterator[MaterialFault]:
    shared, inbound, outbound = keys
    fields = (kind, f"{kind}_in", f"{kind}_out")
    present = [(f, k) for f, k in zip(fields, keys, strict=True) if k is not None]
    if not length:
        for field, _ in present:
            hint = "remove it, or name an encryption algorithm"
            yield MaterialFault(field, f"{algorithm} has no key", "IPS-4", hint)
        return
    if shared is not None and (inbound is not None or outbound is not None):
        hint = f"give {kind} alone, or {kind}_in and {kind}_out"
        yield MaterialFault(kind, "for both directions, beside one of its own", None, hint)
    elif shared is None and (inbound is None or outbound is None):
        field = kind if not present else fields[1 if inbound is None else 2]
        hint = f"{algorithm} needs {length} bytes in {2 * length} hex digits"
        yield MaterialFault(field, "missing", "R3329-2.4-man-a", hint)
    for field, key in present:
        if len(key) != length:
            yield MaterialFault(
                field,
                f"{algorithm} has keys of {length} bytes, not {len(key)}",
                "IPS-5",
                f"give {2 * length} hex digits, without 0x and without separators",
            )
        elif len(set(key.reveal())) < 4:  # of 16 or more random bytes this never happens
            yield MaterialFault(field, "anybody would guess it", None, _RANDOM)


def _faults_together(*pairs: tuple[Secret | None, Secret | None]) -> Iterator[MaterialFault]:
    for integrity, encryption in pairs:
        if integrity is None or encryption is None:
            continue
        size = min(len(integrity), len(encryption))
        if same_key(
            Secret(integrity.reveal()[:size]),
            Secret(encryption.reveal()[:size]),
        ):
            reason = "begins like the integrity key"
            yield MaterialFault("encryption_key", reason, None, f"keys differ: {_RANDOM} for each")
            return


def _keys(integrity: Secret | None, encryption: Secret | None) -> SaKeys:
    assert integrity is not None, "what is missing is a fault"
    return SaKeys(
        integrity=Secret(integrity.reveal()),
        encryption=Secret(b"" if encryption is None else encryption.reveal()),
    )
