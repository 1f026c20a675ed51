"""A real multi-threaded run. Usage: train.py FOLDER

It steps until it is told what becomes of it, by a file in FOLDER: `die` makes the loader thread die of an
exception while the run goes on, `finish` ends everything as it should.
"""

import json
import os
import socket
import sys
import threading
import time

folder = sys.argv[1]
sock = socket.socket(socket.AF_UNIX)
sock.connect(os.environ["RUNWATCH_SOCKET"])
sending = threading.Lock()


def send(**event):
    with sending:
        sock.sendall(json.dumps(event).encode() + b"\n")


def told(word):
    return os.path.exists(os.path.join(folder, word))


def report(alive, clean=False):
    tid = threading.get_native_id()
    send(type="thread_report", thread="loader", pid=os.getpid(), tid=tid, alive=alive, clean=clean)


def loader():
    report(alive=True)
    while not told("finish"):
        if told("die"):
            raise RuntimeError("the loader lost its data")
        time.sleep(0.02)
    report(alive=False, clean=True)


send(hello=1, run=os.environ["RUNWATCH_RUN"])
send(type="run_started", pid=os.getpid(), max_steps=1_000_000_000)
thread = threading.Thread(target=loader, name="loader", daemon=True)
thread.start()
with open(os.path.join(folder, "pid.new"), "w") as file:
    file.write(str(os.getpid()))
os.rename(os.path.join(folder, "pid.new"), os.path.join(folder, "pid"))

step = 0
while not told("finish"):
    step += 1
    send(type="metrics", step=step, data={"loss": 1 / step})
    time.sleep(0.1)
thread.join()
send(type="metrics", step=1_000_000_000, data={"loss": 0.0})
send(type="run_finished", summary={"loss": 0.0})
