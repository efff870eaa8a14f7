// An Express accept loop: takes a job, keeps it in memory, gives its id.
import { randomUUID } from "node:crypto";
import express from "express";

const jobs = [];
const app = express();
app.disable("x-powered-by");

app.post("/jobs", express.json(), (request, response) => {
  const id = randomUUID();
  jobs.push({ id, ...request.body });
  response.status(202).json({ id });
});

const server = app.listen(0, "127.0.0.1", () => console.log("ready", server.address().port));
// Kept for as long as its client likes, as ours are.
server.keepAliveTimeout = 0;
process.stdin.resume().on("end", () => process.exit());
