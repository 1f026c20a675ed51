"""What the scripts of the ways to die share. They run in a folder of their own, through which they are told to go on."""

import json
import os
import socket
import sys
import threading
import time

_sock = None


def send(**event):
    global _sock
    if _sock is None:
        _sock = socket.socket(socket.AF_UNIX)
        _sock.connect(os.environ["RUNWATCH_SOCKET"])
        send(hello=1, run=os.environ["RUNWATCH_RUN"])
    _sock.sendall(json.dumps(event).encode() + b"\n")


def ready():
    """Says that the stage is set: what is to be done to this process may be done."""
    with open("ready.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("ready.new", "ready")


def wait():
    """Waits to be told to go on; gives up when nobody does."""
    for _ in range(1200):
        if os.path.exists("go"):
            return
        time.sleep(0.05)


def report(kind, error, trace):
    """As an instrumented script does: an exception that nobody catches is told."""
    import traceback

    text = "".join(traceback.format_exception(kind, error, trace))
    send(type="run_failed", error=f"{kind.__name__}: {error}", traceback=text)
    sys.__excepthook__(kind, error, trace)

