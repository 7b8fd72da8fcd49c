// Where a period has nothing: where the data ends, and a way there.

import { get } from "../api.js";
import { h, words } from "../dom.js";
import { dated, following } from "../filter.js";

// What to do where a tenant has no data at all.
export const HOW = "Send events to the ingest service (POST /v1/events), or import a file (kith import): then it is shown here.";

export function emptiness() {
  const element = h("section", { class: "panel notice", id: "nothing", role: "status" });
  element.hidden = true;
  let asked = null;

  async function show(filter, count) {
    if (count !== 0) {
      element.parentElement?.classList.remove("empty");
      element.hidden = true;
      asked = null;
      return;
    }
    // Once for a filter: its figures may come again and again.
    if (asked === filter || !filter.caller.may("analytics:read")) return;
    asked = filter;
    const { kind, category } = filter.query, narrow = kind || category;
    const what = `${kind ? `Relations of kind ${words(kind)}` : "Relations"}${category ? ` in category ${category}` : ""}`;
    let own;
    try {
      own = dated(await get("analytics", "/v1/extent", { kind, category }, filter.options));
    } catch (error) {
      if (filter.signal.aborted || error.status) return;
      throw error;
    }
    if (filter.signal.aborted) return;
    const button = (text, patch) => h("button", { type: "button", onclick: () => filter.set(patch) }, text);
    const actions = [];
    let text, title = "Nothing in this period";
    if (own === null) text = "When there is something is hidden from this key.";
    else if (own.last) {
      const before = own.last < filter.first, end = before ? own.last : own.first;
      text = `${what} are known from ${own.first} to ${own.last}; this period ${before ? "begins after the last"
        : own.first > filter.last ? "ends before the first" : "lies between them"}.`;
      const from = before ? following(end, -29) : end, to = before ? end : following(end, 29);
      actions.push(button(`Show ${from} to ${to}`, { period: "own", from, to }));
      const latest = { period: "own", from: following(own.last, -29), to: own.last };
      if (latest.from > to) actions.push(button(`Show the latest, ${latest.from} to ${latest.to}`, latest));
      if (filter.state.period !== "all") actions.push(button("All time", { period: "all", from: "", to: "" }));
    } else if (narrow) text = `${what} are not known at any time.`;
    else {
      title = "Nothing yet";
      text = `Nothing is known of the tenant ${filter.options.tenant || filter.caller.tenant} yet. ${HOW}`;
    }
    if (narrow) actions.push(button("All kinds and categories", { kind: "", category: "" }));
    element.replaceChildren(h("h2", {}, title), h("p", {}, text), h("div", { class: "tools" }, actions));
    element.hidden = false;
    // Panels that all say the same would only hide it.
    element.parentElement?.classList.add("empty");
  }

  return { element, show, hide() {
    element.parentElement?.classList.remove("empty");
    element.hidden = true;
    asked = null;
  } };
}
