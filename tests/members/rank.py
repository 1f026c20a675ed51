"""One rank of a job. Usage: rank.py RUN RANK WORLD_SIZE (SOCKET | http://ADDRESS)

It sends telemetry until it is killed, over the way it is given.
"""

import json
import os
import socket
import sys
import time
import urllib.request

run, rank, world_size, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

if target.startswith("http://"):

    def write(line):
        urllib.request.urlopen(target + "/api/v1/events", data=line, timeout=10).read()

else:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(target)

    def write(line):
        sock.sendall(line)


def send(**event):
    write(json.dumps(dict(event, run=run, rank=rank, pid=os.getpid())).encode() + b"\n")


send(type="run_started", world_size=world_size, attempt_id="job-1", expect={"stale": "10m"})
step = 0
while True:
    step += 1
    send(type="metrics", step=step)
    time.sleep(0.1)
