// Providers in order: the top, the best rated, those that rise.

import { part } from "../answers.js";
import { get } from "../api.js";
import { counted, data, decimal, further, h, panel, percent, plural, rounded, shelf, table, whole } from "../dom.js";
import { address, daysBetween, following, today } from "../filter.js";
import { called, naming, who } from "../names.js";

// Asked for at most, and drawn at first.
const MOST = 1_000, FIRST = 25;

export function lists() {
  const panels = { top: panel("top-providers", "Top providers", "w4", "listed"),
    rated: panel("ratings", "Best rated", "w4", "listed"), rising: panel("rising", "Rising", "w4", "listed") };
  const nothing = { rated: "No ratings in this period.",
    rising: "No provider has more relations than before, or enough of them to compare." };
  const parts = {}, shelves = {}, drawn = {};
  for (const [name, { body }] of Object.entries(panels)) {
    parts[name] = part([body], nothing[name]);
    shelves[name] = shelf("list", panels[name].heading.textContent);
    drawn[name] = FIRST;
  }

  function link(filter, id, name) {
    if (id === "•••" || !filter.caller.may("relations:read")) return who(id, name);
    const to = { ...filter.state, view: "relationships", own: { provider: id } };
    return h("a", { href: address(to), title: called(id, name), onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      filter.go(to);
    } }, who(id, name));
  }

  // `rows(item, first)` gives the cells beside the provider; `caption(answer)` what the table is.
  function list(name, filter, question, caption, columns, cells) {
    const ask = (query, options) => get("analytics", `/v1/measures/${query.name}`, { ...query, name: null, limit: MOST }, options);
    return parts[name].ask(filter, async (options) => {
      const answer = await question(options, ask);
      if (!answer.items?.length) return answer;
      answer.names = await naming(filter, "provider", answer.items.slice(0, drawn[name]).map((item) =>
        item.provider_id), options);
      return answer;
    }, (answer) => {
      if (answer.instead) return [h("p", { class: "note" }, answer.instead)];
      const { items, names } = answer, some = items.slice(0, drawn[name]);
      if (!items.length) return null;
      shelves[name].replaceChildren(table(caption(answer), ["Provider", ...columns], some.map((item) =>
        [link(filter, item.provider_id, names(item.provider_id)), ...cells(item, items[0])])),
        further(items.length - some.length, () => {
          drawn[name] = items.length;
          list(name, filter, question, caption, columns, cells);
        }) ?? h("p", { class: "note" }, items.length === MOST ? `The first ${whole(MOST)}; there may be more.` : ""));
      return [shelves[name]];
    });
  }

  const gauge = (fraction) => {
    const bar = h("span");
    bar.style.width = `${Math.max(0, Math.min(1, fraction)) * 100}%`;
    return h("span", { class: "gauge", "aria-hidden": "true" }, bar);
  };
  const loadTop = (filter) => list("top", filter, (options, ask) => ask({ name: "top-providers", ...filter.query }, options),
    ({ items, total_count: total }) => `${count(items)}, most relations first; ${whole(total)} in all`, ["Relations", "Share", ""],
    (item, first) => [counted(item.count), percent(item.share), gauge(item.count / first.count)]);
  const loadRated = (filter) => list("rated", filter, (options, ask) => ask({ name: "ratings", ...filter.query }, options),
    ({ items, mean }) => `${count(items)}. The average leans towards ${decimal(mean)}, the mean of all, where ratings are few`,
    ["Average", "Mean", "Ratings"],
    (item) => [rounded(item.bayesian), rounded(item.mean), counted(item.rating_count)]);
  const count = (items) => (items.length === MOST ? `The first ${whole(MOST)} providers`
    : plural(items.length, "provider"));

  // Equal spans: as many complete days as there are before them. The running day is no day to compare, and where the
  // data begins too late for the whole period, both spans are shorter.
  async function compared(filter) {
    const extent = await filter.extent, now = today();
    const to = filter.query.to < following(now) ? filter.query.to : now;
    const from = extent?.first > filter.query.from ? extent.first : filter.query.from;
    const known = extent?.first ? daysBetween(extent.first, to) : 0;
    const days = Math.min(daysBetween(from, to), known), long = days * 2 <= known ? days : Math.floor(known / 2);
    return long >= 1 ? { from: following(to, -long), to, baseline_days: long } : null;
  }
  const loadRising = (filter) => list("rising", filter, async (options, ask) => {
    const spans = await compared(filter);
    if (spans === null) return { instead: await filter.extent === null ? "How far the data goes is hidden from this key."
      : "There are no two complete days of data to compare." };
    const found = await ask({ name: "rising", ...filter.query, ...spans }, options);
    // Of the answer, which goes on to those that fall, the ones that are new or rise.
    return { ...found, items: found.items.filter(({ ratio }) => typeof ratio !== "number" || ratio > 1), spans };
  }, ({ items, spans }) => `${count(items)}: ${spans.from} – ${following(spans.to, -1)} (${plural(spans.baseline_days,
    "complete day")}) against the ${spans.baseline_days === 1 ? "day" : `${whole(spans.baseline_days)} days`} before`,
  ["Relations", "Before", "Ratio"], (item) => [counted(item.count), counted(item.baseline),
    item.ratio === null ? "new" : data(item.ratio, `× ${decimal(item.ratio)}`)]);

  return { top: panels.top.element, rated: panels.rated.element, rising: panels.rising.element, loadTop,
    load: (filter) => [loadRated(filter), loadRising(filter)] };
}
