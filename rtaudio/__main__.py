"""``python -m rtaudio`` and the command ``rtaudio``."""

import sys


def main() -> int:
    """Import the command line and run it; Ctrl-C during the import ends without a traceback too."""
    try:
        from rtaudio import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
