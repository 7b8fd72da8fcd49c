// Puts the page together: who asks, the filter, the view that is chosen, the stream of figures.

import { choose, leave } from "./answers.js";
import { begin, get } from "./api.js";
import { callerOf } from "./caller.js";
import { colours } from "./colours.js";
import { h, notice, within } from "./dom.js";
import { address, cut, dated, DAY_MS, days, form, query, readAddress } from "./filter.js";
import { askForKey, fromAddress, key } from "./key.js";
import { forgetNames } from "./names.js";
import { stream } from "./stream.js";
import { offered, VIEWS } from "./views.js";

const main = document.getElementById("main"), live = document.getElementById("live");
const nav = document.querySelector("nav"), whoIsIt = document.getElementById("who");
const note = document.getElementById("cut");
let state = readAddress(), search = location.search, running = new AbortController(), shown = null;
let caller = null, number = 0, lock = false, suggested = null;

function tell(name, text) {
  if (live.dataset.state === name && live.textContent === text) return;
  live.dataset.state = name;
  live.textContent = text;
}

// Instead of a view. What was shown belonged to something else.
function instead(...content) {
  leave();
  shown = null;
  tell("waiting", "");
  document.getElementById("filter").hidden = note.hidden = true;
  main.replaceChildren(notice(...content));
}

