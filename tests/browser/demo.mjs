// The demo as a person sees it: start the binary, open its page in Chromium, act, and read what the agent reads.
//
//   node tests/browser/demo.mjs target/release/crisp-sync [--picture docs/inbox.png]
//
// It waits for what should appear, never for time, and ends what it started.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE_MS = 30_000;
const [binary, ...options] = process.argv.slice(2);
assert(binary, "usage: node demo.mjs BINARY [--picture FILE]");
const picture = options[0] === "--picture" ? options[1] : undefined;

/** Starts the demo and resolves with the address it prints. */
function startDemo(folder) {
  const demo = spawn(binary, ["demo", "--port", "0", "--no-open"], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const address = new Promise((resolve, reject) => {
    const give_up = setTimeout(() => reject(new Error(`the demo named no address:\n${output}`)), PATIENCE_MS);
    const read = (chunk) => {
      output += chunk;
      const found = output.match(/https?:\/\/(?:127\.0\.0\.1|localhost):\d+\/?/);
      if (found) {
        clearTimeout(give_up);
        resolve(found[0]);
      }
    };
    demo.stdout.on("data", read);
    demo.stderr.on("data", read);
    demo.once("error", reject);
    demo.once("exit", (code) => reject(new Error(`the demo ended with ${code}:\n${output}`)));
  });
  return { demo, address, output: () => output };
}

/** Asks the demo to stop and resolves with its exit code; kills it if it does not. */
async function stop(demo) {
  if (demo.exitCode !== null || demo.signalCode !== null) return demo.exitCode;
  const ended = new Promise((resolve) => demo.once("exit", (code) => resolve(code)));
  demo.kill("SIGTERM");
  const last_word = setTimeout(() => demo.kill("SIGKILL"), PATIENCE_MS);
  const code = await ended;
  clearTimeout(last_word);
  return code;
}

/** Chooses a person in the list and waits until the page shows `texts`. */
async function open(page, name, ...texts) {
  await page.getByText(name, { exact: false }).first().click();
  await shows(page, ...texts);
}

async function shows(page, ...texts) {
  for (const text of texts) {
    await page.getByText(text, { exact: false }).first().waitFor({ state: "visible" });
  }
}

async function press(page, label) {
  await page.getByRole("button", { name: label }).first().click();
}

const stories = {
  async "an agent opens a chat and sees plan, status and trial"(page) {
    await open(page, "Maren Vogt", "plan-pro", "status-trialing", "trial", "Nordkai Freight");
    if (picture) await page.screenshot({ path: picture });
  },
  async "what happens in the app reaches the chat and the timeline"(page) {
    await press(page, "Buys the next plan");
    await shows(page, "status-active", "user:subscription:started");
    await press(page, "Finishes onboarding");
    await shows(page, "onboarded", "user:onboarding:completed");
  },
  async "a cancellation is told once"(page) {
    await open(page, "Tomás Ribeiro", "plan-pro", "status-active");
    await press(page, "Cancels");
    await shows(page, "status-canceled", "user:subscription:canceled");
    assert.equal(await page.getByText("user:subscription:canceled").count(), 1);
  },
  async "a stranger gets nothing, until they sign up"(page) {
    await open(page, "Robin Ashe");
    await press(page, "Signs up");
    await shows(page, "user:signup", "status-trialing");
  },
};

const folder = await mkdtemp(join(tmpdir(), "crisp-sync-demo-"));
const { demo, address, output } = startDemo(folder);
let browser;
let failed = 0;
let passed = 0;
try {
  const url = await address;
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 });
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) faults.push(`the page asked ${request.url()}`);
  });
  await page.goto(url);
  for (const [story, run] of Object.entries(stories)) {
    const begun = performance.now();
    try {
      await run(page);
      assert.deepEqual(faults, [], "the page has faults");
      passed += 1;
      console.log(`ok      ${story} (${Math.round(performance.now() - begun)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${story}\n${error.stack}`);
      console.log(`the page reads:\n${await page.innerText("body")}`);
      break;
    }
  }
} catch (error) {
  failed += 1;
  console.log(`FAILED  ${error.stack}`);
} finally {
  await browser?.close();
  const code = await stop(demo);
  if (code !== 0) {
    failed += 1;
    console.log(`FAILED  the demo ended with ${code} when asked to stop`);
  }
  if (failed) console.log(`the demo wrote:\n${output()}`);
  await rm(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
