"""Celery over RabbitMQ: a worker with 32 threads (prefork took more CPU); the task appends its answer to one file.

Transient messages, no gossip, mingle, heartbeat or events: what its guide to optimizing names.
"""

import json
import os
import signal
import sys
import threading
import time

import requests
from celery import Celery

app = Celery("bench", broker=os.environ["BROKER"])
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    task_ignore_result=True,
    task_default_delivery_mode="transient",
    worker_prefetch_multiplier=8,
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
path = f"{sys.argv[2]}/answers.jsonl"
answers = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
local = threading.local()


@app.task(name="call")
def call(job):
    """Make one call, and write down its answer."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    response = local.session.request(job["method"], job["url"], json=job.get("json"), timeout=30)
    answer = {"url": job["url"], "status": response.status_code, "json": response.json()}
    os.write(answers, json.dumps(answer).encode() + b"\n")


jobs = [json.loads(line) for line in open(sys.argv[1])]
if (worker := os.fork()) == 0:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
    os.dup2(2, 1)
    app.worker_main(["worker", "--pool=threads", "--concurrency=32", *quiet])
    sys.exit()
while not app.control.ping(timeout=0.5):
    pass

print("ready", flush=True)
sys.stdin.readline()
with app.producer_or_acquire() as producer:
    for job in jobs:
        call.apply_async((job,), producer=producer)
with open(path, "rb") as written:
    kept = 0
    while kept < len(jobs):
        time.sleep(0.05)
        kept += written.read().count(b"\n")
print("done", kept, flush=True)
sys.stdin.readline()
os.kill(worker, signal.SIGKILL)
os.waitpid(worker, 0)
