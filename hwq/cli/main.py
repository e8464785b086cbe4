"""The `hwq` command: parses, calls one verb, turns errors into one line and an exit code."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from hwq import __version__
from hwq.cli import cache as cache_verb
from hwq.cli import calibrate as calibrate_verb
from hwq.cli import cosim as cosim_verb
from hwq.cli import emit as emit_verb
from hwq.cli import evaluate as evaluate_verb
from hwq.cli import generate as generate_verb
from hwq.cli import list as list_verb
from hwq.cli import simulate as simulate_verb
from hwq.cli import synth as synth_verb
from hwq.cli.memory import keep_freed_memory
from hwq.errors import DataError, HwqError, SpecError, UsageError, one_line

OK, FAILED, USAGE = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"hwq: error: {one_line(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; default: the process's own.

    Returns
    -------
    int
        0, 1 when the job failed, 2 when what was asked for makes no sense.
    """
    parser = _Parser(
        prog="hwq", description="Quantized Vision Transformers in integers, on a systolic array."
    )
    parser.add_argument("--version", action="version", version=f"hwq {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in (
        simulate_verb,
        calibrate_verb,
        evaluate_verb,
        list_verb,
        emit_verb,
        cosim_verb,
        generate_verb,
        synth_verb,
        cache_verb,
    ):
        verb.add_parser(verbs)
    arguments = parser.parse_args(argv)
    keep_freed_memory()
    try:
        arguments.run(arguments)
    except (UsageError, SpecError) as error:
        return _fail(error, USAGE)
    except HwqError as error:
        return _fail(error, FAILED)
    except OSError as error:
        # what has no better words of its own: a disk that is full, a folder that is read-only
        place = "" if error.filename is None else f"{error.filename}: "
        return _fail(DataError(f"{place}{error.strerror or error}"), FAILED)
    except KeyboardInterrupt:
        print("hwq: interrupted", file=sys.stderr)
        return FAILED
    return OK


def _fail(error: HwqError, code: int) -> int:
    print(f"hwq: error: {error}", file=sys.stderr)
    return code
