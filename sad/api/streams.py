"""Methods with many replies: ``List`` and ``Monitor``.

The counterpart is :mod:`sad.api.connection`, which pulls: what a reader does not take is not
produced, so a slow one costs a bounded buffer here and a bounded queue in the backend.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sad.api import replies
from sad.api.conversion import View
from sad.api.framing import encode_reply
from sad.api.messages import ListOut, MonitorOut
from sad.model.association import Association
from sad.model.views import WatchEvent, WatchKind

CHUNK_BYTES: Final = 32 * 1024
"""A long list leaves in pieces of this size; between two of them others get their turn."""

RESYNC: Final = encode_reply(MonitorOut(event=WatchKind.RESYNC, association=None))
"""The final reply of a Monitor that ends: what comes after it is not told."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Many replies to one call: whole messages, one or several at a time, the last one final.

    ``last_words`` is a final reply for a reader that was too slow, b"" if there is none.
    """

    replies: AsyncGenerator[bytes, None]
    last_words: bytes = b""


async def listed(
    method: str, view: View, associations: Iterator[Association]
) -> AsyncGenerator[bytes, None]:
    """Reply with each of one or more associations; all are seen from one instant."""
    try:
        chunk = bytearray()
        current = next(associations)
        for following in associations:
            chunk += encode_reply(ListOut(association=view.association(current)), continues=True)
            current = following
            if len(chunk) >= CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        chunk += encode_reply(ListOut(association=view.association(current)))
        yield bytes(chunk)
    except Exception as error:  # noqa: BLE001 - a fault in one call ends that call only
        yield replies.refusal(method, error)


async def monitored(
    method: str, view: Callable[[], View], events: AsyncIterator[WatchEvent]
) -> AsyncGenerator[bytes, None]:
    """Reply with each event; unsubscribes however it ends."""
    try:
        async for event in events:
            about = event.association
            yield encode_reply(
                MonitorOut(
                    event=event.kind,
                    association=None if about is None else view().association(about),
                ),
                continues=True,
            )
        yield RESYNC
    except Exception as error:  # noqa: BLE001 - as in listed
        yield replies.refusal(method, error)
    finally:
        # an iterator need not be a generator; if it is one, closing is unsubscribing
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
