"""Becomes another program that the kernel kills as soon as the process that asked for it is gone.

Run by path, ``python -I -S shim.py PARENT_PID USER PROGRAM ARGUMENT…``, so that it starts in a few milliseconds
and depends on nothing. USER is ``UID:GID``, or ``-`` for the one who asks. It then *becomes* the program: same
pid, nothing in between.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, user, *argv = sys.argv[1:]
    if user != "-":
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)  # first: a change of user unties a process from its parent
    if sys.platform == "linux":
        # SIGKILL, not SIGTERM: nobody would be left to follow up on a program that hangs on its way out.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the parent was gone before this process could be tied to it")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error}")


if __name__ == "__main__":
    main()
