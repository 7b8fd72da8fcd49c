// Whom a consumer or provider is tied to most, and why each tie is strong.

import { get } from "../api.js";
import { tiesChart } from "../charts/ties.js";
import { choice, counted, data, decimal, h, money, panel, percent, rounded, table, whole } from "../dom.js";

const MOST = 16;

export function view(main) {
  let given = null, page = null, chosen = 0, asked = null;
  const box = h("div", { class: "graph" });
  const graph = panel("graph", "Strongest ties", "w7"), why = panel("why", "Why it is strong", "w5");
  const list = panel("ties", "The same as a list", "w7"), hints = panel("start", "Start with", "w5");
  const rows = h("div", { class: "list", tabindex: 0 }), suggested = h("div", { class: "list", tabindex: 0 });
  const input = h("input", { id: "of", autocomplete: "off", required: true, size: 22 });
  let side = "provider";
  const sides = choice("Whose ties", { provider: "Provider", consumer: "Consumer" }, side, (value) => (side = value));
  const search = h("form", { class: "search panel", id: "search", onsubmit: (event) => {
    event.preventDefault();
    if (input.value.trim()) open(side, input.value.trim());
  } }, h("div", {}, sides), h("label", {}, "Its id", input), h("button", { type: "submit" }, "Show"));
  graph.body.append(box, h("p", { class: "note" },
      "Of all time, as of now. A thicker and shorter line is a stronger tie: choose one to read why."));
  list.body.append(rows);
  hints.body.append(suggested);
  main.replaceChildren(search, ...[graph, why, list, hints].map((part) => part.element));
  new ResizeObserver(() => page && draw()).observe(box);

  const opposite = () => (asked.side === "consumer" ? "provider" : "consumer");
  const say = (part, text, kind = "note") => part.replaceChildren(h("p", { class: kind }, text));

  function open(nextSide, id) {
    given.go({ ...given.state, own: { [nextSide]: id } });
  }

  function draw() {
    tiesChart(box, { ...asked, ties: page, chosen, choose: (at) => explain(at, true), move: (at) => open(opposite(),
        page[at].id) });
  }

  async function explain(at, chosenByHand = false) {
    chosen = at;
    const tie = page[at], { options } = given;
    for (const [index, edge] of box.querySelectorAll(".edge").entries()) edge.setAttribute("aria-pressed",
        String(index === at));
    for (const [index, row] of rows.querySelectorAll("tbody button").entries()) row.setAttribute("aria-pressed",
        String(index === at));
    if (chosenByHand) given.keep({ [asked.side]: asked.id, with: tie.id });
    const [consumer, provider] = asked.side === "consumer" ? [asked.id, tie.id] : [tie.id, asked.id];
    try {
      const found = await get("relations", `/v1/relationships/${encodeURIComponent(consumer)}/${encodeURIComponent(provider)}`, {}, options);
      if (chosen === at) why.body.replaceChildren(...explained(found));
    } catch (error) {
      if (!options.signal.aborted) say(why.body, `Not shown: ${error.message}`, "failed");
    }
  }

  function explained(found) {
    const kinds = Object.entries(found.kinds).sort(([, one], [, other]) => other.share - one.share);
    const [first] = kinds;
    const amounts = Object.entries(found.amount).map(([currency, minor]) => money(minor, currency)).join(", ");
    const day = (time) => time.slice(0, 10);
    return [
      h("h3", {}, `${found.consumer_id} and ${found.provider_id}`),
      h("p", {}, `Strength ${decimal(found.strength)} from ${whole(found.count)} relations between ${day(found.first)} and ${day(found.last)}`,
        amounts ? `, worth ${amounts}` : "", `. ${percent(first[1].share, 0)} of it is ${first[0]}. Older relations weigh less.`),
      h("div", { id: "why-kinds" }, table("What it consists of", ["Kind", "Relations", "Strength", "Share"],
        kinds.map(([kind, sums]) => [kind, counted(sums.count), rounded(sums.strength), data(sums.share,
            percent(sums.share))]))),
      h("div", { class: "scroll", tabindex: 0, id: "why-events" }, table("The events that weigh most", ["Relation",
          "Kind", "Day", "Weight", "Event"],
        found.evidence.map((fact) => [fact.relation_id, fact.kind, day(fact.time), rounded(fact.weight), h("span",
            { class: "wrap" }, `${fact.event.source} ${fact.event.id}`)]))),
    ];
  }

  async function load() {
    const { options } = given;
    const path = { consumer: "consumer_id", provider: "provider_id" };
    try {
      const found = await get("relations", "/v1/relationships", { [path[asked.side]]: asked.id, limit: MOST }, options);
      page = found.items.map((item) => ({ ...item, id: item[path[opposite()]] }));
    } catch (error) {
      if (!options.signal.aborted) say(box, `Not shown: ${error.message}`, "failed");
      return;
    }
    if (!page.length) {
      page = null;
      say(box, `Nothing is known between ${asked.side} ${asked.id} and anybody.`);
      rows.replaceChildren();
      why.body.replaceChildren();
      return;
    }
    chosen = Math.max(0, page.findIndex((tie) => tie.id === given.state.own.with));
    draw();
    rows.replaceChildren(table(`Strongest first${page.length === MOST ? `, the first ${MOST}` : ""}`,
        [opposite() === "consumer" ? "Consumer" : "Provider", "Strength", "Relations", "Last"],
      page.map((tie, at) => [h("button", { type: "button", "aria-pressed": "false", onclick: () => explain(at,
          true) }, tie.id),
        rounded(tie.strength), counted(tie.count), tie.last.slice(0, 10)])));
    await explain(chosen);
  }

  async function suggest() {
    const { options, query } = given;
    try {
      const { items } = await get("analytics", "/v1/measures/top-providers", { ...query, limit: 20 }, options);
      suggested.replaceChildren(items.length ? table("The top providers of the period", ["Provider", "Relations"],
        items.map((item) => [h("button", { type: "button", onclick: () => open("provider", item.provider_id) },
            item.provider_id), counted(item.count)])) : "");
      return items[0]?.provider_id;
    } catch (error) {
      if (!options.signal.aborted) say(suggested, `Not shown: ${error.message}`, "failed");
      return null;
    }
  }

  return {
    filter(next) {
      given = next;
      const { consumer, provider } = next.state.own;
      page = null;
      const start = (nextSide, id) => {
        asked = { side: nextSide, id };
        input.value = id;
        sides.querySelector(`[data-value=${nextSide}]`).click();
        graph.element.querySelector("h2").textContent = `Strongest ties of ${nextSide} ${id}`;
        load();
      };
      if (consumer) start("consumer", consumer);
      else if (provider) start("provider", provider);
      else say(box, "Looking for the top provider …");
      const first = suggest();
      if (!consumer && !provider) first.then((id) => {
        if (next.options.signal.aborted) return;
        if (id) start("provider", id);
        else say(box, "Nothing in this period. Type an id above.");
      });
      return null;
    },
  };
}
