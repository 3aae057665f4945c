"""Which entries of the kernel's tables are those of sets that are as they should be.

Nearly all registrations have one plain SA set, and nearly always the kernel holds it exactly as it
was installed. Such entries are told by their bytes (:mod:`netlink.known`), so that a start with
100 000 registrations makes no value of 1.4 million entries. All others are compared as values, by
:mod:`sad.core.reconcile`, which is the one to say what differs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from netlink.bundles import BundleForm, WireValue, learn_form
from netlink.known import KnownPolicies, KnownSas, Shown
from netlink.model import AddPolicy, AddSa, Operation, packed_address
from netlink.secret import Secret
from netlink.walk import messages
from sad.core.set_bundle import PORT, SPI, WORD, is_plain, key_sizes, operations_of_values
from sad.core.table import AssociationTable
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association, Phase
from sad.model.endpoint import Role
from sad.model.rules import Layout, Lifetimes
from sad.model.sa_set import SaSetParameters

#: What the entries to be told do not show: other ports, SPIs and limits would do as well.
_ANY_SPIS: Final = tuple(number.to_bytes(4, "big") for number in (256, 257, 258, 259))
_ANY_PORTS: Final = tuple(number.to_bytes(2, "big") for number in (1, 2, 3, 4))
_ANY_LIMIT: Final = 1

_ALL_SAS: Final = (1 << 4) - 1
_ALL_POLICIES: Final = (1 << 10) - 1


class Seen(NamedTuple):
    """What was seen of a set: bits in the order of its SAs and of its policies."""

    sas: int
    policies: int

    @property
    def whole(self) -> bool:
        """Whether nothing of it lacks or differs."""
        return self.sas == _ALL_SAS and self.policies == _ALL_POLICIES


NOTHING_SEEN: Final = Seen(0, 0)


class _Form(NamedTuple):
    """The messages that add one table's entries of a set, and where their bodies lie."""

    bundle: BundleForm
    places: tuple[tuple[int, int], ...]
    keys: tuple[Secret, ...]

    def of(self, values: Sequence[WireValue]) -> bytearray:
        """Return the messages with these values."""
        image = bytearray(self.bundle.size)
        self.bundle.encode_into(image, 0, values, self.keys, 0, 0)
        return image


class _Forms(NamedTuple):
    """Those of one kind of set."""

    sas: _Form
    policies: _Form


