"""Burn CPU, and measure how long that takes: python burning.py PROCESSES SECONDS

It burns in many threads at once, so that whatever else runs on the same core takes little of it:
two that burn on one core take about twice as long as one, also on a busy machine. It runs on every
supported Python.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
import threading
import time

_THREADS = 6
# What is hashed in one go, a few milliseconds: meanwhile the other threads may run.
_BLOCK = bytes(2**22)


def burn(seconds: float) -> float:
    """Use so many seconds of CPU; return how long that took."""
    start, end = time.monotonic(), time.process_time() + seconds

    def work() -> None:
        while time.process_time() < end:
            hashlib.sha256(_BLOCK)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - start


def main() -> None:
    """Print how long so many processes at once take that burn so many seconds each."""
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    with multiprocessing.get_context("fork").Pool(count) as pool:
        print(max(pool.map(burn, [seconds] * count, chunksize=1)))


if __name__ == "__main__":
    main()
