// A real client that nobody here wrote: Crisp's official Node SDK against the sandbox.
//
//   node tests/contract/node-sdk.mjs BINARY                    starts `BINARY sandbox` and ends it
//   SANDBOX_URL=http://127.0.0.1:<port> node node-sdk.mjs      takes one that runs
//
// SANDBOX_WEBSITE, SANDBOX_TOKEN_IDENTIFIER, SANDBOX_TOKEN_KEY and SANDBOX_TIER name others than the sandbox's own
// website and token. The script points the sandbox's webhooks at itself, so give it a sandbox of its own.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import assert from "node:assert/strict";
import { Crisp } from "crisp-api";

const PATIENCE_MS = 10_000;
const {
  SANDBOX_WEBSITE = "0b7e4c1a-6f1d-4a58-9d0e-2f5b7c9a1e11",
  SANDBOX_TOKEN_IDENTIFIER = "5a6d0f1e-0c7b-4b8e-9f5e-3d2c1b0a9f8e",
  SANDBOX_TOKEN_KEY = "7f4c2b9d8e1a6053c7d2f19b0a4e8c6d5b3f2a1908e7d6c5b4a39281706f5e4d",
  SANDBOX_TIER = "plugin",
} = process.env;
const [binary] = process.argv.slice(2);
const sandbox = binary && spawn(binary, ["sandbox", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
const SANDBOX_URL = sandbox ? await address(sandbox) : process.env.SANDBOX_URL;
if (!SANDBOX_URL) {
  console.error("usage: node node-sdk.mjs BINARY\nhint: or set SANDBOX_URL to the address that `crisp-sync sandbox` printed");
  process.exit(2);
}

/** The address of the page, which a sandbox prints once it listens. */
function address(started) {
  return new Promise((resolve, reject) => {
    const give_up = (why) => {
      started.kill("SIGKILL");
      reject(new Error(`the sandbox named no address: ${why}`));
    };
    const late = setTimeout(() => give_up("it took too long"), PATIENCE_MS);
    let output = "";
    started.once("error", give_up);
    started.once("exit", (code) => give_up(`it ended with ${code}`));
    started.stdout.on("data", (chunk) => {
      output += chunk;
      const found = output.match(/^page +(http:\/\/[^\s/]+)/m);
      if (!found) return;
      clearTimeout(late);
      started.removeAllListeners("exit");
      resolve(found[1]);
    });
  });
}

const site = SANDBOX_WEBSITE;
const client = new Crisp();
client.setRestHost(SANDBOX_URL);
client.authenticateTier(SANDBOX_TIER, SANDBOX_TOKEN_IDENTIFIER, SANDBOX_TOKEN_KEY);

let passed = 0;
let failed = 0;
async function check(name, work) {
  try {
    await work();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error?.message ?? JSON.stringify(error)}`);
  }
}

// Waits until `test` gives something; the patience is the limit, not the pace.
async function until(what, test) {
  const limit = Date.now() + PATIENCE_MS;
  for (;;) {
    const result = await test();
    if (result) return result;
    if (Date.now() > limit) throw new Error(`waited in vain: ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return `${error.code} ${error.message}`;
  }
  throw new Error("it was not refused");
}

async function control(method, path, body) {
  const answer = await fetch(`${SANDBOX_URL}/sandbox/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `control API: ${method} ${path} answered ${answer.status}`);
  return answer.json();
}

// A receiver for the webhooks.
const secret = randomBytes(16).toString("hex");
const received = [];
const receiver = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    received.push({ headers: request.headers, text: Buffer.concat(chunks).toString("utf8") });
    response.end();
  });
});
await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));
await control("PATCH", "settings", {
  webhook: { url: `http://127.0.0.1:${receiver.address().port}/`, secret },
});

const email = `ada+${randomBytes(4).toString("hex")}@example.org`;
let people;

await check("a contact that does not exist is `people_not_found`", async () => {
  assert.equal(await refusal(client.website.addPeopleEvent(site, email, { text: "user:signup" })), "404 people_not_found");
});
await check("create a profile", async () => {
  const created = await client.website.addNewPeopleProfile(site, { email, person: { nickname: "Ada" } });
  people = created.people_id;
  assert.match(people, /^[0-9a-f-]{36}$/);
});
await check("an address in use is a conflict", async () => {
  assert.match(await refusal(client.website.addNewPeopleProfile(site, { email, person: { nickname: "Ada" } })), /^409 /);
});
await check("the profile exists, by id and by address", async () => {
  await client.website.checkPeopleProfileExists(site, people);
  await client.website.checkPeopleProfileExists(site, email);
});
await check("patch a profile", async () => {
  await client.website.updatePeopleProfile(site, email, { segments: ["plan-pro"], company: { name: "Analytical Engines" } });
  const profile = await client.website.getPeopleProfile(site, people);
  assert.equal(profile.email, email);
  assert.equal(profile.person.nickname, "Ada");
  assert.deepEqual(profile.segments, ["plan-pro"]);
  assert.equal(profile.company.name, "Analytical Engines");
});
await check("patch data: it merges", async () => {
  await client.website.updatePeopleData(site, email, { data: { plan: "pro" } });
  await client.website.updatePeopleData(site, people, { data: { onboarded: true, seats: 3 } });
  const held = await client.website.getPeopleData(site, email);
  assert.deepEqual(held, { data: { plan: "pro", onboarded: true, seats: 3 } });
});
await check("data without its wrapper is refused", async () => {
  assert.equal(await refusal(client.website.updatePeopleData(site, email, { plan: "pro" })), "400 invalid_data");
});
await check("add and list events", async () => {
  await client.website.addPeopleEvent(site, email, { text: "user:signup", data: { plan: "pro" }, color: "green" });
  const events = await client.website.listPeopleEvents(site, email, 1);
  assert.equal(events.length, 1);
  assert.equal(events[0].text, "user:signup");
  assert.equal(events[0].color, "green");
  assert.deepEqual(events[0].data, { plan: "pro" });
  assert.ok(events[0].timestamp > 1e12, "milliseconds");
});

const { session_id: session } = await control("POST", "conversations", {
  email, nickname: "Ada Lovelace", verified: true, text: "Grüße & <b>50 €</b> / 🚀 \u2028 \"quoted\"",
});
await check("read metas", async () => {
  const metas = await client.website.getConversationMetas(site, session);
  assert.equal(metas.email, email);
  assert.equal(metas.nickname, "Ada Lovelace");
});
await check("patch metas", async () => {
  await client.website.updateConversationMetas(site, session, {
    data: { plan: "pro", share: 0.25, "10": 1, "9": 2, whole: 3.0 },
    segments: ["plan-pro", "éligible"],
  });
  const metas = await client.website.getConversationMetas(site, session);
  assert.deepEqual(metas.segments, ["plan-pro", "éligible"]);
  assert.equal(metas.data.plan, "pro");
});
await check("read a conversation and its verification", async () => {
  const conversation = await client.website.getConversation(site, session);
  assert.equal(conversation.is_verified, true);
  assert.equal(conversation.people_id, people);
  const verify = await client.website.getVerifyStatusForConversation(site, session);
  assert.equal(verify.verified, true);
});
await check("change a state", async () => {
  await client.website.changeConversationState(site, session, "resolved");
  assert.equal((await client.website.getConversationState(site, session)).state, "resolved");
});
await check("list conversations", async () => {
  const listed = await client.website.listConversations(site, 1);
  assert.ok(listed.some((conversation) => conversation.session_id === session));
});
await check("a foreign website is `not_subscribed`", async () => {
  assert.equal(await refusal(client.website.getWebsite("11111111-2222-4333-8444-555555555555")), "404 not_subscribed");
});

await check("verifyHook accepts every webhook, and none that was touched", async () => {
  const heard = [];
  client.setRtmMode("webhooks");
  client.on("message:send", (message) => heard.push(message));
  await until("the webhooks", async () => (await control("GET", "hooks")).idle && received.length > 0);
  const verify = ({ headers, text }) =>
    client.verifyHook(secret, JSON.parse(text), headers["x-crisp-request-timestamp"], headers["x-crisp-signature"]);
  // The SDK verifies nothing until it has bound its own loopback.
  await until("the SDK to be ready", () => verify(received[0]));
  const names = received.map(({ text }) => JSON.parse(text).event);
  for (const event of ["people:profile:created", "message:send", "session:set_email", "session:update_verify", "people:bind:session", "session:set_data", "session:set_segments", "session:set_state"]) {
    assert.ok(names.includes(event), `${event} came`);
  }
  for (const delivery of received) {
    assert.ok(verify(delivery), JSON.parse(delivery.text).event);
    assert.equal(JSON.stringify(JSON.parse(delivery.text)), delivery.text);
    assert.ok(!verify({ ...delivery, text: delivery.text.replace("website_id", "website_ix") }));
  }
  const message = received.find(({ text }) => JSON.parse(text).event === "message:send");
  client.receiveHook(JSON.parse(message.text));
  await until("the SDK to hand the message on", () => heard.length > 0);
  assert.equal(heard[0].session_id, session);
});

if (sandbox) {
  await check("the sandbox ends well when asked to", async () => {
    const ended = new Promise((resolve) => sandbox.once("exit", (code, signal) => resolve(code ?? signal)));
    sandbox.kill("SIGTERM");
    const late = setTimeout(() => sandbox.kill("SIGKILL"), PATIENCE_MS);
    assert.equal(await ended, 0);
    clearTimeout(late);
  });
}
receiver.closeAllConnections();
receiver.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
