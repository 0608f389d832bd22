// The demo as a person sees it: start the binary, open its page in Chromium, act, and read what the agent reads.
//
//   npm ci && node demo.mjs ../../target/release/crisp-sync [--picture FILE] [--pictures FOLDER]
//
// `--picture` keeps the filled inbox; `--pictures` keeps every state, on a desk and on a phone, light and dark. It waits
// for what should appear, never for time, and ends what it started. `CHROMIUM` names another browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const PATIENCE_MS = 30_000;
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { picture: { type: "string" }, pictures: { type: "string" } },
});
const [binary] = positionals;
assert(binary, "usage: node demo.mjs BINARY [--picture FILE] [--pictures FOLDER]");

/** Starts the demo and resolves with the address it prints. */
function startDemo(folder) {
  const demo = spawn(binary, ["demo"], {
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let data = "";
  const address = new Promise((resolve, reject) => {
    const giveUp = setTimeout(() => reject(new Error(`the demo named no address:\n${output}`)), PATIENCE_MS);
    const settle = (done, value) => {
      clearTimeout(giveUp);
      done(value);
    };
    demo.stdout.on("data", (chunk) => {
      output += chunk;
      data += chunk;
      if (data.endsWith("\n")) settle(resolve, data.trim());
    });
    demo.stderr.on("data", (chunk) => (output += chunk));
    demo.once("error", (error) => settle(reject, error));
    demo.once("exit", (code) => settle(reject, new Error(`the demo ended with ${code}:\n${output}`)));
  });
  return { demo, address, output: () => output };
}

/** Asks the demo to stop and resolves with its exit code; kills it if it does not. */
async function stop(demo) {
  if (demo.exitCode !== null || demo.signalCode !== null) return demo.exitCode;
  const ended = new Promise((resolve) => demo.once("exit", (code) => resolve(code)));
  demo.kill("SIGTERM");
  const lastWord = setTimeout(() => demo.kill("SIGKILL"), PATIENCE_MS);
  const code = await ended;
  clearTimeout(lastWord);
  return code;
}

// What a person does.

async function choose(page, { channel = "Chat", proof = "Proven" }) {
  await page.locator(".switch label", { hasText: new RegExp(`^${channel}$`) }).click();
  await page.locator(".switch label", { hasText: new RegExp(`^${proof}$`) }).click();
}

/** Opens a chat as a person and waits until it is on the screen. */
async function openAs(page, name, how = {}) {
  await choose(page, how);
  await page.locator("#people button", { hasText: name }).click();
  await page.locator("#talk-title", { hasText: name }).waitFor();
}

const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

/** Something happens in the app; the page says so. */
async function inTheApp(page, label, summary) {
  await page.locator("#app-buttons button", { hasText: label }).click();
  await page.locator("#app-about", { hasText: summary }).waitFor();
}

async function agentAdds(page, kind, name, value) {
  await page.selectOption("#agent-kind", kind);
  await page.fill("#agent-name", name);
  if (value) await page.fill("#agent-value", value);
  await press(page, "Add");
}

// What a person reads.

const card = (page, title) => page.locator(".card", { has: page.locator("h3", { hasText: title }) });

/** The panel as text: chips without those struck through, pairs, events with their colours. */
function panel(page) {
  return page.evaluate(() => {
    const own = (element) => element.firstChild?.textContent ?? "";
    const lists = [...document.querySelectorAll("#panel .chips, #panel .of + .quiet")];
    const chips = (list) => [...(list?.querySelectorAll(".chip:not(.gone)") ?? [])].map(own).sort();
    const pairs = (title) => {
      const card = [...document.querySelectorAll("#panel .card")].find((one) => own(one.querySelector("h3") ?? one) === title);
      return Object.fromEntries([...(card?.querySelectorAll(".pairs > div:not(.gone)") ?? [])]
        .map((row) => [row.querySelector("dt").textContent, [...row.querySelector("dd").childNodes].filter((node) => !node.classList?.contains("was") && node.nodeName !== "SMALL").map((node) => node.textContent).join("")])
        .filter(([, value]) => value));
    };
    return {
      segments: chips(lists[0]),
      contactSegments: chips(lists[1]),
      gone: [...document.querySelectorAll("#panel .chip.gone")].map(own),
      session: pairs("Session data"),
      contact: pairs("Contact data"),
      // As a person reads a history: the newest is on top, so this is oldest first.
      events: [...document.querySelectorAll("#panel .timeline li")].reverse()
        .map((row) => `${own(row.querySelector("b"))} ${/c-(\w+)/.exec(row.className)[1]}`),
    };
  });
}

/** Waits until the panel is as `test` wants it. */
async function panelShows(page, what, test) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const now = await panel(page);
    if (test(now)) return now;
    if (Date.now() > deadline) throw new Error(`the panel does not show ${what}: ${JSON.stringify(now)}`);
    await page.waitForFunction((before) => document.getElementById("panel").innerText !== before, await page.locator("#panel").innerText(), { timeout: 1000 }).catch(() => {});
  }
}

