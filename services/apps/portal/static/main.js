// Puts the portal together: the sign-in, and the panels of one application.

import { choose, leave } from "./answers.js";
import { begin, Failed, get } from "./api.js";
import { colours } from "./colours.js";
import { h, notice } from "./dom.js";
import { clientId, clientOf, credential, forget, fromAddress, grant, held, mayManage, signIn, signOut }
  from "./session.js";
import { application } from "./views/app.js";
import { code } from "./views/code.js";
import { receipts } from "./views/receipts.js";
import { secrets } from "./views/secrets.js";
import { endpoints } from "./webhooks/endpoints.js";

const NO_ENDPOINTS = { approved: "The tenant has not granted webhooks:manage, so the application has no endpoints.",
  pending: "An application has endpoints as soon as the tenant has approved it.",
  suspended: "Its endpoints are kept. What is queued for them waits until the tenant approves the application again." };
const REFRESH_MS = 5_000, FIGURES_MS = 60_000;
const main = document.getElementById("main"), live = document.getElementById("live");
const out = document.getElementById("leave");
let running = new AbortController(), number = 0, addresses = {};

function tell(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

function end() {
  running.abort();
  running = new AbortController();
  choose(null);
  leave();
  tell("waiting", "");
}

function askForToken(why = "") {
  end();
  out.hidden = true;
  const input = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const said = h("p", { class: "failed", role: "alert" }, why);
  main.replaceChildren(h("section", { id: "sign-in", class: "panel", "aria-labelledby": "sign-in-title" },
    h("h2", { id: "sign-in-title" }, "Sign in with your application"),
    h("p", {}, "The registration token was shown once, with the client secret, when the application was registered. "
      + "It stays in this tab until the tab is closed."),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      const wrong = signIn(input.value);
      if (wrong) said.textContent = `${wrong}.`;
      else show();
    } }, h("label", {}, "Registration token", input), said,
    h("div", { class: "tools" }, h("button", { type: "submit", class: "main" }, "Sign in")))));
  input.focus();
}

const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "");

async function show() {
  end();
  if (!held()) return askForToken();
  const { signal } = running, id = clientId();
  number += 1;
  const filter = { key: `${id}|${number}`, signal, options: { signal } };
  out.hidden = false;
  main.replaceChildren(h("p", { class: "note waiting" }, "Loading …"));
  let app, words;
  try {
    [app, { items: words }] = await Promise.all([get("apps", `/register/${id}`, {}, filter.options),
      get("apps", "/v1/apps/scopes", {}, filter.options)]);
  } catch (error) {
    if (signal.aborted || !(error instanceof Failed)) return null;
    if (error.status === 401 || error.status === 404) signOut();
    if (!held()) return askForToken(sentence(error.message));
    main.replaceChildren(notice("The service cannot be asked", sentence(error.message),
      h("button", { type: "button", onclick: show }, "Try again")));
    return null;
  }
  const panels = { application: application(words), secrets: secrets(), endpoints: endpoints("yours"),
    receipts: receipts(() => panels.endpoints.load(filter).catch(failed)), code: code(addresses) };
  const waits = notice("Webhook endpoints", ""), hooks = h("div", { class: "pair" }, panels.endpoints.panels);
  waits.id = "no-endpoints";
  main.replaceChildren(panels.application.element, panels.application.tiles, panels.secrets.element, waits,
    hooks, panels.receipts.element, panels.code.element);
  choose(filter);

  async function load(again) {
    if (again) app = await get("apps", `/register/${id}`, {}, filter.options);
    if (signal.aborted) return;
    grant(app.state === "approved" ? app.granted : []);
    panels.application.show(filter, app);
    panels.secrets.show(filter, app, () => load(true).catch(failed));
    panels.code.show(app);
    waits.hidden = mayManage();
    waits.querySelector("p").textContent = NO_ENDPOINTS[app.state];
    hooks.hidden = !mayManage();
    if (mayManage()) await panels.endpoints.load(filter);
    // Nobody has agreed to one that was never approved.
    panels.receipts.element.hidden = app.state === "pending";
    if (app.state !== "pending") await panels.receipts.load(filter);
    panels.application.used(panels.endpoints.count());
    tell("live", "Up to date");
  }
  const failed = (error) => {
    if (signal.aborted) return;
    if (!(error instanceof Failed)) throw error;
    tell("cut", `Not up to date: ${error.message}`);
  };
  const repeat = (act, ms) => {
    const timer = setInterval(() => document.hidden || act(), ms);
    signal.addEventListener("abort", () => clearInterval(timer));
  };
  await load(false).catch(failed);
  panels.application.count();
  repeat(() => load(true).catch(failed), REFRESH_MS);
  repeat(panels.application.count, FIGURES_MS);
  return null;
}

colours(document.getElementById("theme"));
out.addEventListener("click", () => {
  signOut();
  askForToken();
});
addEventListener("hashchange", () => {
  if (new URLSearchParams(location.hash.slice(1)).has("key")) start();
});

// Whoever follows a link is not signed out of another application without being asked.
function askWhich(other) {
  end();
  out.hidden = true;
  const decide = (act) => () => {
    act();
    show();
  };
  main.replaceChildren(notice("You are signed in with another application", `This tab is signed in with ${clientId()}. `
    + `The link that you have followed is for ${clientOf(other)}.`,
  h("button", { type: "button", class: "main", onclick: decide(() => {}) }, `Stay with ${clientId()}`),
  h("button", { type: "button", onclick: decide(() => signIn(other)) }, `Sign in with ${clientOf(other)}`)));
  main.querySelector("button").focus();
}

function start() {
  const given = fromAddress();
  if (given === null) return show();
  if (held() && clientOf(given) && clientOf(given) !== clientId()) return askWhich(given);
  const wrong = signIn(given);
  return wrong ? askForToken(`${wrong}.`) : show();
}

for (;;) {
  try {
    addresses = await begin({ home: "apps", credential, patient: true, refused: (detail, shown, service) => {
      if (service !== "apps") {
        forget();
        return true;
      }
      if (shown === held()) {
        signOut();
        askForToken(sentence(detail));
      }
      return false;
    } });
    break;
  } catch (error) {
    main.replaceChildren(notice("The service cannot be asked", `${sentence(error.message)} Trying again …`));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}
start();
