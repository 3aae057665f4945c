"""Charon's connections and secrets of our peers: loaded with the first association, and unloaded.

One connection for each peer and address, with a child for each of its associations. Loading again
leaves live SAs alone.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from weakref import WeakValueDictionary

from sad.core import ike
from sad.core.ike import Credentials
from sad.mechanisms.ike_credentials import read_certificate, read_private_key, read_secret
from sad.model.association import Association
from sad.model.endpoint import Endpoint
from sad.model.errors import MechanismUnavailable
from sad.model.ike import PSK, IkePeer, IkeProfile
from sad.model.ike_child import IkeChild
from sad.vici.commands import Charon
from sad.vici.errors import CommandFailed

_IKE_SECRET: Final = "IKE"  # noqa: S105 - the kind of one, in charon's word
_EAP_SECRET: Final = "EAP"  # noqa: S105 - as above


def child_of(association: Association) -> IkeChild:
    """Return the child of an association of ``ipsec-ike``."""
    assert association.ipsec_ike is not None
    return association.ipsec_ike


class IkeConnections:
    """Which associations each connection has, and that charon has it so."""

    def __init__(
        self,
        charon: Charon,
        owner: int,
        endpoints: Callable[[], Mapping[str, Endpoint]],
        environment: Mapping[str, str],
    ) -> None:
        self._charon = charon
        self._owner = owner
        self._endpoints = endpoints
        self._environment = environment
        self._on: defaultdict[str, dict[str, Association]] = defaultdict(dict)
        # Whoever asks in clear names connections by the address that it claims: none is kept.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def names(self) -> tuple[str, ...]:
        """Return the connections that some association needs."""
        return tuple(name for name, associations in self._on.items() if associations)

    def on(self, connection: str) -> tuple[Association, ...]:
        """Return the associations of a connection."""
        return tuple(self._on.get(connection, {}).values())

    def children(self) -> dict[str, IkeChild]:
        """Return the children of all associations, by the association's id."""
        return {i: child_of(a) for on in self._on.values() for i, a in on.items()}

    def note(self, association: Association) -> None:
        """Have a connection bear a child of an association the next time that it is loaded."""
        self._on[child_of(association).connection][association.id] = association

    def forget(self, association: Association) -> None:
        """Have it bear it no more."""
        self._on.get(child_of(association).connection, {}).pop(association.id, None)

    def note_all(self, associations: Iterable[Association]) -> None:
        """Forget all and note these."""
        self._on.clear()
        for association in associations:
            self.note(association)

    async def load(self, connection: str) -> None:
        """Have charon's connection be what its associations need; unload it without any.

        Raises ViciError, and MechanismUnavailable where settings or credentials lack.
        """
        async with self._locks.setdefault(connection, asyncio.Lock()):
            associations = self.on(connection)
            if not associations:
                self._on.pop(connection, None)
                with contextlib.suppress(CommandFailed):
                    await self._charon.unload_connection(connection)
                await self.unload_secrets()
                return
            first = associations[0]
            profile, peer = self._peer_of(first)
            where = child_of(first)
            children = {c.child: c for c in map(child_of, associations)}
            credentials = await self._load_credentials(first.endpoint, profile, peer)
            ends = where.local_address, where.peer_address
            await self._charon.load_connection(
                connection, ike.connection(profile, peer, ends, children, credentials)
            )

    async def unload_secrets(self) -> None:
        """Unload the secrets of peers of which nobody is left (ecosystem 3)."""
        needed = set()
        for associations in self._on.values():
            for association in associations.values():
                with contextlib.suppress(MechanismUnavailable):
                    _, peer = self._peer_of(association)
                    needed.add(ike.secret_name(self._owner, association.endpoint, peer))
        ours = ike.prefix(self._owner)
        for name in await self._charon.list_secrets():
            if name.startswith(ours) and name not in needed:
                await self._charon.unload_secret(name)

    async def _load_credentials(
        self, endpoint: str, profile: IkeProfile, peer: IkePeer
    ) -> Credentials:
        if peer.secret is not None:
            secret = read_secret(peer.secret, self._environment)
            psk = peer.auth == PSK
            owners = (profile.identity, peer.identity) if psk else (peer.identity,)
            try:
                await self._charon.load_secret(
                    ike.secret_name(self._owner, endpoint, peer),
                    _IKE_SECRET if psk else _EAP_SECRET,
                    bytes(secret),
                    owners,
                )
            finally:
                secret[:] = bytes(len(secret))
        if not peer.by_certificate:
            return Credentials()
        if profile.private_key is not None:
            key = read_private_key(profile.private_key, self._environment)
            try:
                await self._charon.load_private_key(bytes(key))
            finally:
                key[:] = bytes(len(key))
        certificate = profile.certificate
        return Credentials(
            certificate=None
            if certificate is None
            else read_certificate(certificate, self._environment),
            authorities=tuple(read_certificate(a, self._environment) for a in profile.authorities),
        )

    def _peer_of(self, association: Association) -> tuple[IkeProfile, IkePeer]:
        endpoint = self._endpoints().get(association.endpoint)
        profile = None if endpoint is None else endpoint.ike
        peer = None if profile is None else profile.peer_of(association.private_identity)
        if profile is None or peer is None:
            raise MechanismUnavailable(
                mechanism=ike.MECHANISM,
                reason=f"{association.private_identity} has no peer any more",
                hint="add one to endpoint.ike.peer",
            )
        return profile, peer
