"""Run one step of the project: `python scripts STEP …`; each step has `--help`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from procpool import STEPS
from procpool.base.errors import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step that the first argument names with the others; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python scripts", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("step", choices=STEPS, metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…")
    options = parser.parse_args(argv)
    step = importlib.import_module(f"procpool.{STEPS[options.step]}")
    sys.argv[0] = f"python scripts {options.step}"
    return exit_code(lambda: step.main(options.arguments))


if __name__ == "__main__":
    sys.exit(main())
