// The log of an endpoint: each attempt, what the receiver answered, and a way to send again what has failed.

import { said } from "../acts.js";
import { get, send } from "../api.js";
import { choice, data, h, panel, plural, shelf, table, whole } from "../dom.js";
import { pages } from "../pages.js";

const STEP = 20, PILLS = { delivered: "pill good", failed: "pill", given_up: "pill bad", dropped: "pill" };
const NAMES = { "": "All", delivered: "Delivered", failed: "Failed", given_up: "Given up" };
const MEANS = { delivered: "The receiver has answered 2xx", failed: "It is tried again", given_up: "Ten attempts have failed",
  dropped: "It was not sent: the consumer has not granted the purpose" };
const AGAIN = ["failed", "given_up"];
// A test has an answer within seconds.
const SOON_MS = [700, 1_500, 3_000];

// `changed` is called when something was sent again.
export function deliveries(changed) {
  let given = null, one = null, outcome = "";
  const { element, body, tools, heading } = panel("deliveries", "Deliveries", "");
  const line = said("deliveries-said"), path = () => `/v1/webhooks/endpoints/${one.endpoint}`;
  const again = h("button", { type: "button", onclick: () => retry(null) }, "Send again all that was given up");
  tools.append(choice("Outcome", NAMES, outcome, (value) => {
    outcome = value;
    restart();
  }), again);
  body.before(line.element);
  element.hidden = true;

  async function retry(delivery) {
    const [mine, to] = [given, one.endpoint];
    try {
      const { deliveries: count } = await send("webhooks", "POST", `${path()}/retry`, delivery ? { delivery } : {}, mine.options);
      if (mine !== given || to !== one?.endpoint) return;
      line.say("note", count ? `${plural(count, "delivery", "deliveries")} will be sent again.`
        : "Nothing is left of it to be sent: it was sent again before.");
      soon();
      changed();
    } catch (error) {
      if (mine !== given || mine.signal.aborted) return;
      line.say("failed", `Not done: ${error.message}.`);
    }
  }

  // `latest`: of the attempts of its delivery.
  function row(each, latest) {
    const answer = [each.status ?? null, each.answer, each.error].filter((value) => value !== null && value !== undefined
      && value !== "").join(" ");
    return [each.at.slice(0, 19).replace("T", " "), data(each.delivery, each.type), h("span", { class: "wide" }, each.subject ?? ""),
      data(each.attempt), h("span", { class: PILLS[each.outcome], title: MEANS[each.outcome] }, NAMES[each.outcome] ?? each.outcome),
      h("span", { class: "wide answer" }, answer), data(each.milliseconds, `${whole(each.milliseconds)} ms`),
      latest && AGAIN.includes(each.outcome) ? h("button", { type: "button", "aria-label": `Send again ${each.delivery}`,
        onclick: () => retry(each.delivery) }, "Send again") : ""];
  }

  function show(items) {
    const seen = new Set(), first = ({ delivery }) => !seen.has(delivery) && Boolean(seen.add(delivery));
    return items.length ? table("The attempts of 30 days, latest first", ["When (UTC)", "Type", "About", "Attempt",
      "Outcome", "Answer", "Took", ""], items.map((each) => row(each, first(each))), "attempts") : h("p", { class: "note" }, outcome
      ? "None has this outcome." : "Nothing was sent yet. A test shows whether the receiver works.");
  }

  const list = pages(body, shelf("scroll", "Deliveries"), (cursor, options) => get("webhooks", `${path()}/deliveries`,
    { outcome, limit: STEP, cursor }, options), show);

  function restart() {
    list.clear();
    return load();
  }

  async function load(endpoint) {
    if (endpoint) one = endpoint;
    if (one === null) return;
    again.hidden = !one.failed;
    await list.load(given);
  }

  function soon() {
    for (const ms of SOON_MS) setTimeout(() => given.signal.aborted || load(), ms);
  }

  return { element, load, soon, open(filter, endpoint) {
    const same = given === filter && one?.endpoint === endpoint?.endpoint;
    [given, one] = [filter, endpoint];
    element.hidden = one === null;
    if (one === null || same) return;
    heading.textContent = `Deliveries to ${one.url}`;
    line.say("note", "");
    restart();
  } };
}
