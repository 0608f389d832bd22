// The receiver that most sites would write: Express, the same check of the signature, nothing kept.
//
//   node server.mjs PORT SECRET

import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const [port, secret] = process.argv.slice(2);
const app = express();

app.get("/healthz", (_request, response) => response.sendStatus(200));

app.post("/webhooks/crisp", express.raw({ type: "*/*", limit: "1mb" }), (request, response) => {
  const timestamp = request.get("X-Crisp-Request-Timestamp") ?? "";
  const given = Buffer.from(request.get("X-Crisp-Signature") ?? "", "hex");
  const expected = createHmac("sha256", secret).update(`[${timestamp};`).update(request.body).update("]").digest();
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    response.sendStatus(401);
    return;
  }
  const { event } = JSON.parse(request.body);
  response.status(200).type("text/plain").send(event === undefined ? "ignored" : "accepted");
});

app.listen(Number(port), "127.0.0.1");
