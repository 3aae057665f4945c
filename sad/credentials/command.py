"""The command that has a SIP server read its files again: bounded, and its output left alone.

What it prints is not repeated anywhere: nobody knows what stands in it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Final

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def run_command(command: Sequence[str], seconds: float) -> str | None:
    """Run a command to its end; return why it failed, None if it did what it should.

    After ``seconds``, or when this is cancelled, the command and all that it started are killed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": _PATH, "LANG": "C.UTF-8"},
            start_new_session=True,  # a group of its own, to be killed as one
            cwd="/",
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        return f"{command[0]} was not done after {seconds:g} s and was killed"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status < 0:
        return f"{command[0]} was ended by {signal.Signals(-status).name}"
    return f"{command[0]} ended with status {status}" if status else None