function header() {
  const pages = offered(caller);
  for (const link of nav.querySelectorAll("a")) {
    link.hidden = !pages.includes(link.dataset.view);
    link.href = address({ ...state, view: link.dataset.view, own: {} });
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  whoIsIt.hidden = false;
  whoIsIt.textContent = caller.chooses ? "No key needed" : `${within(caller.name || "Key")} · ${caller.tenant}`;
  whoIsIt.title = caller.chooses ? "Access is open: anybody may see every tenant"
    : `Tenant ${caller.tenant}. Use another key`;
  whoIsIt.disabled = caller.chooses && !key();
}

// What is kept beside the page belongs to the caller: names, and the kinds that are suggested.
function forget() {
  caller = null;
  forgetNames();
  suggest(null);
}

// The kinds are those of a tenant, whichever page has got them.
function suggest(tenant, found = []) {
  suggested = tenant;
  document.getElementById("kinds").replaceChildren(...found.map((value) => h("option", { value })));
}

async function locked(detail) {
  // Many questions may be refused at the same time.
  if (lock) return;
  lock = true;
  choose(null);
  running.abort();
  forget();
  nav.querySelectorAll("a").forEach((link) => (link.hidden = true));
  whoIsIt.hidden = true;
  whoIsIt.textContent = "";
  instead("A key is needed", `Nothing is shown: ${detail}.`, h("button", { type: "button", onclick: () => locked(detail) },
      "Enter a key or token"));
  const given = await askForKey(detail);
  lock = false;
  if (given) restart();
}

function restart() {
  forget();
  state = { ...state, own: {} };
  show();
}

async function identified(signal) {
  for (let wait = 1_000; ; wait = Math.min(wait * 2, 15_000)) {
    try {
      return await callerOf(signal);
    } catch (error) {
      if (signal.aborted) throw error;
      instead("The service cannot be asked", `${error.message}. Trying again …`);
      tell("cut", "Not live, trying again …");
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

// Everything that a view does ends with `signal`.
async function show() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  number += 1;
  choose(null);
  if (caller === null) {
    let detail;
    try {
      [caller, detail] = await identified(signal);
    } catch {
      return;
    }
    if (signal.aborted) return;
    if (caller === null) {
      locked(detail);
      return;
    }
  }
  const pages = offered(caller);
  if (!(state.view in VIEWS)) state.view = pages[0] ?? "overview";
  document.title = `${VIEWS[state.view].title} – Kith`;
  header();
  if (!pages.length) {
    instead("This key sees no page", `It has ${caller.scopes.length ? `the scopes ${caller.scopes.join(", ")}`
      : "no scope"}; the pages need analytics:read, relations:read, intelligence:read, webhooks:manage, metrics:read or admin.`);
    return;
  }
  if (!pages.includes(state.view)) {
    const { title, needs } = VIEWS[state.view];
    instead(`${title} is not for this key`, `It needs the scope ${needs.join(" or ")}, which the key lacks.`,
      ...pages.map((view) => h("a", { href: address({ ...state, view, own: {} }) }, VIEWS[view].title)));
    return;
  }
  if (!caller.chooses && state.tenant && state.tenant !== caller.tenant) {
    instead("Another tenant's page", `The address is about the tenant ${state.tenant}; the key is for ${caller.tenant}.`,
      h("a", { href: address({ ...state, tenant: "", own: {} }) }, `Show ${caller.tenant}`));
    return;
  }
  await view(signal);
}

async function view(signal) {
  const chosen = VIEWS[state.view];
  const options = { tenant: caller.chooses ? state.tenant : "", signal };
  const tenant = options.tenant || caller.tenant;
  if (suggested !== tenant) suggest(tenant);
  const fields = [...chosen.fields, ...(caller.chooses ? ["tenant"] : [])];
  if (state.period !== "all") showForm(state, fields, days(state));
  // How far the data goes, whatever the kind and category.
  const wanted = caller.may("analytics:read") && chosen.fields.includes("period");
  const extent = wanted ? get("analytics", "/v1/extent", {}, options).then(dated) : Promise.resolve(null);
  extent.catch(() => {});
  let known = null;
  if (state.period === "all" && chosen.fields.includes("period")) {
    try {
      known = await extent;
    } catch (error) {
      if (signal.aborted) return;
      showForm(state, fields, days(state));
      instead("Not shown", `${error.message}.`, h("button", { type: "button", onclick: show }, "Try again"));
      document.getElementById("filter").hidden = false;
      return;
    }
  }
  if (signal.aborted) return;
  const period = days(state, known), said = cut(state, known);
  showForm(state, fields, period);
  note.textContent = said ?? "";
  note.hidden = !said;
  let make;
  try {
    ({ view: make } = await chosen.load());
  } catch {
    // A browser may remember that a file could not be had: the page begins anew.
    if (!signal.aborted) instead("The page cannot be loaded", "The analytics service cannot be reached.",
      h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
    return;
  }
  if (signal.aborted) return;
  const asked = query(state, period);
  const filter = { key: [tenant, ...Object.values(asked), number].join("|"), state, caller,
    first: period[0], last: period[1], query: asked, extent, options, signal, keep, go, set, tell };
  // The same view is told of another filter, and keeps its place on the page.
  if (shown?.name !== state.view || shown.caller !== caller) {
    leave();
    shown = { name: state.view, caller, view: make(main, caller) };
  }
  choose(filter);
  main.dataset.filter = filter.key;
  tell("waiting", "");
  const told = shown.view.filter(filter);
  if (!told) return;
  tell("waiting", "Connecting …");
  stream(told.query, options, (event, data) => {
    if (signal.aborted) return;
    if (Array.isArray(data.kinds)) suggest(tenant, data.kinds);
    told.tell(event, data);
  }, (name, text) => signal.aborted || tell(name, text));
}

// A view keeps something of its own in the address bar.
function keep(own) {
  state = { ...state, own };
  write("replaceState");
}

// A view changes fields of the filter; not `again`: it asks again itself.
function set(patch, again = true) {
  state = { ...state, ...patch };
  write(again ? "pushState" : "replaceState");
  if (again) show();
}

function write(how) {
  history[how](null, "", address(state));
  search = location.search;
}

function go(next) {
  state = { own: {}, ...next };
  write("pushState");
  show();
}

// A period such as "7 days" ends with today, whichever day that is by now (UTC).
function atMidnight() {
  setTimeout(() => {
    show();
    atMidnight();
  }, DAY_MS - (Date.now() % DAY_MS) + 1_000);
}

colours(document.getElementById("theme"));
const showForm = form(document.getElementById("filter"), (next) => {
  state = { ...next, own: next.own ?? state.own };
  write("pushState");
  show();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("nav a, .notice a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  search = location.search;
  state = readAddress();
  show();
  main.focus();
});
whoIsIt.addEventListener("click", async () => {
  if (!(await askForKey("Another key or token takes the place of this one"))) return;
  restart();
});
addEventListener("popstate", () => {
  // The link that skips to the content changes only what is behind the #.
  if (location.search === search) return;
  search = location.search;
  state = readAddress();
  leave();
  shown = null;
  show();
});
addEventListener("hashchange", () => {
  if (!new URLSearchParams(location.hash.slice(1)).has("key")) return;
  fromAddress();
  restart();
});
fromAddress();
for (;;) {
  try {
    await begin({ home: "analytics", credential: key, patient: true,
      refused: (detail, held) => {
      if (held === key()) locked(detail);
      return false;
    } });
    break;
  } catch (error) {
    instead("The service cannot be asked", `${error.message}. Trying again …`);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}
await show();
atMidnight();
