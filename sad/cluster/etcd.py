"""etcd over gRPC: the adaptor of :class:`sad.cluster.ports.Etcd`, only importer of aetcd.

It drives the stubs that aetcd brings (``aetcd.rpc``), not its client: that knows no TLS, one
member only, and hides the header, by which a restored backup shows.

A call goes to one member. If it does not answer, the next call goes to the next member: whether a
write was done is then unknown, so nothing is written twice on its own account.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc
from aetcd import rpc, utils

from netlink.secret import Secret
from sad.cluster.ports import (
    Changed,
    Compacted,
    Delete,
    EtcdError,
    EtcdFull,
    EtcdGone,
    EtcdRefused,
    Header,
    KeyValue,
    LeaseGone,
    Operation,
    Outcome,
    Page,
    Put,
    Unchanged,
)

_PAGE: Final = 1000
#: A dead member must not hold a watch for long, and a refused one not the next try.
_CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
)
#: A member without a leader refuses a stream at once, and does not just stay silent.
_NEEDS_LEADER: Final = ("hasleader", "true")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAddress:
    """Where etcd is and how it is spoken to.

    ``members`` are ``host:port``. TLS needs ``root``; ``certificate`` and ``key`` are this node's
    own, both or none; all PEM. ``timeout_seconds`` is for one call.
    """

    members: tuple[str, ...]
    timeout_seconds: float
    root: bytes | None = None
    certificate: bytes | None = None
    key: Secret | None = field(default=None, repr=False)
    user: str = ""
    password: Secret | None = field(default=None, repr=False)


class _Member:
    """The stubs of one member, on one channel."""

    def __init__(self, address: EtcdAddress, target: str) -> None:
        options = _CHANNEL_OPTIONS
        if address.root is None:
            self.channel = rpc.insecure_channel(target, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(
                address.root,
                None if address.key is None else address.key.reveal(),
                address.certificate,
            )
            self.channel = rpc.secure_channel(target, credentials, options=options)
        self.kv = rpc.KVStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)
        self.watch = rpc.WatchStub(self.channel)
        self.auth = rpc.AuthStub(self.channel)
        self.token: str | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.token is None else (("token", self.token),)


class GrpcEtcd:
    """Implements :class:`sad.cluster.ports.Etcd`. Make it with a running loop."""

    def __init__(self, address: EtcdAddress) -> None:
        self._address = address
        self._members = [_Member(address, target) for target in address.members]
        self._order = itertools.cycle(range(len(self._members)))
        self._at = next(self._order)

    async def transact(
        self, compares: Sequence[Unchanged], operations: Sequence[Operation]
    ) -> Outcome:
        """Do all operations if all compares hold, else nothing."""
        request = rpc.TxnRequest(
            compare=[
                rpc.Compare(
                    key=compare.key.encode(),
                    result=rpc.Compare.EQUAL,
                    target=rpc.Compare.MOD,
                    mod_revision=compare.mod_revision,
                )
                for compare in compares
            ],
            success=[_request_of(operation) for operation in operations],
        )
        answer = await self._call(lambda m: m.kv.Txn, request)
        return Outcome(header=_header_of(answer), succeeded=answer.succeeded)

    async def read(self, prefix: str, *, keys_only: bool = False) -> Page:
        """Return every key that begins with ``prefix``, of one revision, page by page."""
        start, end = prefix.encode(), utils.prefix_range_end(prefix.encode())
        found: list[KeyValue] = []
        header: Header | None = None
        while True:
            answer = await self._call(
                lambda m: m.kv.Range,
                rpc.RangeRequest(
                    key=start,
                    range_end=end,
                    limit=_PAGE,
                    revision=0 if header is None else header.revision,
                    keys_only=keys_only,
                ),
            )
            header = header or _header_of(answer)
            found += map(_key_value_of, answer.kvs)
            if not answer.more:
                return Page(header=header, found=tuple(found))
            start = answer.kvs[-1].key + b"\0"

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        """Yield what changes after a revision, until it fails."""
        request = rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=prefix.encode(),
                range_end=utils.prefix_range_end(prefix.encode()),
                start_revision=after + 1,
                progress_notify=True,
            )
        )
        member = await self._member()
        call = member.watch.Watch(metadata=(*member.metadata, _NEEDS_LEADER))
        try:
            await call.write(request)
            async for answer in call:
                if answer.compact_revision:
                    raise Compacted(f"etcd has compacted revision {after}")
                if answer.canceled:
                    raise EtcdGone(f"etcd ended the watch: {answer.cancel_reason}")
                yield Changed(
                    header=_header_of(answer),
                    written=tuple(
                        _key_value_of(e.kv) for e in answer.events if e.type == rpc.Event.PUT
                    ),
                    deleted=tuple(
                        e.kv.key.decode() for e in answer.events if e.type == rpc.Event.DELETE
                    ),
                )
            raise EtcdGone("etcd ended the watch")
        except rpc.AioRpcError as error:
            raise self._told(error) from None
        finally:
            call.cancel()

    async def grant(self, ttl_seconds: int) -> tuple[int, float]:
        """Return a new lease and its time to live in seconds."""
        answer = await self._call(
            lambda m: m.lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=ttl_seconds)
        )
        return answer.ID, float(answer.TTL)

    async def renew(self, lease: int) -> float:
        """Begin the time of a lease anew; return it in seconds."""
        member = await self._member()

        async def renew() -> Any:
            call = member.lease.LeaseKeepAlive(
                timeout=self._address.timeout_seconds,
                metadata=(*member.metadata, _NEEDS_LEADER),
            )
            try:
                await call.write(rpc.LeaseKeepAliveRequest(ID=lease))
                return await call.read()
            finally:
                call.cancel()

        answer = await self._answered(renew())
        if answer is grpc.aio.EOF:
            raise EtcdGone("etcd ended the renewal")
        if answer.TTL <= 0:
            raise LeaseGone("the lease has expired")
        return float(answer.TTL)

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys."""
        try:
            await self._call(lambda m: m.lease.LeaseRevoke, rpc.LeaseRevokeRequest(ID=lease))
        except LeaseGone:
            return

    async def close(self) -> None:
        """Close every channel."""
        for member in self._members:
            await member.channel.close()

    # --- calls -----------------------------------------------------------------------------------

    async def _call(self, method: Callable[[_Member], Any], request: Any) -> Any:
        member = await self._member()
        try:
            return await self._answered(self._send(method(member), member, request))
        except _TokenExpired:  # refused before it was looked at: nothing was done
            member = await self._member()
            return await self._answered(self._send(method(member), member, request))

    def _send(self, method: Any, member: _Member, request: Any) -> Awaitable[Any]:
        sent: Awaitable[Any] = method(
            request, timeout=self._address.timeout_seconds, metadata=member.metadata
        )
        return sent

    async def _member(self) -> _Member:
        """Return the member that is asked now, with a token where a user is set."""
        member = self._members[self._at]
        if self._address.user and member.token is None:
            password = self._address.password
            request = rpc.AuthenticateRequest(
                name=self._address.user,
                password="" if password is None else password.reveal().decode(),
            )
            answer = await self._answered(
                member.auth.Authenticate(request, timeout=self._address.timeout_seconds)
            )
            member.token = answer.token
        return member

    async def _answered(self, call: Awaitable[_T]) -> _T:
        try:
            return await call
        except rpc.AioRpcError as error:
            raise self._told(error) from None

    def _told(self, error: Any) -> EtcdError:
        """Return what a refusal of gRPC means; after silence the next call asks the next one."""
        code, details = error.code(), error.details() or ""
        status = rpc.StatusCode
        if code is status.UNAUTHENTICATED and "token" in details:
            self._members[self._at].token = None
            return _TokenExpired(details)
        if (
            code in (status.UNAUTHENTICATED, status.PERMISSION_DENIED)
            or "authentication" in details
        ):
            return EtcdRefused(
                f"etcd refuses this node: {details}",
                "check cluster.user, its role, and the credential sad-etcd-password",
            )
        if code is status.INVALID_ARGUMENT and "user name is empty" in details:
            return EtcdRefused("etcd wants a user", "set cluster.user, and give its password")
        if code is status.RESOURCE_EXHAUSTED and "space" in details:
            return EtcdFull(
                "etcd is over its quota",
                "etcdctl compact, etcdctl defrag, etcdctl alarm disarm; think of a larger "
                "--quota-backend-bytes",
            )
        if code is status.OUT_OF_RANGE and "compacted" in details:
            return Compacted(details)
        if code is status.NOT_FOUND and "lease" in details:
            return LeaseGone(details)
        if code in (
            status.UNAVAILABLE,
            status.DEADLINE_EXCEEDED,
            status.CANCELLED,
            status.INTERNAL,
            status.UNKNOWN,
        ):
            member = self._address.members[self._at]
            self._at = next(self._order)
            return EtcdGone(
                f"{member}: {_words_of(code, details)}",
                "check that etcd runs and that a majority of its members is reached",
            )
        return EtcdError(f"{code.name}: {details}")


class _TokenExpired(EtcdRefused):
    """The token was good once; a new one is asked for."""


def _words_of(code: Any, details: str) -> str:
    """Return the reason in one short line: gRPC's own may hold whole addresses and traces."""
    return (details.splitlines() or [code.name])[0][:160] or code.name


def _request_of(operation: Operation) -> Any:
    match operation:
        case Put(key, value, lease):
            return rpc.RequestOp(
                request_put=rpc.PutRequest(key=key.encode(), value=value, lease=lease)
            )
        case Delete(key):
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key.encode()))


def _header_of(answer: Any) -> Header:
    return Header(cluster_id=answer.header.cluster_id, revision=answer.header.revision)


def _key_value_of(found: Any) -> KeyValue:
    return KeyValue(
        key=found.key.decode(),
        value=found.value,
        create_revision=found.create_revision,
        mod_revision=found.mod_revision,
        lease=found.lease,
    )
