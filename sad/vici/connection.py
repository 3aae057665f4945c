"""One connection to charon: one command at a time, nothing longer or slower than agreed.

Whatever goes wrong ends the connection: nobody knows then what of an answer is still to come.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Self

from sad.vici import codec
from sad.vici.codec import Event, Message, Registered, Reply, Response, Unknown
from sad.vici.errors import (
    SET_PATH,
    START_IT,
    Abandoned,
    BadMessage,
    CommandFailed,
    Unavailable,
)

#: Events of one streamed command: more than any charon has IKE SAs.
_MOST_EVENTS: Final = 1_000_000


class Connection:
    """An open connection; :meth:`open` makes one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self._abandoned = False

    @classmethod
    async def open(cls, path: str, seconds: float) -> Self:
        """Connect; raise Unavailable."""
        try:
            async with asyncio.timeout(seconds):
                return cls(*await asyncio.open_unix_connection(path))
        except FileNotFoundError:
            raise Unavailable(
                f"strongSwan is not there ({path} does not exist)", SET_PATH
            ) from None
        except ConnectionRefusedError:
            raise Unavailable(
                f"strongSwan has ended (nobody serves {path})", START_IT, gone=True
            ) from None
        except PermissionError:
            raise Unavailable(
                f"{path} may not be opened by this user",
                "have it belong to group sad (strongswan.service.d/sad.conf), restart it",
            ) from None
        except TimeoutError:
            raise Unavailable(
                f"strongSwan took no connection in {seconds:g} s", START_IT
            ) from None
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}", SET_PATH) from None

    @property
    def closed(self) -> bool:
        """Whether it can be used no more."""
        return self._writer.is_closing() or self._reader.at_eof()

    def close(self) -> None:
        """Close it; harmless twice."""
        self._writer.close()

    # --- commands --------------------------------------------------------------------------------

    async def call(self, command: str, message: Message | None, seconds: float) -> Message:
        """Return charon's answer; raise CommandFailed, Unavailable, or BadMessage."""
        async with self._ended_by_failure(command, seconds):
            await self._send(codec.request(command, message))
            return _answer(command, await self._receive())

    async def stream(
        self, command: str, event: str, message: Message | None, seconds: float
    ) -> tuple[list[Message], Message]:
        """Return the events of a command, and its answer, which may say that it failed.

        ``seconds`` are of the whole.
        """
        async with self._ended_by_failure(command, seconds):
            await self._send(codec.register(event))
            _registered(event, await self._receive())
            await self._send(codec.request(command, message))
            told: list[Message] = []
            while isinstance(reply := await self._receive(), Event):
                if len(told) >= _MOST_EVENTS:
                    raise BadMessage(f"{command}: no end of events")
                told.append(reply.message)
            if not isinstance(reply, Response):
                raise _not_known(command, reply)
            await self._send(codec.unregister(event))
            _registered(event, await self._receive())
            return told, reply.message

    # --- events ----------------------------------------------------------------------------------

    async def register(self, event: str, seconds: float) -> tuple[Event, ...]:
        """Have an event told from here on; return those that came in between."""
        async with self._ended_by_failure(event, seconds):
            await self._send(codec.register(event))
            between: list[Event] = []
            while isinstance(reply := await self._receive(), Event):
                between.append(reply)
            _registered(event, reply)
            return tuple(between)

    async def next_event(self) -> Event:
        """Wait for an event, for as long as it takes; raise Unavailable when charon ends."""
        reply = await self._receive()
        if not isinstance(reply, Event):
            raise BadMessage("an answer where nothing was asked")
        return reply

    # --- packets ---------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _ended_by_failure(self, what: str, seconds: float) -> AsyncIterator[None]:
        async with self._turn:
            if self._abandoned:
                raise Abandoned
            try:
                async with asyncio.timeout(seconds):
                    yield
            except CommandFailed:
                raise
            except TimeoutError:
                self.close()
                raise Unavailable(
                    f"strongSwan did not answer {what} in {seconds:g} s", START_IT
                ) from None
            except BaseException as error:
                self._abandoned = isinstance(error, asyncio.CancelledError)
                self.close()
                raise

    async def _send(self, packet: bytes) -> None:
        if len(packet) > codec.LONGEST:
            raise BadMessage(f"a request of {len(packet)} bytes: charon takes {codec.LONGEST}")
        if self.closed:
            raise _ended()
        try:
            self._writer.write(codec.framed(packet))
            await self._writer.drain()
        except OSError as error:
            raise _ended() from error

    async def _receive(self) -> Reply:
        try:
            (length,) = codec.LENGTH.unpack(await self._reader.readexactly(codec.LENGTH.size))
            if not 0 < length <= codec.LONGEST:
                raise BadMessage(f"a packet of {length} bytes")
            return codec.parse(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise _ended() from error


def _ended() -> Unavailable:
    return Unavailable("strongSwan has ended the connection", START_IT)


def failure_of(command: str, answer: Message, log: tuple[str, ...] = ()) -> CommandFailed | None:
    """Return how an answer says that the command failed, None if it does not."""
    if answer.get("success", b"yes") == b"yes":
        return None
    words = answer.get("errmsg", b"no reason given")
    told = words.decode(errors="replace") if isinstance(words, bytes) else "no words"
    return CommandFailed(command, told, log)


def _answer(command: str, reply: Reply) -> Message:
    if not isinstance(reply, Response):
        raise _not_known(command, reply)
    failed = failure_of(command, reply.message)
    if failed is not None:
        raise failed
    return reply.message


def _registered(event: str, reply: Reply) -> None:
    if not isinstance(reply, Registered):
        raise _not_known(event, reply)


def _not_known(what: str, reply: Reply) -> Unavailable | BadMessage:
    if isinstance(reply, Unknown):
        return Unavailable(
            f"this strongSwan does not know {what}", "install 5.9 or later (Debian 12 or later)"
        )
    return BadMessage(f"{what}: an answer of another kind")
