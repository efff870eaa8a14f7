"""Huey on SQLite: its consumer, 32 threads, in a process of its own; answers stay in the result store.

With `fsync` as a third argument SQLite waits for the disk.
"""

import json
import logging
import os
import signal
import sys
import threading
import time

import requests
from huey import SqliteHuey

huey = SqliteHuey("bench", filename=f"{sys.argv[2]}/huey.db", fsync="fsync" in sys.argv[3:])
local = threading.local()


@huey.task()
def call(job):
    """Make one call."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    response = local.session.request(job["method"], job["url"], json=job.get("json"), timeout=30)
    return {"url": job["url"], "status": response.status_code, "json": response.json()}


logging.getLogger("huey").setLevel(logging.WARNING)
jobs = [json.loads(line) for line in open(sys.argv[1])]
if (consumer := os.fork()) == 0:
    huey.create_consumer(workers=32, periodic=False, initial_delay=0.01, max_delay=0.1).run()
    sys.exit()

print("ready", flush=True)
sys.stdin.readline()
for job in jobs:
    call(job)
while (kept := huey.result_count()) < len(jobs):
    time.sleep(0.05)
print("done", kept, flush=True)
sys.stdin.readline()
os.kill(consumer, signal.SIGKILL)
os.waitpid(consumer, 0)
