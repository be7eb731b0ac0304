"""What the command lines of all steps share."""

from __future__ import annotations

import argparse
from pathlib import Path

from procpool.base.files import PATCHES


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a step: its help is the first line of the module's docstring.

    Every step takes `--patches`, the folder that holds `releases.toml` and the series.
    """
    parser = argparse.ArgumentParser(
        description=description.splitlines()[0] if description else None
    )
    parser.add_argument(
        "--patches",
        type=Path,
        default=PATCHES,
        metavar="FOLDER",
        help="the folder with releases.toml and the series; default: this project's",
    )
    return parser
