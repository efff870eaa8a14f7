// A queue in the memory of an Express server, with leases of a second, as small services have it.
import { randomUUID } from "node:crypto";
import express from "express";

const LEASE = 1000;
const ready = [];
const leased = new Map();
const app = express();
app.disable("x-powered-by");

app.post("/", express.json(), (request, response) => {
  const id = randomUUID();
  ready.push({ id, body: request.body });
  response.status(201).json({ messageID: id });
});

app.get("/", (request, response) => {
  const messages = ready.splice(0, Number(request.query.amount ?? 1));
  for (const message of messages) {
    leased.set(message.id, setTimeout(() => leased.delete(message.id) && ready.push(message), LEASE));
  }
  response.json({ messages });
});

app.patch("/:id", (request, response) => {
  clearTimeout(leased.get(request.params.id));
  response.status(leased.delete(request.params.id) ? 204 : 404).end();
});

const server = app.listen(0, "127.0.0.1", () => console.log("ready", server.address().port));
// Kept for as long as its client likes, as ours are.
server.keepAliveTimeout = 0;
process.stdin.resume().on("end", () => process.exit());
