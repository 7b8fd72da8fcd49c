// Who comes next for a consumer or provider, and why; who is similar; whom a provider calls first; and communities.

import { part } from "../answers.js";
import { get } from "../api.js";
import { choice, counted, data, further, h, isFew, isolated, panel, percent, plural, rounded, shelf, table, whole, words }
  from "../dom.js";
import { money, named } from "../money.js";
import { headed, MASK, naming, who } from "../names.js";
import { HOW } from "./emptiness.js";

const MOST = 12, GROUPS = 200, FIRST = 20, CURRENCY = /^[A-Z]{3}$/;
const PATH = { consumer: "consumer_id", provider: "provider_id" };
const other = (side) => (side === "consumer" ? "provider" : "consumer");
const title = { consumer: "Consumer", provider: "Provider" };
// Below five, consumers are not counted.
const people = (count) => (isFew(count) ? "fewer than 5" : counted(count));

export function view(main) {
  let given = null, asked = null, answer = null, chosen = 0, side = "consumer", grouped = FIRST;
  const next = panel("next", "Who comes next", "w6", "listed"), because = panel("because", "Why", "w6", "drawn");
  const similar = panel("similar", "Who is similar", "w6", "listed");
  const groups = panel("communities", "Communities", "w6", "listed");
  const calls = panel("calls", "Whom to call today", "", "listed");
  const shelves = { next: shelf("list", "Who comes next"), similar: shelf("list", "Who is similar"),
    groups: shelf("list", "Communities"), because: shelf("scroll", "Why"), calls: shelf("list", "Whom to call today") };
  const parts = { next: part([next.body], "Nobody comes next."), because: part([because.body], "Nothing to explain."),
    calls: part([calls.body], "There is nobody to call."),
    similar: part([similar.body], "Nobody is similar."), groups: part([groups.body], "No community has been found.") };
  const input = h("input", { id: "whom", dir: "auto", autocomplete: "off", required: true, size: 22 });
  const sides = choice("For whom", { consumer: "Consumer", provider: "Provider" }, side, (value) => (side = value));
  main.replaceChildren(h("form", { class: "search panel", id: "search", onsubmit: (event) => {
    event.preventDefault();
    if (input.value.trim()) open(side, input.value.trim());
  } }, h("div", {}, sides), h("label", {}, "Its id", input), h("button", { type: "submit", class: "main" }, "Show")),
  next.element, because.element, calls.element, similar.element, groups.element);
  const currency = h("input", { id: "currency", size: 4, maxlength: 3, placeholder: "EUR", autocomplete: "off",
    onchange: () => { currency.value = currency.value.trim().toUpperCase(); call(); } });
  calls.tools.replaceChildren(h("label", {}, "Value in money of ", currency));

  const open = (which, id) => given.go({ ...given.state, own: { [which]: id } });
  // The answers name providers. Names of consumers are asked for, as those whom a key may see.
  async function withNames(found, options, which) {
    const ids = which === "consumer" ? found.items.concat(found.popular ?? []).map((item) => item.consumer_id) : [];
    return { ...found, names: await naming(given, "consumer", ids, options) };
  }
  const nameOf = (found, which, item) => (which === "consumer" ? found.names(item.consumer_id) : item.name);
  // How many there are, of those that are shown.
  const first = (shown, all, one) => (all > shown ? `The first ${whole(shown)} of ${plural(all, one)}` : plural(shown, one));
  const link = (which, id, name) => (id === MASK ? who(id, name) : h("button", { type: "button", onclick: () => open(which, id) }, who(id, name)));

  function explain(at) {
    chosen = at;
    for (const [index, row] of shelves.next.querySelectorAll("tbody button").entries())
      row.setAttribute("aria-pressed", String(index === at));
    parts.because.take(given, answer, reasons);
  }

  // Each term with its points, and below them what led to those of the walk.
  function reasons(known) {
    const { items, popular } = known, far = other(asked.side);
    const found = items[chosen], id = found?.[PATH[far]];
    if (!found) return popular?.length ? [h("p", {}, "They are the most popular ones: their score is the number of ",
      "their relationships, because nothing better is known.")] : null;
    const through = asked.side === "consumer" ? "through what they know" : "through what this consumer knows";
    const terms = found.because ?? [], led = terms.filter((reason) => reason.via?.length);
    shelves.because.replaceChildren(
      table(`The score, ${short(found.score)}, is the sum of these points`, ["Term", "Points"],
        terms.map((reason) => [data(reason.term, words(reason.term)), points(reason.points)]), "terms"),
      ...led.map((reason) => table(`${words(reason.term)}: ${through}`,
        ["Provider", "Strength", "Consumers of both", "Points", "Share"],
        [...reason.via.map((via) => [link("provider", via.provider_id, via.name), rounded(via.strength),
          people(via.shared_consumers), points(via.points), share(via.points, reason.points)]),
        ...(reason.rest ? [[`${whole(reason.rest)} more`, "", "", points(reason.rest_points),
          share(reason.rest_points, reason.points)]] : [])], "via")));
    return [h("h3", {}, who(id, nameOf(known, far, found))), shelves.because];
  }
  const short = (value) => (typeof value === "number" ? value.toPrecision(3) : String(value));
  const points = (value) => data(value, short(value));
  // A masked one is no number.
  const share = (value, all) => (typeof value === "number" && all ? data(value / all, percent(value / all)) : "–");

  const heading = (name) => next.heading.replaceChildren(asked.side === "consumer" ? "Providers for "
    : "Consumers to win for ", ...headed(asked.id, name));

  function list(found) {
    answer = found;
    const rows = found.items.length ? found.items : found.popular ?? [], far = other(asked.side);
    heading(found.asked);
    if (!rows.length && !found.reason) return null;
    shelves.next.replaceChildren(...(found.reason ? [h("p", { class: "note" }, sentence(found.reason), " ",
      rows.length ? "These are the most popular ones instead." : "")] : []), ...(rows.length ? [table(
      first(rows.length, found.candidates, far),
      [title[far], found.items.length ? "Score" : "Relationships"],
      rows.map((item, at) => [h("button", { type: "button", "aria-pressed": "false", onclick: () => explain(at) },
        who(item[PATH[far]], nameOf(found, far, item))), found.items.length ? points(item.score)
        : people(item.relationships)]))] : []));
    return [shelves.next];
  }

  function alike(found) {
    if (!found.items.length) return null;
    const { length } = found.items;
    shelves.similar.replaceChildren(table(
      `${first(length, found.candidates, asked.side)} with the same ${other(asked.side)}s`,
      [title[asked.side], asked.side === "provider" ? "Consumers of both" : "Providers of both", "Score"],
      found.items.map((item) => [link(asked.side, item[PATH[asked.side]], nameOf(found, asked.side, item)),
        people(item.shared), points(item.score)])));
    return [shelves.similar];
  }

  function communities(found) {
    if (!found.items.length) return found.reason ? [h("p", { class: "note" }, sentence(found.reason))] : null;
    // Hidden from a key with masks, it is a text.
    const names = (shares) => Array.isArray(shares) ? shares.slice(0, 3).flatMap(({ name, providers }, at) =>
      [at ? ", " : "", isolated(name), ` (${whole(providers)})`]) : shares;
    const { items } = found, some = items.slice(0, grouped);
    const all = items.length === GROUPS ? `The first ${whole(GROUPS)} communities`
      : plural(items.length, "community", "communities");
    shelves.groups.replaceChildren(table(`${all}, largest first: who has more to do with each other, as of ${
      found.as_of.at.slice(0, 16).replace("T", " ")} UTC`,
    ["Community", "Consumers", "Providers", "Strongest", "Sells", "Where"],
    some.map((one) => [one.id, people(one.consumers), counted(one.providers),
      one.strongest.slice(0, 3).map((each) => link("provider", each.id, each.name)), names(one.categories),
      names(one.places)]), "groups"), further(items.length - some.length, () => {
      grouped = items.length;
      communities(found);
    }) ?? "");
    return [shelves.groups];
  }
  const sentence = (reason) => `${reason[0].toUpperCase()}${reason.slice(1)}.`;

  // Risk × value × affinity, of the consumers of a provider.
  function called(found) {
    if (!found.items.length) return [h("p", { class: "note" }, sentence(found.reason ?? "there is nobody to call"))];
    const value = (item) => (found.currency
      ? data(item.expected_value_minor, money(Math.round(item.expected_value_minor), found.currency))
      : rounded(item.expected_weight));
    shelves.calls.replaceChildren(table(
      `${first(found.items.length, found.candidates, "consumer")}, by risk × value × affinity`,
      ["Consumer", "Risk", found.currency ? `Value, ${named(found.currency)}` : "Value (weights)", "Affinity", "Months",
        "Last month"],
      found.items.map((item) => [link("consumer", item.consumer_id, nameOf(found, "consumer", item)), risk(item.risk),
        value(item),
        points(item.affinity), counted(item.months), item.last_month])));
    return [shelves.calls];
  }

  // Small ones differ, too.
  const risk = (value) => data(value, `${Number((value * 100).toPrecision(2))}%`);

  function call() {
    calls.element.hidden = asked?.side !== "provider";
    if (calls.element.hidden) return;
    const wanted = currency.value.trim();
    if (wanted && !CURRENCY.test(wanted)) return parts.calls.say("A currency has three letters, such as EUR.");
    parts.calls.ask(given, async (options) => withNames(await get("intelligence", "/v1/next",
      { provider_id: asked.id, limit: MOST, ...(wanted ? { currency: wanted } : {}) }, options), options, "consumer"),
    called);
  }

  async function load() {
    call();
    const mine = given, whose = { [PATH[asked.side]]: asked.id, limit: MOST };
    parts.similar.ask(given, async (options) => withNames(await get("intelligence", "/v1/similar", whose, options), options,
        asked.side), alike);
    const found = await parts.next.ask(given, async (options) => {
      const answered = await get("intelligence", "/v1/recommendations", { ...whose, record: false }, options);
      const names = await naming(given, asked.side, [asked.id], options);
      return { ...await withNames(answered, options, other(asked.side)), asked: names(asked.id) };
    }, list);
    if (mine === given && found) explain(0);
    else if (mine === given) parts.because.say("Nothing to explain.");
  }

  return {
    filter(now) {
      given = now;
      answer = asked = null;
      chosen = 0;
      grouped = FIRST;
      calls.element.hidden = true;
      const { consumer, provider } = now.state.own;
      parts.groups.ask(given, (options) => get("intelligence", "/v1/communities", { limit: GROUPS }, options), communities);
      if (consumer || provider) {
        asked = consumer ? { side: "consumer", id: consumer } : { side: "provider", id: provider };
        side = asked.side;
        sides.press(side);
        input.value = asked.id;
        heading(null);
        load();
        return null;
      }
      input.value = "";
      next.heading.textContent = "Who comes next";
      for (const each of [parts.because, parts.similar]) each.say("Choose a consumer or provider.");
      // A first one to look at: the most central provider.
      const mine = given;
      parts.next.ask(given, (options) => get("intelligence", "/v1/central", { by: "degree", limit: MOST }, options),
        ({ items }) => {
          if (!items.length) return null;
          shelves.next.replaceChildren(table(`Start with one of the ${
            plural(items.length, "provider")} with the most relationships`, ["Provider",
            "Relationships"], items.map((item) => [link("provider", item.id, item.name), people(item.relationships)])));
          return [shelves.next];
        }).then((found) => mine === given && found?.items.length === 0
          && parts.next.say(`No relation is known yet. ${HOW}`));
      return null;
    },
  };
}
