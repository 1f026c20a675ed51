"""Usage: terminal.py KEYS COMMAND...: runs COMMAND behind a shell on a terminal of its own. Once the file `ready` is there,
KEYS happen to the terminal: `^C` is typed, `hangup` closes it."""

import os
import pty
import signal
import sys
import time

signal.alarm(60)
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", '"$@"; true', "sh"] + sys.argv[2:])
while not os.path.exists("ready"):
    time.sleep(0.02)
if sys.argv[1] == "hangup":
    os.close(fd)
else:
    os.write(fd, b"\x03")
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
os.waitpid(pid, 0)