/** Waits until the last opening is shown with so many calls. */
const cost = (page, calls) => page.locator("#cost-count", { hasText: `· ${calls} for this opening` }).waitFor();

const has = (...segments) => (now) => segments.every((segment) => now.segments.includes(segment));

// What must hold in every state.

/** Nothing sticks out of the window, and nothing is cut off that is not meant to be. */
async function fits(page, what) {
  const faults = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const found = [];
    if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
    for (const element of document.querySelectorAll("body *")) {
      const box = element.getBoundingClientRect();
      if (!box.width || !element.checkVisibility() || element.closest(".unseen, .skip")) continue;
      const name = `${element.tagName.toLowerCase()}.${element.className} "${element.textContent.trim().slice(0, 30)}"`;
      if (box.right > width + 1 || box.left < -1) found.push(`sticks out: ${name}`);
      const style = getComputedStyle(element);
      if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth && style.display !== "inline" && style.overflowX !== "visible" && style.textOverflow !== "ellipsis" && !["INPUT", "SELECT"].includes(element.tagName)) found.push(`is cut off: ${name}`);
    }
    return found;
  });
  assert.deepEqual(faults, [], `the page does not fit: ${what}`);
}

/** Text has the contrast that WCAG's AA asks for. */
async function contrasts(page, what) {
  const faults = await page.evaluate(() => {
    const parse = (text) => {
      const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
      return { r, g, b, a };
    };
    const over = (top, ground) => ({ r: top.r * top.a + ground.r * (1 - top.a), g: top.g * top.a + ground.g * (1 - top.a), b: top.b * top.a + ground.b * (1 - top.a), a: 1 });
    const light = ({ r, g, b }) => [r, g, b].map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const ground = (element) => {
      const layers = [];
      for (let one = element; one; one = one.parentElement) layers.unshift(parse(getComputedStyle(one).backgroundColor));
      return layers.reduce((below, layer) => over(layer, below), { r: 255, g: 255, b: 255, a: 1 });
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
      if (!says || !element.checkVisibility() || element.closest(".unseen, option, datalist")) continue;
      const below = ground(element);
      const text = over(parse(getComputedStyle(element).color), below);
      const [one, other] = [light(text), light(below)].sort((a, b) => b - a);
      const ratio = (one + 0.05) / (other + 0.05);
      if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${element.className || element.tagName} "${element.textContent.trim().slice(0, 30)}"`);
    }
    return found;
  });
  assert.deepEqual(faults, [], `too little contrast: ${what}`);
}

/** Looks at a state in every size and scheme. */
async function look(page, name) {
  const view = await page.evaluate(() => document.body.dataset.view);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const [size, viewport] of [["desk", DESK], ["phone", PHONE]]) {
      await page.setViewportSize(viewport);
      for (const part of size === "phone" ? ["chats", "talk", "panel"] : [null]) {
        if (part) await page.locator(`.tabs button[data-to="${part}"]`).click();
        const what = [name, size, part, colorScheme].filter(Boolean).join("-");
        await fits(page, what);
        await contrasts(page, what);
        if (options.pictures) await page.screenshot({ path: join(options.pictures, `${what}.png`) });
      }
      if (size === "phone") await page.locator(`.tabs button[data-to="${view}"]`).click();
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await page.setViewportSize(DESK);
}

const stories = {
  async "an empty inbox says what to do"(page) {
    await page.getByText("No conversation is open.").waitFor();
    await page.locator("#people button").nth(11).waitFor();
    await look(page, "empty");
  },

  async "a proven address fills the panel, and looking again costs nothing"(page) {
    await openAs(page, "Maren Vogt");
    const now = await panelShows(page, "the trial", (now) => has("plan-pro", "status-trialing", "trial")(now) && now.contact.last_import === undefined && now.contactSegments.length === 3);
    assert.deepEqual([now.session.plan, now.session.trial_days_left, now.contact.tenant], ["pro", "2", "Nordkai Freight"]);
    await card(page, "Contact data").getByText(/as of \d+ s ago/).waitFor();
    await page.locator(".person .mark", { hasText: "Verified" }).waitFor();
    await cost(page, 5);
    await look(page, "first");
    await page.fill("#say", "Anybody there?");
    await press(page, "Send");
    await page.locator("#messages li", { hasText: "Anybody there?" }).waitFor();
    await cost(page, 0);
    await page.getByText("No call was needed so far.").waitFor();
  },

  async "what an agent adds stays, and stale segments go"(page) {
    await agentAdds(page, "segment", "vip");
    await agentAdds(page, "session", "callback", "Tuesday 10:00");
    await agentAdds(page, "contact", "notes", "prefers e-mail");
    await panelShows(page, "the agent's own", (now) => now.segments.includes("vip") && now.session.callback && now.contact.notes);
    await inTheApp(page, "Buys the next plan", "pro monthly");
    await inTheApp(page, "Finishes onboarding", "Nordkai Freight · pro monthly");
    await inTheApp(page, "Finishes an import", "just finished an import");
    await press(page, "Open as the agent");
    const now = await panelShows(page, "three events", (now) => now.events.length === 3);
    assert.deepEqual(now.segments, ["onboarded", "plan-pro", "status-active", "vip"]);
    assert.deepEqual(now.contactSegments, ["onboarded", "plan-pro", "status-active"]);
    assert.deepEqual([...new Set(now.gone)].sort(), ["status-trialing", "trial"]);
    assert.deepEqual([now.session.callback, now.contact.notes], ["Tuesday 10:00", "prefers e-mail"]);
    assert.deepEqual([...now.events].sort(), ["user:import:completed green", "user:onboarding:completed green", "user:subscription:started green"]);
    await cost(page, 8);
    await look(page, "changed");
  },

  async "a cancellation and the end are told once, in their colours"(page) {
    await inTheApp(page, "Cancels", "canceled");
    await press(page, "Open as the agent");
    await panelShows(page, "the cancellation", (now) => now.events.at(-1) === "user:subscription:canceled orange");
    if (options.picture) await page.screenshot({ path: options.picture });
    await inTheApp(page, "The paid period ends", "left");
    await press(page, "Open as the agent");
    const before = await panelShows(page, "the end", (now) => now.events.at(-1) === "user:subscription:churned red");
    assert.deepEqual(before.segments, ["onboarded", "status-ended", "vip"]);
    await cost(page, 6);
    await look(page, "ended");
    await press(page, "Open as the agent");
    await cost(page, 0);
    assert.deepEqual((await panel(page)).events, before.events, "nothing came twice");
  },

  async "without proof the agent is helped and the visitor learns nothing"(page) {
    await openAs(page, "Ingrid Solheim", { proof: "Unproven" });
    const now = await panelShows(page, "the contact", (now) => has("plan-enterprise")(now) && now.contact.plan === "enterprise");
    assert.deepEqual(now.session, {});
    await page.getByText("Nothing: the visitor learns nothing.").waitFor();
    await panelShows(page, "the mark", has("unverified"));
    await look(page, "unproven");
  },

  async "by e-mail only the contact is written"(page) {
    await openAs(page, "Jonas Weber", { channel: "E-mail" });
    const now = await panelShows(page, "the contact", (now) => now.contactSegments.includes("plan-enterprise"));
    assert.deepEqual([now.segments, now.session, now.contact.role], [[], {}, "member"]);
    await cost(page, 4);
    await look(page, "email");
  },

  async "an impostor learns nothing, and a forged segment goes"(page) {
    await openAs(page, "Samuel Okafor");
    await panelShows(page, "their own plan", (now) => now.session.plan === "starter" && now.events.length === 1);
    await page.fill("#claim", "tomas@tejo-shipping.example");
    await press(page, "Claim it");
    const claimed = await panelShows(page, "whom they claim to be", (now) => now.contact.tenant === "Tejo Shipping" && has("plan-pro")(now));
    assert.deepEqual(claimed.session, {});
    await press(page, "Forge plan-enterprise");
    await page.locator("#hooks li", { hasText: "session:set_segments" }).first().waitFor();
    const now = await panelShows(page, "the truth", (now) => has("plan-pro", "unverified")(now) && !has("plan-enterprise")(now) && !now.session.plan);
    assert.deepEqual([now.session, now.contact.plan], [{}, "pro"]);
    await look(page, "impostor");
  },

  async "several accounts, no consent, staff"(page) {
    await openAs(page, "Claire Dubois");
    const claire = await panelShows(page, "the mark", has("several-accounts"));
    assert.equal(claire.session.tenant, "Dubois Transit");
    for (const name of ["Henrik Lund", "Priya Raman"]) {
      await openAs(page, name);
      await panelShows(page, "the context", (now) => now.segments.includes("onboarded") && now.contactSegments.includes("onboarded"));
      await inTheApp(page, "Finishes an import", name === "Henrik Lund" ? "just finished an import" : "staff");
      await press(page, "Open as the agent");
      const now = await panelShows(page, "the import", (now) => now.contact.last_import?.startsWith("brokers.csv"));
      assert.deepEqual(now.events, []);
    }
  },

  async "a stranger gets nothing until they sign up"(page) {
    await openAs(page, "Robin Ashe");
    await cost(page, 1);
    await look(page, "stranger");
    await inTheApp(page, "Signs up", "trial of pro monthly");
    await press(page, "Open as the agent");
    await panelShows(page, "the sign-up", (now) => now.events[0] === "user:signup green" && has("trial")(now));
    await page.locator("#other summary").click();
    await page.fill('#open-form [name="email"]', "nobody@elsewhere.example");
    await press(page, "Open the chat");
    await page.locator("#talk-title", { hasText: "nobody@elsewhere.example" }).or(page.locator("#talk-title", { hasText: "nobody" })).first().waitFor();
    await cost(page, 1);
  },

  async "the keyboard is enough"(page) {
    await page.reload();
    await page.locator("#people button").first().waitFor();
    const focused = () => page.evaluate(() => {
      const element = document.activeElement;
      return { name: element.innerText || element.value || element.tagName, outline: getComputedStyle(element).outlineStyle, top: element.getBoundingClientRect().top };
    });
    await page.keyboard.press("Tab");
    const skip = await focused();
    assert.match(skip.name, /Skip to the conversation/);
    assert(skip.top >= 0, "the way past the list is shown when it has the focus");
    for (let steps = 0; !(await focused()).name.includes("Aiko Tanaka"); steps += 1) {
      assert(steps < 40, "the tabulator reaches every person");
      await page.keyboard.press("Tab");
      const at = await focused();
      if (at.name !== "chat" && at.name !== "proven") assert.notEqual(at.outline, "none", `the focus is visible on ${at.name}`);
    }
    await page.keyboard.press("Enter");
    await panelShows(page, "the sign-up", (now) => now.events[0] === "user:signup green");
    assert.match((await focused()).name, /Aiko Tanaka/, "the focus stays where it was");
    const about = page.locator("#app-buttons button", { hasText: "Finishes an import" });
    await about.focus();
    await page.keyboard.press("Space");
    await page.locator("#app-about", { hasText: "just finished an import" }).waitFor();
    assert.match((await focused()).name, /Finishes an import/, "the focus stays on a button that is drawn anew");
    await page.locator("#agent-opens").focus();
    await page.keyboard.press("Enter");
    await panelShows(page, "the import", (now) => now.events.at(-1) === "user:import:completed green");
  },

  async "every webhook arrived, and no request was refused"(page) {
    await page.waitForFunction(async () => {
      const state = await (await fetch("/sandbox/state")).json();
      return state.hooks.every((hook) => hook.state === "accepted") && state.unexpected === 0;
    });
    await page.locator("#lamps .off").waitFor({ state: "detached" });
  },

  async "a phone shows one part at a time"(page) {
    await page.setViewportSize(PHONE);
    await page.locator('.tabs button[data-to="chats"]').click();
    await openAs(page, "Kofi Mensah");
    assert.equal(await page.locator("#panel").isVisible(), false);
    await page.locator("#news").waitFor();
    await page.locator('.tabs button[data-to="panel"]').click();
    await panelShows(page, "the overdue payment", has("status-past_due"));
    assert.equal(await page.locator("#news").isVisible(), false);
    await page.setViewportSize(DESK);
  },
};

const folder = await mkdtemp(join(tmpdir(), "crisp-sync-browser-"));
if (options.pictures) await mkdir(options.pictures, { recursive: true });
const { demo, address, output } = startDemo(folder);
let browser;
let failed = 0;
let passed = 0;
try {
  const url = await address;
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/$/, "standard output holds the address alone");
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage({ viewport: DESK, deviceScaleFactor: 1, reducedMotion: "reduce", colorScheme: "light" });
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) faults.push(`the page asked ${request.url()}`);
  });
  page.on("response", (response) => response.status() >= 400 && faults.push(`${response.status()} ${response.url()}`));
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
      console.log(`the page reads:\n${await page.innerText("body").catch(() => "nothing")}`);
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
