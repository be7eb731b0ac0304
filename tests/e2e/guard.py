"""Run a command that dies with the process that started it: python guard.py PARENT COMMAND …

Servers and workers must not outlive a session, also when the session is killed. The kernel sends
the command SIGKILL when the process with the id PARENT ends (Linux; elsewhere this only runs it).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the kernel was asked
        sys.exit("the session that started this has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
