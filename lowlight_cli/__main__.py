"""The entry of the `lowlight` command, and of `python -m lowlight_cli`."""

from __future__ import annotations

import sys

from lowlight_cli.errors import INTERRUPTED


def main() -> None:
    """Run the command; Ctrl-C while its first modules are imported ends it as later."""
    try:
        from lowlight_cli.cli import main as run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
