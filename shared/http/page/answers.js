// Every part of a page shows one answer to one filter, or says why it shows none. Answers get onto the page here only.

import { h } from "./dom.js";

const parts = new Set();
let present = null;

// Another filter is chosen (null: none yet). What the parts show belongs to the one before, and goes at once.
export function choose(filter) {
  present = filter;
  for (const part of parts) part.clear();
}

// A page is left: its parts are no longer there.
export const leave = () => parts.clear();

// What may be different in a moment; anything else stays as it is until somebody changes something.
const passing = ({ status }) => status === 0 || status === 429 || status >= 500;

// What has the keyboard's focus, to be found again among nodes that take its place: by its label, address or text.
function focused(bodies) {
  const element = document.activeElement, body = bodies.find((one) => one.contains(element));
  if (!body) return () => {};
  const mark = (one) => one.getAttribute("aria-label") ?? one.getAttribute("href") ?? one.textContent;
  const mine = mark(element), tag = element.tagName;
  return () => {
    if (element.isConnected) return;
    [...body.querySelectorAll(tag)].find((one) => mark(one) === mine)?.focus({ preventScroll: true });
  };
}

function put(body, nodes) {
  const known = body.childNodes;
  if (known.length !== nodes.length || nodes.some((node, at) => node !== known[at])) body.replaceChildren(...nodes);
}

// `bodies`: elements that show an answer together. `nothing`: what they say where an answer is empty.
export function part(bodies, nothing = "Nothing in this period.") {
  let latest = 0, asking = null, shown = null, content = [];

  const begin = () => {
    asking?.abort();
    asking = null;
    latest += 1;
    return latest;
  };
  const late = (filter, mine) => mine !== latest || filter !== present || filter.signal.aborted;
  const busy = (is) => bodies.forEach((body) => (is ? body.setAttribute("aria-busy", "true")
    : body.removeAttribute("aria-busy")));

  function say(kind, text) {
    shown = null;
    content = [];
    for (const body of bodies) {
      body.removeAttribute("data-answers");
      body.replaceChildren(h("p", { class: kind, role: kind === "failed" ? "alert" : null }, text));
    }
  }

  // `show` makes of an answer the nodes of each body; null: there is nothing to show.
  function fill(filter, answer, show) {
    const masked = answer?.masked ?? [], refocus = focused(bodies);
    let found;
    try {
      found = show(answer);
    } catch (error) {
      // A mask is no number: what is computed from it cannot be shown.
      if (!masked.length) throw error;
      say("note", `Not shown: this key does not see ${masked.join(", ")}.`);
      return;
    }
    if (found === null) {
      // That there is nothing is an answer, too.
      say("note", nothing);
      for (const body of bodies) body.dataset.answers = filter.key;
      shown = filter;
      return;
    }
    content = bodies.length === 1 && !Array.isArray(found[0]) ? [found] : found;
    bodies.forEach((body, at) => {
      put(body, content[at]);
      body.dataset.answers = filter.key;
    });
    refocus();
    shown = filter;
  }

  function fail(filter, error) {
    if (shown === filter && content.length && passing(error)) {
      // It is still the answer to this filter, but no longer the latest: marked, not taken away.
      const old = h("p", { class: "failed stale", role: "status" }, `Not refreshed: ${error.message}`);
      bodies[0].replaceChildren(old, ...content[0]);
      return;
    }
    say("failed", `Not shown: ${error.message}`);
  }

  const made = {
    clear(text = "Loading …") {
      begin();
      busy(false);
      say("note waiting", text);
    },
    say(text) {
      begin();
      busy(false);
      say("note", text);
    },
    // Asks, and shows the answer unless another filter, or a later question, has come meanwhile.
    async ask(filter, question, show) {
      const mine = begin(), own = new AbortController();
      asking = own;
      busy(true);
      try {
        const answer = await question({ ...filter.options, signal: AbortSignal.any([filter.signal, own.signal]) });
        if (late(filter, mine)) return null;
        busy(false);
        fill(filter, answer, show);
        return answer;
      } catch (error) {
        if (late(filter, mine)) return null;
        busy(false);
        fail(filter, error);
        if (!("status" in error)) throw error;
        return null;
      }
    },
    // The same for what comes without being asked for: events of a stream.
    take(filter, answer, show) {
      if (late(filter, begin())) return;
      busy(false);
      fill(filter, answer, show);
    },
    refuse(filter, error) {
      if (!late(filter, begin())) fail(filter, error);
    },
  };
  parts.add(made);
  made.clear();
  return made;
}
