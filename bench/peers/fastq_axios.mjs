// fastq, 32 at a time, with axios on an agent that keeps connections.
import { createWriteStream, readFileSync } from "node:fs";
import { once } from "node:events";
import { Agent } from "node:http";
import axios from "axios";
import fastq from "fastq";

const jobs = readFileSync(process.argv[2], "utf8").trim().split("\n").map((line) => JSON.parse(line));
const client = axios.create({ httpAgent: new Agent({ keepAlive: true, maxSockets: 32 }), proxy: false });
const answers = createWriteStream(`${process.argv[3]}/answers.jsonl`);
let kept = 0;

const queue = fastq.promise(async (job) => {
  const response = await client.request({ method: job.method, url: job.url, data: job.json });
  answers.write(JSON.stringify({ url: job.url, status: response.status, json: response.data }) + "\n");
  kept += 1;
}, 32);

console.log("ready");
await once(process.stdin, "data");
await Promise.all(jobs.map((job) => queue.push(job)));
answers.end();
await once(answers, "finish");
console.log("done", kept);
process.stdin.on("end", () => process.exit());
