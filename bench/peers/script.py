"""The script that people write: requests and a ThreadPoolExecutor."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

calls = [json.loads(line) for line in open(sys.argv[1])]
local = threading.local()


def call(job):
    """Make one call."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    response = local.session.request(job["method"], job["url"], json=job.get("json"), timeout=30)
    return {"url": job["url"], "status": response.status_code, "json": response.json()}


print("ready", flush=True)
sys.stdin.readline()
with open(f"{sys.argv[2]}/answers.jsonl", "w") as answers, ThreadPoolExecutor(32) as pool:
    kept = sum(answers.write(json.dumps(answer) + "\n") > 0 for answer in pool.map(call, calls))
print("done", kept, flush=True)
sys.stdin.readline()
