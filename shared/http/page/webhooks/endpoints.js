// Webhook endpoints: what they get, how they are, and what can be done with them; the log of the one that is chosen.

import { once, said, sure } from "../acts.js";
import { part } from "../answers.js";
import { get, send } from "../api.js";
import { counted, h, isolated, panel, plural, shelf, table, whole } from "../dom.js";
import { deliveries } from "./deliveries.js";

const PATH = "/v1/webhooks/endpoints";
const TYPES = { "relation.changed": "relations", "consumer.changed": "consumers", "provider.changed": "providers",
  "webhook.disabled": "endpoints that were disabled" };

// `whose`: "yours", or "the tenant's".
export function endpoints(whose) {
  let given = null, items = null, chosen = null, drawn = "";
  const list = panel("endpoints", "Webhook endpoints", ""), shelved = shelf("scroll", "Webhook endpoints");
  const line = said("endpoints-said"), fresh = once("endpoint-secret"), log = deliveries(() => load(given));
  const all = part([list.body], "");
  const url = h("input", { id: "endpoint-url", type: "url", required: true, placeholder: "where your receiver listens",
    autocomplete: "off", size: 34 });
  const boxes = Object.entries(TYPES).map(([type, text]) => [type, h("input", { type: "checkbox", name: type,
    checked: type === "relation.changed" }), text]);
  const form = h("form", { class: "search", id: "new-endpoint", onsubmit: (event) => {
    event.preventDefault();
    create();
  } }, h("label", {}, "Address", url), h("fieldset", {}, h("legend", {}, "It gets changes of"), boxes.map(([, box, text]) =>
    h("label", {}, box, ` ${text}`))), h("button", { type: "submit", class: "main" }, "Add an endpoint"));
  const stopped = h("p", { class: "failed", id: "disabled-endpoints" });
  list.body.before(stopped, line.element, fresh.element);
  list.body.after(h("details", { id: "add-endpoint" }, h("summary", {}, "Add an endpoint"), form));

  async function act(work, done) {
    const mine = given;
    try {
      const answer = await work(mine.options);
      if (mine !== given) return;
      line.say("note", "");
      done(answer);
      await load(mine);
    } catch (error) {
      if (mine !== given || mine.signal.aborted) return;
      line.say("failed", `Not done: ${error.message}.`);
    }
  }

  const create = () => act((options) => send("webhooks", "POST", PATH, { url: url.value.trim(),
    types: boxes.filter(([, box]) => box.checked).map(([type]) => type) }, options), (made) => {
    fresh.show("The signing secret of the new endpoint", made.secret, "the signing secret");
    form.reset();
    form.parentElement.open = false;
    choose(made);
  });

  const doing = (one, what, done, body) => act((options) => send("webhooks", "POST", `${PATH}/${one.endpoint}/${what}`, body,
    options), done);
  const test = (one) => doing(one, "test", () => {
    choose(one);
    log.soon();
    line.say("note", "A delivery of the type webhook.test is on its way; its outcome is in the log.");
  });
  const rotate = (one) => doing(one, "secret", (made) => {
    fresh.show("The new signing secret", made.secret, "the signing secret");
    line.say("note", "Deliveries are signed with the former secret, too, for a day.");
  });
  const remove = (one) => act((options) => send("webhooks", "DELETE", `${PATH}/${one.endpoint}`, undefined, options), () => {
    fresh.clear();
    if (chosen === one.endpoint) choose(null);
    line.say("note", "The endpoint is deleted.");
  });

  function choose(one) {
    chosen = one?.endpoint ?? null;
    for (const button of shelved.querySelectorAll("[data-log]"))
      button.setAttribute("aria-pressed", String(button.dataset.log === chosen));
    log.open(given, one);
  }

  function row(one) {
    const button = (text, act, more) => h("button", { type: "button", "aria-label": `${text}: ${one.url}`, onclick: act,
      ...more }, text);
    const on = one.state === "enabled";
    return [h("span", { class: "wide" }, one.url, one.description ? h("small", { class: "note" }, " ", isolated(one.description)) : null),
      h("span", { class: "wide" }, one.types.map((type) => TYPES[type] ?? type).join(", ")),
      h("span", { class: "wide" }, h("span", { class: on ? "pill good" : "pill bad" }, one.state), on ? null : ` ${one.reason ?? ""}`,
        one.failing_since ? h("small", { class: "failed" }, ` failing since ${one.failing_since.slice(0, 16).replace("T", " ")}`)
          : null),
      h("span", {}, counted(one.queued), one.behind ? ` + ${whole(one.behind)}` : ""), counted(one.failed),
      h("span", { class: "tools" },
        button("Log", () => choose(one), { "data-log": one.endpoint, "aria-pressed": String(one.endpoint === chosen) }),
        on ? button("Test", () => test(one)) : null,
        on ? button("Disable", () => doing(one, "disable", () => {})) : button("Enable", () => doing(one, "enable", () => {})),
        sure("New secret", "Really a new one?", one.url, () => rotate(one)),
        sure("Delete", "Really delete it?", one.url, () => remove(one)))];
  }

  function draw() {
    const now = JSON.stringify(items);
    if (now === drawn) return;
    drawn = now;
    // Nobody else may be told: that an endpoint is disabled is sent to others of its owner's only.
    const off = items.filter((each) => each.state === "disabled").length;
    stopped.replaceChildren(...(off ? [`${plural(off, "endpoint")} disabled: ${off === 1 ? "it gets" : "they get"} nothing until `
      + "somebody enables them. Nothing is lost meanwhile."] : []));
    shelved.replaceChildren(items.length ? table(`${plural(items.length, "endpoint")}. Waiting: to be sent, or sent again. `
      + "Given up: after ten attempts.", ["Address", "Gets", "State", "Waiting", "Given up", ""], items.map(row), "hooks")
      : h("p", { class: "note" }, `None of ${whose} yet. An endpoint gets each change as a signed POST, in order.`));
  }

  async function load(filter) {
    if (filter !== given) {
      [given, items, drawn] = [filter, null, ""];
      choose(null);
      fresh.clear();
      line.say("note", "");
    }
    const found = await all.ask(filter, (options) => get("webhooks", PATH, {}, options), (answer) => {
      ({ items } = answer);
      draw();
      return [shelved];
    });
    if (found === null || filter !== given) return;
    const one = items.find((each) => each.endpoint === chosen) ?? (items.length === 1 ? items[0] : null);
    if ((one?.endpoint ?? null) !== chosen) choose(one);
    else await log.load(one);
  }

  return { panels: [list.element, log.element], load, count: () => items?.length ?? null };
}
