"""One `curl --parallel` over a config file that names each URL and the file for its answer."""

import json
import os
import subprocess
import sys

calls, folder = sys.argv[1:]
with open(calls) as lines, open(f"{folder}/config", "w") as config:
    for number, job in enumerate(map(json.loads, lines)):
        if "json" in job:
            body = json.dumps(json.dumps(job["json"]))
            config.write(f"{'next' if number else ''}\nrequest = {job['method']}\ndata = {body}\n")
            config.write('header = "Content-Type: application/json"\n')
        config.write(f'url = "{job["url"]}"\noutput = "{folder}/{number}.json"\n')
command = ["curl", "--silent", "--show-error", "--parallel", "--parallel-max", "32", "--config", f"{folder}/config"]

print("ready", flush=True)
sys.stdin.readline()
subprocess.run(command, check=True)
print("done", sum(name.endswith(".json") for name in os.listdir(folder)), flush=True)
sys.stdin.readline()
