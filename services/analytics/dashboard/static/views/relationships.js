// Whom a consumer or provider is tied to most, and why each tie is strong.

import { part } from "../answers.js";
import { get } from "../api.js";
import { tiesChart } from "../charts/ties.js";
import { choice, counted, data, h, panel, rounded, shelf, table, whole, within } from "../dom.js";
import { headed, MASK, naming, who } from "../names.js";
import { HOW } from "./emptiness.js";
import { explained } from "./why.js";

const MOST = 16, SUGGESTED = 50, PATH = { consumer: "consumer_id", provider: "provider_id" };

export function view(main, caller) {
  let given = null, page = null, chosen = 0, asked = null, side = "provider";
  const box = h("div", { class: "graph" }), note = h("p", { class: "note" },
    "Of all time, as of now. A thicker and shorter line is a stronger tie: choose one to read why.");
  const graph = panel("graph", "Strongest ties", "w6", "drawn"), why = panel("why", "Why it is strong", "w6", "drawn");
  const list = panel("ties", "The same as a list", "w6", "listed"), hints = panel("start", "Start with", "w6", "listed");
  const shelves = { list: shelf("list", "The ties as a list"), hints: shelf("list", "Start with") };
  const parts = { ties: part([graph.body, list.body], "Nothing is known between this id and anybody."),
    why: part([why.body], "Nothing to explain."), hints: part([hints.body], "No provider has any relation yet.") };
  const input = h("input", { id: "of", dir: "auto", autocomplete: "off", required: true, size: 22, list: "known" });
  const known = h("datalist", { id: "known" });
  const sides = choice("Whose ties", { provider: "Provider", consumer: "Consumer" }, side, (value) => (side = value));
  const search = h("form", { class: "search panel", id: "search", onsubmit: (event) => {
    event.preventDefault();
    if (input.value.trim()) open(side, input.value.trim());
  } }, h("div", {}, sides), h("label", {}, "Its id", input, known), h("button", { type: "submit", class: "main" }, "Show"));
  main.replaceChildren(search, graph.element, why.element, list.element,
    ...(caller.may("analytics:read") ? [hints.element] : []));
  new ResizeObserver(() => box.isConnected && page && draw()).observe(box);

  const opposite = () => (asked.side === "consumer" ? "provider" : "consumer");

  function open(nextSide, id) {
    if (id === MASK) return;
    given.go({ ...given.state, own: { [nextSide]: id } });
  }

  function draw() {
    tiesChart(box, { ...asked, ties: page.ties.slice(0, MOST), chosen, choose: (at) => explain(at, true),
      move: (at) => open(opposite(), page.ties[at].id) });
  }

  function press() {
    for (const [index, edge] of box.querySelectorAll(".edge").entries())
      edge.setAttribute("aria-pressed", String(index === chosen));
    for (const [index, row] of shelves.list.querySelectorAll("tbody button").entries())
      row.setAttribute("aria-pressed", String(index === chosen));
  }

  function explain(at, byHand = false) {
    chosen = at;
    press();
    const tie = page.ties[at], { names } = page;
    if (byHand) given.keep({ [asked.side]: asked.id, with: tie.id });
    if (tie.id === MASK) {
      parts.why.say("Not shown: this key does not see who it is.");
      return null;
    }
    const [consumer, provider] = asked.side === "consumer" ? [asked.id, tie.id] : [tie.id, asked.id];
    // The explanation of another tie goes before this one comes.
    parts.why.clear();
    return parts.why.ask(given, (options) => get("relations",
      `/v1/relationships/${encodeURIComponent(consumer)}/${encodeURIComponent(provider)}`, {}, options),
    (found) => explained(found, { consumer: names.consumer(consumer), provider: names.provider(provider) }));
  }

  async function ties(options, cursor) {
    const found = await get("relations", "/v1/relationships", { [PATH[asked.side]]: asked.id, limit: MOST, cursor }, options);
    const names = {}, other = opposite(), ids = found.items.map((item) => item[PATH[other]]);
    names[other] = await naming(given, other, [...(page?.ties ?? []).map((tie) => tie.id), ...ids], options);
    names[asked.side] = await naming(given, asked.side, [asked.id], options);
    return { next: found.next, names, items: found.items, masked: found.masked, ties: [...(cursor ? page.ties : []),
      ...found.items.map((item) => ({ ...item, id: item[PATH[other]], name: names[other](item[PATH[other]]) }))] };
  }

  function show(found) {
    if (!found.ties.length) return null;
    page = found;
    asked.name = found.names[asked.side](asked.id);
    graph.heading.replaceChildren(`Strongest ties of ${asked.side} `, ...headed(asked.id, asked.name));
    shelves.list.replaceChildren(table(found.next ? `The strongest ${whole(found.ties.length)}; there are more`
      : `All ${whole(found.ties.length)}, strongest first`,
    [opposite() === "consumer" ? "Consumer" : "Provider", "Strength", "Relations", "Last"],
    found.ties.map((tie, at) => [h("button", { type: "button", "aria-pressed": "false", onclick: () => explain(at,
      true) }, who(tie.id, tie.name)), rounded(tie.strength), counted(tie.count), data(tie.last, tie.last.slice(0, 10))])));
    if (found.next) shelves.list.append(h("p", { class: "more" }, h("button", { type: "button",
      onclick: () => parts.ties.ask(given, (options) => ties(options, found.next), show).then(press) },
    "Show more")));
    return [[box, note], [shelves.list]];
  }

  async function load() {
    const mine = given, found = await parts.ties.ask(mine, (options) => ties(options, null), show);
    if (mine !== given || !found) return;
    if (!found.ties.length) {
      parts.why.say(`Nothing is known between ${asked.side} ${within(asked.id)} and anybody.`);
      return;
    }
    chosen = Math.max(0, page.ties.findIndex((tie) => tie.id === mine.state.own.with));
    draw();
    explain(chosen);
  }

  function suggest() {
    return parts.hints.ask(given, async (options) => {
      const found = await get("analytics", "/v1/measures/top-providers", { from: "1970-01-01", limit: SUGGESTED }, options);
      found.names = await naming(given, "provider", found.items.map((item) => item.provider_id), options);
      return found;
    }, ({ items, names }) => {
      if (!items.length) return null;
      known.replaceChildren(...items.map((item) => h("option", { value: item.provider_id,
        label: names(item.provider_id) ?? item.provider_id })));
      shelves.hints.replaceChildren(table(`Providers with the most relations of all time${items.length === SUGGESTED
        ? `, the first ${SUGGESTED}` : ""}`, ["Provider", "Relations"],
      items.map((item) => [h("button", { type: "button", onclick: () => open("provider", item.provider_id) },
        who(item.provider_id, names(item.provider_id))), counted(item.count)])));
      return [shelves.hints];
    });
  }

  return {
    filter(next) {
      given = next;
      page = null;
      known.replaceChildren();
      const { consumer, provider } = next.state.own;
      const start = (nextSide, id) => {
        asked = { side: nextSide, id, name: null };
        side = nextSide;
        input.value = id;
        sides.press(nextSide);
        graph.heading.replaceChildren(`Strongest ties of ${nextSide} `, ...headed(id));
        load();
      };
      if (consumer) start("consumer", consumer);
      else if (provider) start("provider", provider);
      else {
        input.value = "";
        graph.heading.textContent = "Strongest ties";
        parts.why.say("Choose a tie to read why it is strong.");
      }
      const hint = caller.may("analytics:read") ? suggest() : Promise.resolve(null);
      if (!consumer && !provider) hint.then((found) => {
        if (next !== given || next.signal.aborted) return;
        const first = found?.items[0]?.provider_id;
        if (first && first !== MASK) start("provider", first);
        else if (found && !first) parts.ties.say(`No relation is known yet. ${HOW}`);
        else parts.ties.say("Type the id of a provider or consumer above.");
      });
      return null;
    },
  };
}
