"""Print promise 12's model on a patched release; default: the newest.

Makes an environment of it as the suite does, and runs `tests/regression/contended_model.py` there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from procpool.base.errors import UserError, exit_code
from procpool.catalog.releases import get_release, newest_release
from procpool.suite.run import Target, prepare


def main() -> int:
    """Make the environment and run the model there; raise `UserError` if it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default=newest_release().version)
    release, series = get_release(parser.parse_args().version)
    python = str(prepare(Target(release, series, "newest", purpose="figures-")))
    model = str(ROOT / "tests" / "regression" / "contended_model.py")
    if subprocess.run([python, model]).returncode != 0:
        raise UserError(f"the model failed on {release.version}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
