"""Entry point of the commands `aimindserve` and `gpustack`, and of `python -m aimindserve`.

`--version` is answered before anything else is imported: scripts ask it often.
"""

import sys

from aimindserve import __version__


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"aimindserve {__version__}\n")
        raise SystemExit(0)
    from aimindserve.cli.app import run

    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
