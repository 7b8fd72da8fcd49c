// What every application is told without subscribing, and whether it has answered.

import { said } from "../acts.js";
import { get, send } from "../api.js";
import { choice, counted, data, h, isolated, panel, shelf, table } from "../dom.js";
import { pages } from "../pages.js";
import { clientId, mayManage } from "../session.js";

const STEP = 20, PILLS = { delivered: "pill good", queued: "pill", waiting: "pill bad", failed: "pill bad" };
const NAMES = { "": "All", waiting: "Waiting", queued: "Queued", delivered: "Delivered", failed: "Failed" };
const MEANS = { delivered: "Your endpoint has answered 2xx", queued: "It is sent until your endpoint answers 2xx",
  waiting: "It can be sent nowhere at present", failed: "It was given up" };
const TOPICS = { "consumer.erased": "a consumer was erased", "consumer.exported": "a consumer has a copy of their data",
  "app.uninstalled": "the application was deleted" };
const NOBODY = "app.uninstalled";

// `changed` is called when something was sent again.
export function receipts(changed) {
  let given = null, state = "";
  const { element, body, tools } = panel("receipts", "What you are told", ""), line = said("receipts-said");
  tools.append(choice("State", NAMES, state, (value) => {
    state = value;
    restart();
  }));
  body.before(h("p", { class: "note" }, "Every application is told when a consumer who has ever agreed to it is erased or gets "
    + "a copy of their data, at its oldest endpoint that is enabled. It need not subscribe."), line.element);

  async function retry(one) {
    const mine = given;
    try {
      const { deliveries: count } = await send("webhooks", "POST", `/v1/webhooks/endpoints/${one.endpoint}/retry`,
        { receipt: one.receipt }, mine.options);
      if (mine !== given) return;
      line.say("note", count ? "It will be sent again." : "Nothing is left of it to be sent: it is on its way.");
      await load(mine);
      changed();
    } catch (error) {
      if (mine !== given || mine.signal.aborted) return;
      line.say("failed", `Not done: ${error.message}.`);
    }
  }

  // What has an endpoint has a delivery there, unless all attempts have failed more than 30 days ago.
  const again = (one) => mayManage() && one.endpoint && one.receipt.includes("/") // not masked
    && (one.state === "failed" || (one.state === "queued" && one.attempts > 0));

  const row = (one) => [time(one.at), data(one.receipt, one.topic),
    isolated(one.consumer_id ?? (one.topic === NOBODY ? "" : "hidden"), { class: "wide" }),
    h("span", { class: "wide" }, h("span", { class: PILLS[one.state], title: MEANS[one.state] }, NAMES[one.state] ?? one.state),
      one.reason ? ` ${one.reason}` : null),
    h("span", { class: "wide" }, one.endpoint ?? ""), counted(one.attempts), time(one.settled ?? ""),
    again(one) ? h("button", { type: "button", "aria-label": `Send again ${one.topic} ${one.consumer_id ?? ""}`.trim(),
      title: TOPICS[one.topic], onclick: () => retry(one) }, "Send again") : ""];

  const show = (items) => (items.length ? table("The receipts of three years, latest first", ["When (UTC)", "Type", "About",
    "State", "Endpoint", "Attempts", "Settled (UTC)", ""], items.map(row), "told")
    : h("p", { class: "note" }, state ? "None is in this state." : "Nothing yet."));
  const list = pages(body, shelf("scroll", "What you are told"), (cursor, options) => get("apps",
    `/register/${clientId()}/receipts`, { state, limit: STEP, cursor }, options), show, mayManage);

  function restart() {
    list.clear();
    return given && list.load(given);
  }

  function load(filter) {
    if (filter !== given) {
      given = filter;
      list.clear();
      line.say("note", "");
    }
    return list.load(given);
  }

  return { element, load };
}

const time = (text) => text.slice(0, 19).replace("T", " ");
