// BullMQ over Redis: jobs added in bulk, a worker with concurrency 32 that calls with undici and writes to one file.
import { createWriteStream, readFileSync } from "node:fs";
import { once } from "node:events";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { Pool } from "undici";

const connection = new Redis(process.env.BROKER, { maxRetriesPerRequest: null });
const jobs = readFileSync(process.argv[2], "utf8").trim().split("\n").map((line) => JSON.parse(line));
const pool = new Pool(new URL(jobs[0].url).origin, { connections: 32 });
const answers = createWriteStream(`${process.argv[3]}/answers.jsonl`);
const headers = { "content-type": "application/json" };
const options = { removeOnComplete: true, attempts: 5 };
const queue = new Queue(process.env.QUEUE, { connection });
let kept = 0;
let finish;
const finished = new Promise((resolve) => (finish = resolve));

async function call({ data: job }) {
  const body = job.json && JSON.stringify(job.json);
  const path = new URL(job.url).pathname;
  const response = await pool.request({ method: job.method, path, body, headers: body && headers });
  const json = await response.body.json();
  answers.write(JSON.stringify({ url: job.url, status: response.statusCode, json }) + "\n");
}

const worker = new Worker(process.env.QUEUE, call, { connection, concurrency: 32 });
worker.on("completed", () => ++kept === jobs.length && finish());
await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);

console.log("ready");
await once(process.stdin, "data");
for (let at = 0; at < jobs.length; at += 1000) {
  await queue.addBulk(jobs.slice(at, at + 1000).map((data) => ({ name: "call", data, opts: options })));
}
await finished;
answers.end();
await once(answers, "finish");
console.log("done", kept);
process.stdin.on("end", () => process.exit());
