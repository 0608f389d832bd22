// The inbox: draws what the sandbox knows and acts through its control API. No framework: `h` makes elements, `draw`
// replaces a region only when what it shows has changed, so focus and typing survive every update.

const $ = (id) => document.getElementById(id);
const drawn = new Map();
let world = { version: 0, now: Date.now(), conversations: [], contacts: [], hooks: [], behaviour: {} };
let skew = 0;
let people = null;
let selected = new URLSearchParams(location.search).get("conversation");
let lastPanel = null;

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") element.addEventListener("click", value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Redraws a region when `facts` differ from what it shows. The focused element is found again by its `data-key`.
function draw(region, facts, make) {
  const mark = JSON.stringify(facts);
  if (drawn.get(region) === mark) return false;
  drawn.set(region, mark);
  const focused = region.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  region.replaceChildren(...[make()].flat().filter(Boolean));
  if (focused) region.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  return true;
}

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.error ?? `the sandbox answered ${answer.status}`);
  return json;
}
const post = (path, body = {}) => call("POST", path, body);

function say(text) {
  $("live").textContent = text;
}

// Runs an act of a button or form: once at a time, and its failure is said. A disabled button would lose the focus.
async function act(control, work) {
  if (control?.ariaBusy === "true") return;
  if (control) control.ariaBusy = "true";
  lamp = null;
  try {
    await work();
  } catch (error) {
    say(`That did not work: ${error.message}`);
    lamp = error.message;
    drawLamps();
  } finally {
    if (control) control.ariaBusy = null;
  }
}

