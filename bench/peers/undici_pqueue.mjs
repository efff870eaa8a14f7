// p-queue, 32 at a time, with undici's request on a pool of 32 connections.
import { createWriteStream, readFileSync } from "node:fs";
import { once } from "node:events";
import PQueue from "p-queue";
import { Pool } from "undici";

const jobs = readFileSync(process.argv[2], "utf8").trim().split("\n").map((line) => JSON.parse(line));
const pool = new Pool(new URL(jobs[0].url).origin, { connections: 32 });
const answers = createWriteStream(`${process.argv[3]}/answers.jsonl`);
const headers = { "content-type": "application/json" };
let kept = 0;

async function call(job) {
  const body = job.json && JSON.stringify(job.json);
  const path = new URL(job.url).pathname;
  const response = await pool.request({ method: job.method, path, body, headers: body && headers });
  const json = await response.body.json();
  answers.write(JSON.stringify({ url: job.url, status: response.statusCode, json }) + "\n");
  kept += 1;
}

console.log("ready");
await once(process.stdin, "data");
const queue = new PQueue({ concurrency: 32 });
for (const job of jobs) queue.add(() => call(job));
await queue.onIdle();
answers.end();
await once(answers, "finish");
console.log("done", kept);
process.stdin.on("end", () => process.exit());
