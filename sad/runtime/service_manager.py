"""systemd: notification, socket activation, watchdog and journal. Its only importer.

The counterparts are ``systemd/sad.service`` and ``systemd/sad.socket``. Without systemd (no
``NOTIFY_SOCKET``, no ``LISTEN_FDS``) every method does nothing, so the daemon runs by hand too.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

from netlink.secret import Secret

# A plain "import systemd" would also find the folder of unit files beside the packages.
from systemd import daemon, journal

_IDENTIFIER: Final = "sad"
_HIDDEN: Final = "hidden"
_PLAIN_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MICROSECONDS: Final = 1_000_000
#: What nearly every attribute of a record is of, and cannot hold a Secret.
_PLAIN_KINDS: Final = frozenset({str, int, float, bool, type(None)})
#: The attributes of every record; the others are fields that a caller gave.
_USUAL: Final = frozenset(vars(logging.makeLogRecord({})))
#: The levels of syslog(3).
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class ServiceManager:
    """What the daemon tells the service manager, and what it gets from it (sd_notify(3))."""

    def ready(self, status: str | None = None) -> None:
        """Start-up is complete: every armed endpoint is protected from here on."""
        self._notify("READY=1", status)

    def status(self, text: str) -> None:
        """Say in one line what goes on; ``systemctl status`` shows it."""
        self._notify(None, text)

    def reloading(self) -> None:
        """Settings are read again; :meth:`ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}", "reading the settings")

    def stopping(self, status: str | None = None) -> None:
        """An orderly stop has begun."""
        self._notify("STOPPING=1", status)

    def watchdog(self) -> None:
        """The loop is alive. Due at least every :meth:`watchdog_interval`."""
        self._notify("WATCHDOG=1", None)

    def extend(self, seconds: float) -> None:
        """Ask for more time: start-up or stop goes on for up to ``seconds`` from now."""
        self._notify(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}", None)

    def watchdog_interval(self) -> float | None:
        """Return the seconds without a sign of life after which we are killed, None for never."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        owner = os.environ.get("WATCHDOG_PID", "")
        if not microseconds.isdecimal() or owner not in ("", str(os.getpid())):
            return None
        return int(microseconds) / _MICROSECONDS or None

    def listen_sockets(self) -> list[tuple[str, socket.socket]]:
        """Return the sockets that were handed over, with their names (FileDescriptorName=).

        The caller owns them. A second call finds none: the environment is cleared.
        """
        handed_over: Mapping[int, str] = daemon.listen_fds_with_names(unset_environment=True)
        return [(name, socket.socket(fileno=number)) for number, name in handed_over.items()]

    def _notify(self, state: str | None, status: str | None) -> None:
        lines = [] if state is None else [state]
        if status is not None:
            lines.append(f"STATUS={' '.join(status.split())}")  # a newline would end the value
        daemon.notify("\n".join(lines))


# --- logging -------------------------------------------------------------------------------------


class SecretFilter(logging.Filter):
    """Keeps keys out of the log: a Secret among a record's values is replaced, or an error.

    ``strict`` raises TypeError in the caller, so that tests find whoever tries. Bytes that were
    taken out of a Secret cannot be told from others: nobody passes them on.
    """

    def __init__(self, *, strict: bool = False) -> None:
        super().__init__()
        self._strict = strict

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; every record passes."""
        if _PLAIN_KINDS.issuperset(map(type, record.__dict__.values())):
            return True
        for name, value in list(record.__dict__.items()):
            if value.__class__ in _PLAIN_KINDS:
                continue
            cleaned = _without_secrets(value)
            if cleaned is not value:
                if self._strict:
                    raise TypeError(f"a Secret was logged at {record.pathname}:{record.lineno}")
                setattr(record, name, cleaned)
        return True


def _without_secrets(value: Any) -> Any:
    """Return ``value`` itself if it holds no Secret, else a copy without."""
    if isinstance(value, Secret):
        return _HIDDEN
    if isinstance(value, dict):
        cleaned = {key: _without_secrets(inner) for key, inner in value.items()}
        return cleaned if any(cleaned[key] is not value[key] for key in value) else value
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        new = [_without_secrets(inner) for inner in items]
        changed = any(a is not b for a, b in zip(items, new, strict=True))
        return (new if isinstance(value, list) else tuple(new)) if changed else value
    return value


class JournalHandler(logging.Handler):
    """Sends records to journald with the fields that belong there.

    The handler of the library passes on every attribute of a record, the unformatted arguments
    among them, and takes as long for it as all else that a registration costs here.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            fields = [
                f"MESSAGE={self.format(record)}",
                f"PRIORITY={_PRIORITIES.get(record.levelno, 6)}",
                f"LOGGER={record.name}",
                f"SYSLOG_IDENTIFIER={_IDENTIFIER}",
                f"CODE_FILE={record.pathname}",
                f"CODE_LINE={record.lineno}",
                f"CODE_FUNC={record.funcName}",
            ]
            if record.exc_text:
                fields.append(f"EXCEPTION_TEXT={record.exc_text}")
            given = record.__dict__
            fields += [
                f"{name}={given[name]}"
                for name in given.keys() - _USUAL
                if name == "MESSAGE_ID" or name.startswith("SAD_")
            ]
            journal.sendv(*fields)
        except Exception:  # noqa: BLE001 - as every handler of the library
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, and the trace of an exception behind it."""
        return record.getMessage() if record.exc_info is None else super().format(record)


class PlainFormatter(logging.Formatter):
    """One readable line a record; ``SAD_*`` fields that it does not say itself at the end."""

    def __init__(self) -> None:
        super().__init__(_PLAIN_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line without a traceback."""
        text = super().formatMessage(record)
        unsaid = {n: value for n, value in sad_fields(record).items() if value not in text}
        fields = " ".join(f"{name}={value}" for name, value in unsaid.items())
        return f"{text} [{fields}]" if fields else text


def sad_fields(record: logging.LogRecord) -> dict[str, str]:
    """Return the ``SAD_*`` values that a caller gave as ``extra``."""
    return {name: str(v) for name, v in vars(record).items() if name.startswith("SAD_")}


def configure_logging(level: str, *, strict: bool = False, stream: TextIO | None = None) -> None:
    """Send all log records of at least ``level`` to the journal, or to ``stream`` as text.

    To the journal, with the ``SAD_*`` fields, if standard error is connected to it; else to
    ``stream`` (standard error). Replaces earlier handlers. With ``strict`` a logged Secret raises.
    """
    handler: logging.Handler
    if stream is None and stderr_is_journal():
        handler = JournalHandler()
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(PlainFormatter())
    use_handler(handler, level, strict=strict)


def use_handler(handler: logging.Handler, level: str, *, strict: bool = False) -> None:
    """Send all log records of at least ``level`` to a handler and no other, Secrets hidden."""
    handler.addFilter(SecretFilter(strict=strict))
    # What nobody prints need not be found out for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def stderr_is_journal() -> bool:
    """Whether standard error is the journal (``JOURNAL_STREAM``, systemd.exec(5))."""
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