class Recognition:
    """Tells the entries of plain sets while the tables are dumped.

    ``clock_difference`` is what the real-time clock shows more than BOOTTIME, in seconds.
    """

    def __init__(
        self,
        table: AssociationTable,
        layout: Layout,
        lifetimes: Lifetimes,
        clock_difference: float,
    ) -> None:
        self._table = table
        self._layout = layout
        self._lifetimes = lifetimes
        self._ahead = clock_difference + lifetimes.backstop
        self._forms: dict[tuple[Role, str, str, bool], _Forms] = {}
        self.sas = KnownSas[Association](self._sas_at)
        self.policies = KnownPolicies[Association](self._policies_toward)

    def seen_of(self, association: Association) -> Seen | None:
        """Return what was seen of a set; None if it is not what it was then."""
        sas = self.sas.seen_of(association.id)
        policies = self.policies.seen_of(association.id)
        for found in (sas, policies):
            if found is not None and found[0] is not association:
                return None
        if sas is None and policies is None:
            return NOTHING_SEEN
        return Seen(0 if sas is None else sas[1], 0 if policies is None else policies[1])

    def _sas_at(self, destination: str, spi: int) -> Shown[Association] | None:
        association = self._table.of_spi(destination, spi)
        if association is None or not self._is_plain(association):
            return None
        s = association.sa_set
        form = self._forms_of(s).sas
        values: tuple[WireValue, ...] = (
            packed_address(s.ue_address),
            packed_address(s.pcscf_address),
            *(spi.to_bytes(4, "big") for spi in (s.spi_uc, s.spi_us, s.spi_pc, s.spi_ps)),
            association.reqid_in,
            *association.reqid_out,
        )
        return self._shown(association, form, values)

    def _policies_toward(self, peer: str, port: int) -> Shown[Association] | None:
        for association in self._table.of_peer_port(peer, port):
            if not self._is_plain(association):
                continue
            s = association.sa_set
            form = self._forms_of(s).policies
            values: tuple[WireValue, ...] = (
                packed_address(s.ue_address),
                packed_address(s.pcscf_address),
                *(p.to_bytes(2, "big") for p in (s.port_uc, s.port_us, s.port_pc, s.port_ps)),
                association.reqid_in,
                *association.reqid_out,
            )
            return self._shown(association, form, values)
        return None

    def _shown(
        self, association: Association, form: _Form, values: Sequence[WireValue]
    ) -> Shown[Association]:
        limit = association.deadline_at + self._ahead
        return Shown(association.id, association, form.of(values), form.places, limit)

    def _forms_of(self, s: SaSetParameters) -> _Forms:
        kind = s.role, s.integrity_algorithm, s.encryption_algorithm, ":" in s.ue_address
        forms = self._forms.get(kind)
        if forms is None:
            pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
            key = s.role, pair, len(packed_address(s.ue_address)), self._layout, self._lifetimes
            forms = self._forms[kind] = _Forms(_sa_form(*key), _policy_form(*key))
        return forms

    def _is_plain(self, association: Association) -> bool:
        """Whether a set is one of those that are told here: in force, plain and alone."""
        return (
            association.phase is Phase.INSTALLED
            and association.ipsec_3gpp is not None
            and is_plain(association.ipsec_3gpp)
            and self._table.is_alone(association)
        )


@functools.lru_cache(maxsize=64)
def _sa_form(
    role: Role, pair: AlgorithmPair, size: int, layout: Layout, lifetimes: Lifetimes
) -> _Form:
    """Learn where the values lie in the messages of the SAs: some milliseconds, once."""

    def expand(values: Sequence[WireValue]) -> Sequence[Operation]:
        ends, spis, reqids, keys = values[:2], values[2:6], values[6:9], values[9:]
        whole = (*ends, *spis, *_ANY_PORTS, _ANY_LIMIT, *reqids, *keys)
        operations = operations_of_values(whole, role, pair, layout, lifetimes)
        return [o for o in operations if isinstance(o, AddSa)]

    sizes = key_sizes(pair)
    codes = [f"{size}s"] * 2 + [SPI] * 4 + [WORD] * 3 + [f"{n}s" for n in sizes]
    return _learn(codes, expand, tuple(Secret(b"\1" * n) for n in sizes))


@functools.lru_cache(maxsize=64)
def _policy_form(
    role: Role, pair: AlgorithmPair, size: int, layout: Layout, lifetimes: Lifetimes
) -> _Form:
    """As :func:`_sa_form`, for the policies."""
    keys = tuple(bytes(n) for n in key_sizes(pair))

    def expand(values: Sequence[WireValue]) -> Sequence[Operation]:
        ends, ports, reqids = values[:2], values[2:6], values[6:]
        whole = (*ends, *_ANY_SPIS, *ports, _ANY_LIMIT, *reqids, *keys)
        operations = operations_of_values(whole, role, pair, layout, lifetimes)
        return [o for o in operations if isinstance(o, AddPolicy)]

    return _learn([f"{size}s"] * 2 + [PORT] * 4 + [WORD] * 3, expand, ())


def _learn(
    codes: Sequence[str],
    expand: Callable[[Sequence[WireValue]], Sequence[Operation]],
    keys: tuple[Secret, ...],
) -> _Form:
    bundle = learn_form(codes, expand)
    blank = _Form(bundle, (), keys)
    image = blank.of([_blank(code) for code in codes[: len(codes) - len(keys)]])
    places = tuple((m.start, m.end) for m in messages(image, len(image)))
    return blank._replace(places=places)


def _blank(code: str) -> WireValue:
    return bytes(int(code[:-1])) if code[-1] == "s" else 0
