"""The program ``sadctl``: command line in, answer out, exit code.

The only module of :mod:`sad.ctl` that catches exceptions and writes to standard error.
"""

import io
import os
import sys
from collections.abc import Sequence

from sad.ctl import failures
from sad.ctl.failures import Exit, Failure
from sad.ctl.output import Output, sheet_for
from sad.ctl.parser import build_parser
from sad.ctl.session import Session
from sip_hooks.client import (
    DEFAULT_PATH,
    BadReply,
    CallError,
    ClientError,
    TimedOut,
    Unreachable,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; ``argv`` without the program's name.

    Wrong usage leaves by SystemExit with 2, as argparse does it.
    """
    args = build_parser().parse_args(argv)
    path = args.socket or os.environ.get("SAD_SOCKET") or DEFAULT_PATH
    if sys.stdout is None:  # closed by the caller: the verb still counts
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - lives as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):  # an odd locale must not end a listing
        sys.stdout.reconfigure(errors="backslashreplace")
    output = Output(sys.stdout, sheet_for(sys.stdout, os.environ), is_json=args.json)
    session = Session(path, args.timeout, output)
    code = Exit.OK
    try:
        try:
            args.function(session, args)
        finally:
            output.flush()  # what is known goes out before any complaint
    except BrokenPipeError:
        _discard_output()  # the reader has seen enough
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except (Failure, ClientError, OSError) as error:
        code = _complain(_failure_of(error, path))
    return code


def _failure_of(error: Exception, path: str) -> Failure:
    """Return why a run failed, for people."""
    match error:
        case Failure():
            return error
        case CallError():
            return failures.of_call_error(error.name, error.parameters)
        case TimedOut():
            return failures.of_time_out(error.path, error.seconds)
        case Unreachable(__cause__=PermissionError()):
            return failures.of_forbidden_socket(path, failures.group_of_socket(path))
        case Unreachable():
            return failures.of_unreachable(path, error.reason, may_have_run=error.may_have_run)
        case BadReply():
            return failures.of_bad_reply(path, str(error))
    return failures.of_output(getattr(error, "strerror", None) or str(error))


def _complain(failure: Failure) -> Exit:
    if sys.stderr is not None:
        sys.stderr.write(failure.text())
    return failure.code


def _discard_output() -> None:
    """Let the interpreter's own last flush go nowhere instead of into the broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
