"""``python -m rtaudio`` and the command ``rtaudio``."""

import sys


def main() -> int:
    """Import the command line and run it; Ctrl-C during the import ends without a traceback too.

    ``rtaudio ctl`` does without most of it, to be done in a fraction of the time.
    """
    try:
        if sys.argv[1:2] == ["ctl"]:
            from rtaudio import ctl

            if (given := ctl.parse(sys.argv[2:])) is not None:
                return ctl.main(*given)
        from rtaudio import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
