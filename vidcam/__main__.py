"""`python -m vidcam` and the `vidcam` command: errors become one line and an exit code."""

import os
import sys

from typer import Abort
from typer.exceptions import TyperException

from vidcam.cli import app
from vidcam.cli.console import one_line
from vidcam.errors import VidcamError

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 for what went wrong, 2 for wrong usage, 130 when interrupted."""
    try:
        code = int(app(arguments, prog_name="vidcam", standalone_mode=False) or 0)
        if code == INTERRUPTED:  # typer has caught the KeyboardInterrupt
            raise Abort
        return code
    except TyperException as error:
        message = error.format_message()
        print(message if message.startswith(("Usage", "\n")) else f"error: {one_line(message)}", file=sys.stderr)
        return error.exit_code
    except (Abort, KeyboardInterrupt):
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (VidcamError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
