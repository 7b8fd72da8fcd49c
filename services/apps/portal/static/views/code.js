// Code to copy: with the addresses of this installation, and the id of the application. Secrets come from the
// environment of whoever runs it.

import { choice, copier, h, panel } from "../dom.js";

const LANGUAGES = { sh: "curl", py: "Python", mjs: "JavaScript" };
const TASKS = { call: "Get a token, call an API", receive: "Verify a webhook" };
const SAID = {
  call: { sh: "Run it by sh.", py: "Run it by python call.py.", mjs: "Run it by node call.mjs." },
  receive: { sh: "Run it by sh, beside a delivery that you have kept.",
    py: "Run it by python receive.py: it listens on port 8000, or PORT. The libraries standardwebhooks and svix verify, too.",
    mjs: "Run it by node receive.mjs: it listens on port 8000, or PORT. The libraries standardwebhooks and svix verify, too." },
};

export function code(addresses) {
  let app = null, language = "py", task = "call", consumer = "ada", latest = 0;
  const files = new Map();
  const { element, body, tools } = panel("code", "Code to copy", "");
  const source = h("pre", { class: "source", tabindex: 0, role: "region", "aria-label": "The code" });
  const note = h("p", { class: "note" }), copy = copier(() => source.textContent, source, "Copy the code");
  const whom = h("input", { id: "whom", size: 14, autocomplete: "off", value: consumer, oninput: () => {
    consumer = whom.value.trim() || "ada";
    draw();
  } });
  const asked = h("label", {}, "Consumer to ask about ", whom);
  tools.append(choice("Task", TASKS, task, (value) => {
    task = value;
    draw();
  }), choice("Language", LANGUAGES, language, (value) => {
    language = value;
    draw();
  }));
  body.append(h("div", { class: "tools" }, note, asked, copy), source);

  // What the granted scopes let it ask.
  function question() {
    const may = (scope) => (app.granted.length ? app.granted : app.scope.split(" ")).includes(scope);
    const id = encodeURIComponent(consumer).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
    asked.hidden = task !== "call" || !(may("relations:read") || may("consumers:read"));
    if (may("relations:read")) return `${addresses.relations}/v1/relations?consumer_id=${id}`;
    if (may("consumers:read")) return `${addresses.relations}/v1/consumers/${id}`;
    return `${addresses.webhooks}/v1/webhooks/endpoints`;
  }

  async function draw() {
    const mine = (latest += 1), name = `${task}.${language}`;
    const known = { client_id: app.client_id, apps: addresses.apps, question: question() };
    if (!files.has(name)) {
      const answer = await fetch(`code/${name}`);
      if (!answer.ok) throw new Error(`code/${name}: ${answer.status}`);
      files.set(name, await answer.text());
    }
    if (mine !== latest) return;
    const text = files.get(name).replace(/\{\{(\w+)\}\}/g, (_, word) => known[word]);
    if (source.textContent !== text) source.textContent = text;
    note.textContent = SAID[task][language];
  }

  return { element, show(found) {
    app = found;
    draw();
  } };
}
