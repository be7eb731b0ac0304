"""Run one step of the project: `python scripts STEP …`; each step has `--help`."""

from __future__ import annotations

import sys

_NEEDED = (3, 11)


def main(argv: list[str] | None = None) -> int:
    """Run the step that the first argument names with the others; return its exit code."""
    if sys.version_info < _NEEDED:
        have = ".".join(map(str, sys.version_info[:3]))
        print(
            f"error: this is Python {have}, and the steps need 3.11 or newer: run it with"
            " python3.11 or a later one",
            file=sys.stderr,
        )
        return 1
    try:
        # What the steps import takes a second: interrupted there, they end as they do later.
        import argparse
        import importlib

        from procpool import STEPS
        from procpool.base.errors import exit_code

        parser = argparse.ArgumentParser(
            prog="python scripts", description=(__doc__ or "").splitlines()[0]
        )
        parser.add_argument("step", choices=STEPS, metavar="STEP", help=", ".join(STEPS))
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…")
        options = parser.parse_args(argv)
        step = importlib.import_module(f"procpool.{STEPS[options.step]}")
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    sys.argv[0] = f"python scripts {options.step}"
    return exit_code(lambda: int(step.main(options.arguments)))


if __name__ == "__main__":
    sys.exit(main())
