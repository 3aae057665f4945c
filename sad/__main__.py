"""``sad``: the daemon's command line.

What each exit status says stands in ``EXIT_STATUS``; ``systemd/sad.service`` tries again where it
may go well the next time.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from sad import app
from sad.api.listening import SocketUnusableError
from sad.config import EX_CONFIG, ConfigurationError, build_parser, check_config, load_settings
from sad.keys.check import check_keys
from sad.mechanisms.probe import NodeUnfit
from sad.model.errors import SadError
from sad.runtime.hardening import forbid_core_dumps
from sad.runtime.service_manager import ServiceManager, configure_logging
from sad.store.journal import JournalUnreadable
from sad.store.sealing_key import RecordsUnusable

EX_UNAVAILABLE: Final = 69  # sysexits.h
EX_OSERR: Final = 71
EX_TEMPFAIL: Final = 75

#: For the manual page; a test compares it with what the unit tries again.
EXIT_STATUS: Final = {
    0: "stopped as asked",
    2: "the command line is wrong",
    EX_UNAVAILABLE: "the node lacks something: a capability, an algorithm, a usable journal; "
    "it is not tried again",
    EX_OSERR: "the system refused something; it is tried again",
    EX_TEMPFAIL: "something passing, such as a full disk; it is tried again",
    EX_CONFIG: "the settings are wrong; it is not tried again",
}

log = logging.getLogger("sad")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon, or check its settings; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if parser.parse_args(arguments).check_config:
        return check_config(arguments, check_keys=check_keys)
    try:
        settings = load_settings(arguments)
        # What may be set for others must not be readable by them: journal and socket.
        os.umask(0o077)
        forbid_core_dumps()
        configure_logging(settings.log_level)
        asyncio.run(
            app.run(settings, ServiceManager(), read_again=lambda: load_settings(arguments))
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever started it
        return EX_CONFIG
    except NodeUnfit as error:
        return _refuse(f"cannot start without {error.missing}", error.hint, EX_UNAVAILABLE)
    except JournalUnreadable as error:
        status = EX_UNAVAILABLE if error.damaged else EX_TEMPFAIL  # a full disk, a lock
        return _refuse(f"cannot use the journal: {error.reason}", error.hint, status)
    except RecordsUnusable as error:
        what = f"cannot use the sealed records: {error.reason}"
        return _refuse(what, error.hint, EX_TEMPFAIL if error.passing else EX_UNAVAILABLE)
    except SocketUnusableError as error:
        return _refuse(f"cannot listen: {error}", "see socket_path", EX_UNAVAILABLE)
    except SadError as error:
        hint = str(getattr(error, "hint", "journalctl -u sad tells more"))
        return _refuse(f"cannot start: {error}", hint, EX_TEMPFAIL)
    except OSError as error:
        hint = "check the settings: sad --check-config"
        return _refuse(f"cannot start: {error}", hint, EX_OSERR)
    return 0


def _refuse(what: str, hint: str, status: int) -> int:
    log.critical("%s: %s", what, hint)
    return status


if __name__ == "__main__":
    sys.exit(main())
