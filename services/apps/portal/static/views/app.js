// The application: what the tenant has decided, its scopes in plain words, and what it has used.

import { part } from "../answers.js";
import { get, quota } from "../api.js";
import { copyable, counted, h, isolated, panel, shelf, table, whole } from "../dom.js";

const PILLS = { approved: "pill good", pending: "pill", suspended: "pill bad" };
const MEANS = { pending: "The tenant has not decided yet. It gets no token until it is approved.",
  approved: "It gets tokens, and sees consumers who have agreed to it.",
  suspended: "The tenant has stopped it: its tokens are refused, and nothing is sent to its endpoints." };
// Beyond it, consent is not counted.
const MOST_COUNTED = 100_000;

export function application(words) {
  let given = null, app = null;
  const main = panel("app", "", "w6"), scopes = panel("scopes", "What it may do", "w6");
  const element = h("div", { class: "pair" }, main.element, scopes.element);
  const tiles = h("section", { class: "figures", "aria-label": "Used" }, h("dl", { class: "tiles" }));
  const values = {};
  for (const [name, title] of Object.entries({ consented: "Consumers who have agreed", events: "Events today (UTC)",
    endpoints: "Webhook endpoints", requests: "Requests" })) {
    values[name] = h("dd", {}, "–");
    tiles.firstChild.append(h("div", { class: "tile", id: `tile-${name}` }, h("dt", {}, title), values[name]));
  }
  const parts = { consented: part([values.consented]), events: part([values.events]) };
  const shelved = shelf("scroll", "Scopes");
  scopes.body.append(shelved);
  let drawn = "";

  function facts() {
    const named = { Id: copyable(app.client_id, "the client id"),
      Registered: new Date(app.client_id_issued_at * 1000).toISOString().slice(0, 10),
      Contacts: app.contacts.length && app.contacts.flatMap((one, at) => [at ? ", " : "", isolated(one)]),
      Page: app.client_uri, Software: [app.software_id, app.software_version].filter(Boolean).join(" "), Hidden: app.masks.join(", "),
      "Consumers agree by": copyable(`{"consent": {"${app.purpose}": true}}`, "the consent") };
    return h("dl", { class: "facts" }, Object.entries(named).filter(([, value]) => value).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  function draw() {
    const before = JSON.stringify(app);
    if (before === drawn) return;
    drawn = before;
    main.heading.replaceChildren(isolated(app.client_name));
    main.tools.replaceChildren(h("span", { class: PILLS[app.state], id: "state" }, app.state));
    main.body.replaceChildren(h("p", {}, MEANS[app.state]),
      ...(app.reason ? [h("p", { class: "failed" }, `The reason: ${app.reason}`)] : []), facts());
    const wanted = app.scope.split(" ").filter(Boolean);
    shelved.replaceChildren(table(null, ["Scope", "It may", ""], wanted.map((scope) => [h("span", { class: "code" }, scope),
      words.find((each) => each.scope === scope)?.means ?? "", app.granted.includes(scope)
        ? h("span", { class: "pill good" }, "granted") : h("span", { class: "pill" }, "not granted")])));
  }

  return {
    element, tiles,
    show(filter, found) {
      const decided = app !== null && app.state !== found.state;
      [given, app] = [filter, found];
      draw();
      if (decided) this.count();
      parts.events.ask(given, (options) => get("apps", `/register/${app.client_id}/usage`, {}, options),
        ({ events_today: used, events_a_day: most }) => [counted(used), ` of ${whole(most)}`]);
    },
    // Counting scans the tenant's consumers, so it is done rarely.
    count() {
      parts.consented.ask(given, (options) => get("apps", `/register/${app.client_id}/figures`, {}, options),
        ({ consented }) => [counted(consented), consented >= MOST_COUNTED ? " or more" : ""]);
    },
    used(endpoints) {
      values.endpoints.replaceChildren(endpoints === null ? "–" : counted(endpoints), ` of ${whole(app.limits.endpoints)}`);
      const now = quota("webhooks"), per = app.limits.requests.replace("/", " per ");
      // Counted by each process: what webhooks has counted is what this page knows.
      values.requests.replaceChildren(...(now ? [counted(now.limit - now.left), ` of ${per}`] : [per]),
        h("small", { class: "note" }, now ? " at webhooks" : ""));
    },
  };
}
