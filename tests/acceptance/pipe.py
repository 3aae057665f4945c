"""The machine's end of :mod:`tests.acceptance.handsets`: calls come in by lines of JSON.

Each line of standard input is a call, ``{"id", "do", ...}``; each line of standard output the
answer to one, in any order. Keys go over this pipe alone, never to a log.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any


async def _answer(served: object, line: bytes) -> None:
    call = json.loads(line)
    number, do = call.pop("id"), call.pop("do")
    work: Callable[..., Awaitable[dict[str, Any]]] = getattr(served, do)
    try:
        result = {"id": number, "result": await work(**call)}
    except Exception as error:  # noqa: BLE001 - the other side raises it
        result = {"id": number, "error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def serve(served: object) -> None:
    """Serve until standard input ends; each public coroutine of ``served`` is a call."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(_answer(served, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
