// Puts the page together: the filter, the view that is chosen, the stream of figures, the colours.

import { begin, stream } from "./api.js";
import { h } from "./dom.js";
import { address, DAY_MS, days, form, query, readAddress } from "./filter.js";

const VIEWS = {
  overview: { title: "Overview", load: () => import("./views/overview.js") },
  relationships: { title: "Relationships", load: () => import("./views/relationships.js") },
  map: { title: "Map", load: () => import("./views/map.js") },
  operations: { title: "Operations", load: () => import("./views/operations.js") },
};
const main = document.getElementById("main"), live = document.getElementById("live");
let state = readAddress(), search = location.search, running = new AbortController(), shown = null;

function colours() {
  const names = { "": "as the system", light: "light", dark: "dark" }, order = ["", "light", "dark"];
  const button = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("kith-theme") ?? "";
    document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
    button.setAttribute("aria-label", `Colours: ${names[chosen] ?? chosen}`);
    button.title = button.getAttribute("aria-label");
  };
  button.addEventListener("click", () => {
    const at = order.indexOf(localStorage.getItem("kith-theme") ?? "");
    localStorage.setItem("kith-theme", order[(at + 1) % order.length]);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

function tell(name, text) {
  if (live.dataset.state === name && live.textContent === text) return;
  live.dataset.state = name;
  live.textContent = text;
}

// Everything that a view does ends with `signal`.
async function show() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  if (!(state.view in VIEWS)) state.view = "overview";
  document.title = `${VIEWS[state.view].title} – Kith`;
  for (const link of document.querySelectorAll("nav a")) {
    link.href = address({ ...state, view: link.dataset.view, own: {} });
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("filter").hidden = state.view === "operations";
  const { view } = await VIEWS[state.view].load();
  if (signal.aborted) return;
  const [first, last] = days(state);
  const options = { tenant: state.tenant, signal };
  const given = { state, first, last, query: query(state), options, keep, go, tell };
  // The same view is told of another filter, and keeps its place on the page.
  if (shown?.name !== state.view) shown = { name: state.view, view: view(main) };
  tell("waiting", "");
  const told = shown.view.filter(given);
  if (told) {
    tell("waiting", "Connecting …");
    stream(told.query, options, (event, data) => {
      if (data.kinds) document.getElementById("kinds").replaceChildren(...data.kinds.map((value) => h("option",
          { value })));
      told.tell(event, data);
    }, tell);
  }
}

// A view keeps something of its own in the address bar.
function keep(own) {
  state = { ...state, own };
  write("replaceState");
}

function write(how) {
  history[how](null, "", address(state));
  search = location.search;
}

function go(next) {
  state = { own: {}, ...next };
  write("pushState");
  showForm();
  show();
}

// A period such as "7 days" ends with today, whichever day that is by now (UTC).
function atMidnight() {
  setTimeout(() => {
    if (state.period !== "own") {
      showForm();
      show();
    }
    atMidnight();
  }, DAY_MS - (Date.now() % DAY_MS) + 1_000);
}

colours();
const showForm = form(document.getElementById("filter"), () => state, (next) => {
  state = { ...next, own: state.own };
  write("pushState");
  show();
});
document.querySelector("nav").addEventListener("click", (event) => {
  const view = event.target.dataset?.view;
  if (!view || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go({ ...state, view, own: {} });
  main.focus();
});
addEventListener("popstate", () => {
  // The link that skips to the content changes only what is behind the #.
  if (location.search === search) return;
  search = location.search;
  state = readAddress();
  shown = null;
  showForm();
  show();
});
await begin();
await show();
atMidnight();