// Words for times.
const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
function ago(at) {
  const seconds = Math.max(0, Math.round((Date.now() + skew - at) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

const current = () => world.conversations.find((conversation) => conversation.session_id === selected);
const contactOf = (conversation) => world.contacts.find((contact) => contact.people_id === conversation?.people_id);
const personOf = (conversation) =>
  people?.find((person) => person.email.toLowerCase() === conversation?.email?.toLowerCase());
const nameOf = (conversation) =>
  conversation.nickname ?? contactOf(conversation)?.person ?? conversation.email ?? "Visitor";
const proven = (conversation) =>
  conversation.is_verified && conversation.verifications.some((proof) => proof.annotation === conversation.email);

// The left column.
function drawPeople() {
  draw($("people"), people, () =>
    (people ?? []).map((person) =>
      h("li", {},
        h("button", { "data-key": `person-${person.id}`, on: (event) => act(event.currentTarget, () => openAs(person.email, person.name)) },
          h("span", { class: "who" }, person.name),
          h("span", { class: "sum" }, person.summary)))));
  $("other").open ||= people !== null && people.length === 0;
  draw($("addresses"), people, () => (people ?? []).map((person) => h("option", { value: person.email }, person.name)));
}

function drawConversations() {
  const listed = [...world.conversations].sort((one, other) => other.updated_at - one.updated_at);
  const facts = listed.map((one) => [one.session_id, nameOf(one), one.email, one.origin, one.state, proven(one), one.messages.at(-1), one.session_id === selected]);
  draw($("conversations"), facts, () =>
    listed.length === 0
      ? h("li", { class: "none" }, "None yet.")
      : listed.map((one) =>
          h("li", {},
            h("button", { "data-key": one.session_id, "aria-current": one.session_id === selected ? "true" : false, on: () => select(one.session_id, true) },
              h("span", { class: "who" }, h("span", {}, nameOf(one)), h("small", {}, one.messages.length ? clock(one.messages.at(-1).at) : "")),
              h("span", { class: "sum" }, one.messages.at(-1)?.text ?? "No message yet"),
              h("span", { class: "tags" },
                h("span", {}, one.origin === "email" ? "by e-mail" : one.origin === "chat" ? "in the chat" : one.origin),
                one.email ? h("span", { class: `mark ${proven(one) ? "yes" : "no"}` }, proven(one) ? "verified" : "not verified") : h("span", {}, "no address"),
                one.state === "resolved" ? h("span", {}, "resolved") : null)))));
}

// The same person, channel and proof is the same visitor, who comes back to the same conversation.
async function openAs(email, nickname) {
  const channel = document.querySelector('input[name="channel"]:checked').value;
  const verified = document.querySelector('input[name="proof"]:checked').value === "proven";
  const known = world.conversations.find((one) =>
    one.email?.toLowerCase() === email.toLowerCase() && one.origin === channel && one.is_verified === verified);
  const opened = await post("/sandbox/conversations", {
    email, verified, channel,
    nickname: nickname || null,
    session_id: known?.session_id ?? null,
    text: known ? "Me again: is there any news?" : null,
  });
  await refresh();
  select(opened.session_id, true);
}

function select(session, travel) {
  selected = session;
  lastPanel = null;
  history.replaceState(null, "", `?conversation=${encodeURIComponent(session)}`);
  if (travel) show("talk");
  drawAll();
}

// The middle column.
function drawTalk() {
  const one = current();
  $("talk-empty").hidden = Boolean(one);
  $("talking").hidden = !one;
  if (!one) return;
  $("talk-title").textContent = nameOf(one);
  const proof = one.email ? (proven(one) ? "verified address" : "address not verified") : "no address";
  $("talk-about").textContent = `${one.origin === "email" ? "By e-mail" : "In the chat"} · ${proof} · ${one.state}`;
  $("resolve").textContent = one.state === "resolved" ? "Reopen" : "Resolve";
  if (draw($("messages"), one.messages, () =>
    one.messages.map((message) => h("li", {}, message.text, h("time", { datetime: new Date(message.at).toISOString() }, clock(message.at)))))) {
    $("messages").scrollTop = $("messages").scrollHeight;
  }
  const person = personOf(one);
  $("app-acts").hidden = !person;
  if (person) {
    $("app-about").textContent = `${person.name}: ${person.summary}`;
    draw($("app-buttons"), [person.id, person.actions], () =>
      person.actions.map((action) =>
        h("button", { "data-key": `action-${action.id}`, on: (event) => act(event.currentTarget, () => change(person, action)) }, action.label)));
  }
  drawEffects(one);
}

async function change(person, action) {
  const done = await post(`/demo/people/${encodeURIComponent(person.id)}/${encodeURIComponent(action.id)}`);
  say(`${person.name}: ${done.summary ?? "changed"}. Open the chat again to see it.`);
  await loadPeople();
}

// Calls and webhooks: the last opening in full, earlier ones as a sum.
function drawEffects(one) {
  const openings = one.openings;
  const latest = openings[0]?.calls ?? [];
  $("cost-count").textContent = openings.length ? `· ${latest.length} for this opening` : "";
  draw($("costs"), openings, () =>
    openings.map((opening, place) => {
      const who = opening.by === "agent" ? "Agent opened it" : "Visitor opened it";
      const rows = place === 0 ? opening.calls.map(callRow) : [];
      return h("div", { class: "cost" },
        h("div", { class: "cost-head" }, h("span", {}, `${who}, ${clock(opening.at)}`), h("b", {}, plural(opening.calls.length, "call"))),
        rows.length ? h("ul", {}, rows) : null,
        place === 0 && rows.length === 0 ? h("p", { class: "quiet" }, "No call was needed so far.") : null);
    }));
  const hooks = world.hooks
    .filter((hook) => hook.number > one.opening.hook_marker)
    .filter((hook) => hook.session === one.session_id || (hook.people && hook.people === one.people_id))
    .reverse();
  $("hooks-count").textContent = openings.length ? `· ${hooks.length} since this opening` : "";
  draw($("hooks"), hooks, () => (hooks.length ? hooks.map(hookRow) : h("li", { class: "quiet" }, "None.")));
}

function callRow(one) {
  const bad = one.status === null || one.status >= 400;
  return h("li", {},
    h("span", { class: "what", title: one.route }, `${one.method} ${one.name}`),
    h("span", { class: `status${bad ? " bad" : ""}` }, one.status === null ? "no answer" : String(one.status)));
}

function hookRow(hook) {
  const words = { queued: "waiting", sending: "sending", failed: "failed", lost: "given up", no_receiver: "no receiver", accepted: "" };
  const last = hook.attempts.at(-1);
  const bad = hook.state === "failed" || hook.state === "lost";
  const answer = last ? `${last.status ?? "no answer"}` : words[hook.state];
  return h("li", {},
    h("span", { class: "what" }, hook.event),
    hook.cause === "service" ? h("small", {}, "echo") : null,
    hook.attempts.length > 1 ? h("small", {}, `attempt ${hook.attempts.length}`) : null,
    last ? h("small", {}, `${last.duration_ms} ms`) : null,
    h("span", { class: `status${bad ? " bad" : last ? "" : " wait"}` }, answer));
}

// The right column: what an agent sees. `before` is what was there until the last opening.
function drawPanel() {
  const one = current();
  const contact = contactOf(one);
  const facts = one ? [one.session_id, nameOf(one), one.email, proven(one), one.data, one.segments, one.opening, one.data_authors, one.segment_authors, contact] : null;
  const changed = draw($("panel-body"), facts, () => {
    if (!one) return h("p", { class: "card quiet" }, "What an agent sees of the visitor shows up here.");
    const before = one.opening.before;
    const again = one.opening.count > 1 || before.events > 0 || before.contact.segments.length > 0 || Object.keys(before.contact.data).length > 0;
    return [personCard(one, contact), segmentCard(one, contact, before, again), sessionCard(one, before, again), timelineCard(contact, before, again), contactCard(contact, before, again)];
  });
  if (!changed || !one) return;
  const panel = JSON.stringify([one.session_id, one.data, one.segments, contact?.data, contact?.segments, contact?.events.length]);
  if (lastPanel !== null && lastPanel !== panel) {
    say(`The panel of ${nameOf(one)} changed: ${plural(one.segments.length, "segment")}, ${plural(contact?.events.length ?? 0, "event")}.`);
    if (document.body.dataset.view !== "panel") $("news").hidden = false;
  }
  lastPanel = panel;
}

function card(title, aside, ...children) {
  return h("section", { class: "card" }, h("h3", {}, title, aside ?? null), children);
}

function personCard(one, contact) {
  const name = nameOf(one);
  const company = contact?.company?.name;
  return h("div", { class: "card person" },
    h("div", { class: "face", "aria-hidden": "true" }, name.slice(0, 1).toUpperCase()),
    h("div", {},
      h("strong", {}, name),
      company ? h("p", { class: "quiet" }, company) : null,
      h("p", {}, one.email ?? "No address",
        one.email ? h("span", { class: `mark ${proven(one) ? "yes" : "no"}` }, proven(one) ? " ✓ Verified" : " ! Not verified") : null)));
}

function chips(labels, before, again) {
  const known = again ? before.segments : labels.segments;
  const shown = labels.segments.map((segment) => {
    const author = labels.segment_authors[segment] ?? "service";
    const kind = segment === "unverified" ? "unverified" : author;
    const note = author === "agent" ? "agent’s" : author === "visitor" ? "visitor’s" : null;
    const fresh = !known.includes(segment);
    return h("li", { class: `chip ${kind}${fresh ? " new" : ""}` }, segment, note ? h("small", {}, note) : null, fresh ? h("span", { class: "unseen" }, ", new") : null);
  });
  const gone = known.filter((segment) => !labels.segments.includes(segment))
    .map((segment) => h("li", { class: "chip gone" }, segment, h("span", { class: "unseen" }, ", gone since the last opening")));
  return shown.length + gone.length ? h("ul", { class: "chips" }, shown, gone) : h("p", { class: "quiet" }, "None.");
}

function segmentCard(one, contact, before, again) {
  return card("Segments", null,
    h("p", { class: "of" }, "Conversation"), chips(one, before.session, again),
    contact ? h("p", { class: "of" }, "Contact") : null, contact ? chips(contact, before.contact, again) : null);
}

// A value as Crisp's inbox shows it: Markdown escapes undone, a lone link clickable.
const linked = (value) => /^\[([^\]]*)\]\((https?:[^\s)]+)\)$/.exec(String(value));
const label = (value) => linked(value)?.[1] ?? String(value);
function shown(value) {
  const text = String(value);
  const link = linked(text);
  if (link) return h("a", { href: link[2], rel: "noreferrer", target: "_blank" }, plain(link[1]));
  return plain(text);
}
const plain = (text) => text.replace(/\\([\\`*_{}[\]()#+\-.!|>~])/g, "$1");
const empty = (value) => value === undefined || value === null || value === "";

function pairs(labels, before, again, hidden = []) {
  const rows = Object.entries(labels.data).filter(([key]) => !hidden.includes(key)).map(([key, value]) => {
    const was = before.data[key];
    const fresh = again && was !== value && !(empty(was) && empty(value));
    const author = labels.data_authors[key];
    const forged = author === "visitor";
    if (empty(value) && !fresh) return null;
    return h("div", { class: `${fresh ? "new" : ""}${forged ? " forged" : ""}` },
      h("dt", {}, key),
      h("dd", {}, fresh && !empty(was) && plain(label(was)) !== plain(label(value)) ? h("span", { class: "was" }, plain(label(was))) : null, empty(value) ? h("small", {}, "empty") : shown(value),
        author === "agent" ? h("small", {}, " agent’s") : forged ? h("small", {}, " visitor’s") : null));
  });
  const gone = again ? Object.keys(before.data).filter((key) => !(key in labels.data) && !hidden.includes(key))
    .map((key) => h("div", { class: "gone" }, h("dt", {}, key), h("dd", {}, shown(before.data[key])))) : [];
  const all = [...rows, ...gone].filter(Boolean);
  return all.length ? h("dl", { class: "pairs" }, all) : null;
}

function sessionCard(one, before, again) {
  const list = pairs(one, before.session, again, ["context_as_of"]);
  return card("Session data", h("small", {}, ageOf(one), list && ageOf(one) ? " · " : "", "the visitor can read this"),
    Object.values(one.data).every(empty) ? h("p", { class: "quiet" }, proven(one) ? "Nothing." : "Nothing: the visitor learns nothing.") : null,
    list);
}

// The moment in `context_as_of`, whichever of the usual spellings it has.
function moment(text) {
  if (empty(text)) return null;
  const at = typeof text === "number" ? text : Date.parse(String(text).replace(/ UTC$/, "Z").replace(/^(\d{4}-\d\d-\d\d) (\d)/, "$1T$2"));
  return Number.isNaN(at) ? null : at;
}

// How old the context is; in another colour when the app's database did not answer.
function ageOf(labels) {
  const text = labels.data.context_as_of;
  if (empty(text)) return null;
  const at = moment(text);
  if (at === null) return h("small", {}, `as of ${text}`);
  const state = labels.data.context_state;
  const stale = !empty(state) && state !== "fresh" ? state : "";
  return h("small", { class: stale ? "old" : "", "data-as-of": at, "data-state": stale }, ageText(at, stale));
}

function contactCard(contact, before, again) {
  if (!contact) return card("Contact data", null, h("p", { class: "quiet" }, "There is no contact."));
  return card("Contact data", ageOf(contact), pairs(contact, before.contact, again, ["context_as_of"]) ?? h("p", { class: "quiet" }, "Nothing."));
}
const ageText = (at, state) => `as of ${ago(at)}${state ? `, ${state}` : ""}`;

function timelineCard(contact, before, again) {
  const events = (contact?.events ?? []).map((event, place) => ({ ...event, fresh: again && place >= before.events }))
    .reverse().sort((one, other) => other.timestamp - one.timestamp);
  const rows = events.map((event) =>
    h("li", { class: `c-${event.color ?? "grey"}${event.fresh ? " new" : ""}` },
      h("div", { class: "head" },
        h("b", {}, event.text, h("span", { class: "unseen" }, `, ${event.color ?? "no colour"}${event.fresh ? ", new" : ""}`)),
        h("time", { datetime: new Date(event.timestamp).toISOString(), "data-ago": event.timestamp }, ago(event.timestamp))),
      detail(event)));
  return card("Events", h("small", {}, events.length ? plural(events.length, "event") : ""), rows.length ? h("ol", { class: "timeline" }, rows) : h("p", { class: "quiet" }, "None."));
}

function detail(event) {
  const { ref, occurred_at: occurred, ...rest } = event.data;
  const words = Object.entries(rest).map(([key, value]) => `${key} ${plain(String(value))}`);
  if (!empty(occurred)) words.unshift(`happened ${String(occurred).replace("T", " ").replace(/(:\d\d)(\.\d+)?Z$/, "$1 UTC")}`);
  return words.length ? h("p", {}, words.join(" · ")) : null;
}

// The top bar.
let lamp = null;
function drawLamps() {
  const waiting = world.hooks.filter((hook) => hook.state === "queued" || hook.state === "sending").length;
  const failed = world.hooks.filter((hook) => hook.state === "failed" || hook.state === "lost").length;
  const lamps = [
    world.receiver ? [waiting ? `${plural(waiting, "webhook")} waiting` : "webhooks delivered", ""] : ["no webhook receiver", "off"],
    failed ? [`${failed} failed`, "off"] : null,
    world.unexpected ? [`${plural(world.unexpected, "refused request")}`, "off"] : null,
    world.faults?.length ? [plural(world.faults.length, "fault") + " armed", "off"] : null,
    lamp ? [lamp, "off"] : null,
  ].filter(Boolean);
  draw($("lamps"), lamps, () => lamps.map(([text, kind]) => h("li", { class: kind }, text)));
}

// Phones show one part at a time.
function show(view) {
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll(".tabs button")) {
    if (tab.dataset.to === view) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
  if (view === "panel") $("news").hidden = true;
}

function drawAll() {
  if (selected && world.version && !current()) selected = null;
  drawPeople();
  drawConversations();
  drawTalk();
  drawPanel();
  drawLamps();
}

function take(state) {
  for (const contact of state.contacts) Object.assign(contact, { company: contact.card.company, person: contact.card.person?.nickname });
  world = state;
  skew = state.now - Date.now();
  drawAll();
}

async function refresh() {
  take(await call("GET", "/sandbox/state"));
}

async function loadPeople() {
  const answer = await fetch("/demo/people").catch(() => null);
  people = answer?.ok ? await answer.json() : [];
  drawAll();
}

// Follows the sandbox: each answer is the next state, or the same one after the wait.
async function follow() {
  for (;;) {
    try {
      const state = await call("GET", `/sandbox/state?after=${world.version}&wait=25000`);
      const known = world.version;
      lamp = null;
      if (state.version !== known) take(state);
      else drawLamps();
    } catch {
      lamp = "the sandbox does not answer";
      drawLamps();
      await new Promise((resume) => setTimeout(resume, 2000));
    }
  }
}

function wire() {
  for (const tab of document.querySelectorAll(".tabs button")) tab.addEventListener("click", () => show(tab.dataset.to));
  const on = (id, work) => $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    act(event.submitter, () => work(fields, event.target));
  });
  const here = (path, body) => post(`/sandbox/conversations/${encodeURIComponent(selected)}/${path}`, body);
  on("open-form", async (fields) => openAs(fields.email, fields.nickname));
  on("composer", async (fields, form) => {
    await post("/sandbox/conversations", { session_id: selected, text: fields.text || "Hello again." });
    form.reset();
  });
  on("agent-form", async (fields, form) => {
    const contact = contactOf(current());
    if (fields.kind === "segment") await here("labels", { by: "agent", segments: [fields.name] });
    else if (fields.kind === "session") await here("labels", { by: "agent", data: { [fields.name]: fields.value } });
    else if (contact) await post(`/sandbox/contacts/${encodeURIComponent(contact.people_id)}/labels`, { by: "agent", data: { [fields.name]: fields.value } });
    else throw new Error("there is no contact");
    say(`Added ${fields.name}.`);
    form.elements.name.select();
  });
  on("impostor-form", async (fields) => {
    await post("/sandbox/conversations", { session_id: selected, email: fields.email, verified: false, text: "What plan am I on, please?" });
    say(`The visitor now claims ${fields.email}.`);
  });
  $("forge").addEventListener("click", (event) => act(event.currentTarget, async () => {
    await here("labels", { by: "visitor", segments: ["plan-enterprise"], data: { plan: "enterprise" } });
    say("The visitor set plan-enterprise.");
  }));
  $("agent-opens").addEventListener("click", (event) => act(event.currentTarget, () => here("opened", {})));
  $("resolve").addEventListener("click", (event) => act(event.currentTarget, () =>
    here("state", { state: current()?.state === "resolved" ? "unresolved" : "resolved" })));
  const examples = { segment: ["vip", ""], session: ["callback", "Tuesday 10:00"], contact: ["notes", "prefers e-mail"] };
  $("agent-kind").addEventListener("change", (event) => {
    const [name, value] = examples[event.target.value];
    $("agent-name").value = name;
    $("agent-value").value = value;
    $("agent-value").hidden = event.target.value === "segment";
  });
  setInterval(() => {
    for (const element of document.querySelectorAll("[data-as-of]")) element.textContent = ageText(Number(element.dataset.asOf), element.dataset.state);
    for (const element of document.querySelectorAll("[data-ago]")) element.textContent = ago(Number(element.dataset.ago));
  }, 1000);
}

wire();
await refresh().catch(() => {});
loadPeople();
follow();
