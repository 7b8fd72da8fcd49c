// What every application is told without subscribing, and whether it has answered.

import { said } from "../acts.js";
import { part } from "../answers.js";
import { get, send } from "../api.js";
import { choice, counted, data, h, panel, shelf, table } from "../dom.js";
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
  let given = null, state = "", items = [], next = null, pages = 1, drawn = "";
  const { element, body, tools } = panel("receipts", "What you are told", ""), shelved = shelf("scroll", "What you are told");
  const line = said("receipts-said"), list = part([body], "");
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
    h("span", { class: "wide" }, one.consumer_id ?? (one.topic === NOBODY ? "" : "hidden")),
    h("span", { class: "wide" }, h("span", { class: PILLS[one.state], title: MEANS[one.state] }, NAMES[one.state] ?? one.state),
      one.reason ? ` ${one.reason}` : null),
    h("span", { class: "wide" }, one.endpoint ?? ""), counted(one.attempts), time(one.settled ?? ""),
    again(one) ? h("button", { type: "button", "aria-label": `Send again ${one.topic} ${one.consumer_id ?? ""}`.trim(),
      title: TOPICS[one.topic], onclick: () => retry(one) }, "Send again") : ""];

  function draw() {
    const now = JSON.stringify([items, next, mayManage()]);
    if (now === drawn) return [shelved];
    drawn = now;
    shelved.replaceChildren(items.length ? table("The receipts of three years, latest first", ["When (UTC)", "Type", "About",
      "State", "Endpoint", "Attempts", "Settled (UTC)", ""], items.map(row), "told")
      : h("p", { class: "note" }, state ? "None is in this state." : "Nothing yet."),
    ...(next ? [h("p", { class: "more" }, h("button", { type: "button", onclick: more }, "Show older ones"))] : []));
    return [shelved];
  }

  const ask = (cursor) => list.ask(given, (options) => get("apps", `/register/${clientId()}/receipts`,
    { state, limit: STEP, cursor }, options), (answer) => {
    items = cursor ? [...items, ...answer.items] : answer.items;
    ({ next } = answer);
    return draw();
  });

  function more() {
    pages += 1;
    ask(next);
  }

  function restart() {
    [items, next, pages, drawn] = [[], null, 1, ""];
    list.clear();
    return given && load(given);
  }

  // Whoever looks at older ones is not sent back.
  async function load(filter) {
    if (filter !== given) {
      [given, items, next, pages, drawn] = [filter, [], null, 1, ""];
      line.say("note", "");
    }
    if (pages === 1) await ask(null);
  }

  return { element, load };
}

const time = (text) => text.slice(0, 19).replace("T", " ");
