"""Dramatiq over RabbitMQ: its command with 2 processes of 16 threads; the actor appends each answer to one file."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import dramatiq
import requests
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["BROKER"], middleware=[])
dramatiq.set_broker(broker)
answers = os.open("answers.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
local = threading.local()


@dramatiq.actor(queue_name=os.environ["QUEUE"])
def call(job):
    """Make one call, and write down its answer."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    response = local.session.request(job["method"], job["url"], json=job.get("json"), timeout=30)
    answer = {"url": job["url"], "status": response.status_code, "json": response.json()}
    os.write(answers, json.dumps(answer).encode() + b"\n")


def main():
    """Send all jobs, once the workers are up."""
    jobs = [json.loads(line) for line in open(sys.argv[1])]
    here = os.path.dirname(os.path.abspath(__file__))
    command = ["-m", "dramatiq", "dramatiq_rabbit:broker", "--path", here, "--processes=2", "--threads=16"]
    workers = subprocess.Popen([sys.executable, *command], stdout=2)
    call.send({"method": "GET", "url": jobs[0]["url"]})
    with open("answers.jsonl", "rb") as written:
        while not written.read():
            time.sleep(0.05)
        print("ready", flush=True)
        sys.stdin.readline()
        for job in jobs:
            call.send(job)
        kept = 0
        while kept < len(jobs):
            time.sleep(0.05)
            kept += written.read().count(b"\n")
    print("done", kept, flush=True)
    sys.stdin.readline()
    workers.send_signal(signal.SIGTERM)
    workers.wait()


if __name__ == "__main__":
    main()
