// What happened: figures that move, lists, cohorts, and which kinds of customers there are.

import { get } from "../api.js";
import { cohortTable, rfmTable } from "../charts/heat.js";
import { series } from "../charts/series.js";
import { behind, choice, counted, data, decimal, h, money, panel, percent, rounded, short, table, whole, words } from "../dom.js";
import { address, dayMs, following } from "../filter.js";

const REFRESH_MS = 5_000;

export function view(main) {
  let given = null, figures = null, measure = "count", currency = null, timer = null, marked = 0, took = 0,
      first = null;

  const tiles = h("dl", { class: "tiles", id: "figures" });
  const time = panel("series", "Day by day", "w8");
  const draw = series(time.body, "Figures day by day");
  const numbers = h("div");
  time.body.append(behind("series-data", numbers));
  time.tools.append(choice("What is drawn", { count: "Relations", consumers: "Consumers", amount: "Money",
      rating: "Ratings" },
    measure, (value) => {
      measure = value;
      if (figures) drawSeries();
    }));
  const top = panel("top-providers", "Top providers", "w4");
  const active = panel("activity", "Active consumers", "w8");
  const drawActive = series(active.body, "Active consumers day by day");
  const activeNumbers = h("div");
  active.body.append(behind("activity-data", activeNumbers));
  const rated = panel("ratings", "Best rated", "w4");
  const cohorts = panel("cohorts", "Retention", "w8");
  const rising = panel("rising", "Rising", "w4");
  const rfm = panel("rfm", "Kinds of customers (RFM)", "w6");
  const segments = panel("segments", "Their classes", "w6");
  const shelves = { top: h("div", { class: "list", tabindex: 0 }), rated: h("div", { class: "list", tabindex: 0 }),
    rising: h("div", { class: "list", tabindex: 0 }), cohorts: h("div", { class: "scroll tall", tabindex: 0 }),
    rfm: h("div", { class: "scroll tall", tabindex: 0 }), segments: h("div", { class: "scroll tall", tabindex: 0 }) };
  for (const [name, part] of Object.entries({ top, rated, rising, cohorts, rfm,
      segments })) part.body.append(shelves[name]);
  main.replaceChildren(tiles, ...[time, top, active, rated, cohorts, rising, rfm,
      segments].map((part) => part.element));
  drawTiles();

  function drawTiles() {
    const total = figures?.total, today = figures?.days.at(-1);
    const tile = (id, name, value, text, note) => h("div", { class: "tile", id: `tile-${id}` },
      h("dt", {}, name), h("dd", {}, total ? data(value, text) : "…"), h("dd", { class: "note" }, note || " "));
    const mean = total?.rating_count ? total.rating_sum / total.rating_count : null;
    const moneys = Object.entries(total?.amount ?? {}).sort(([, one], [, other]) => other - one).slice(0, 3);
    tiles.replaceChildren(
      tile("count", "Relations", total?.count, total && whole(total.count),
          total && `${figures.days.length} days have some`),
      tile("consumers", "Consumers, last day", today?.consumers ?? "",
          today?.consumers == null ? "–" : whole(today.consumers),
        today ? `on ${today.day}` : ""),
      ...(moneys.length ? moneys.map(([name, value]) => tile(`amount-${name}`, `Money, ${name}`, value, money(value,
          name, true), "net of refunds"))
        : [tile("amount", "Money", "", "–", "")]),
      tile("rating", "Mean rating", mean ?? "", decimal(mean), total && `${whole(total.rating_count)} ratings`));
  }

  // Every day of the period, those without relations too.
  function everyDay() {
    const known = new Map(figures.days.map((day) => [day.day, day])), all = [];
    for (let day = figures.first; day <= figures.last; day = following(day))
      all.push(known.get(day) ?? { day, count: 0, consumers: given.query.kind || given.query.category ? null : 0,
          amount: {}, rating_count: 0, rating_sum: 0 });
    return all;
  }

  function drawSeries() {
    const all = everyDay(), days = all.map((day) => day.day);
    const currencies = Object.keys(figures.total.amount).sort();
    const line = (name, value) => ({ name, values: all.map(value) });
    if (measure === "amount") {
      // Money of several currencies has no common scale: the largest is drawn, the table has all.
      const [largest] = Object.entries(figures.total.amount).sort(([, one], [, other]) => other - one);
      const name = largest?.[0];
      draw(days, name ? [line(name, (day) => day.amount[name] ?? 0)] : [], (value, brief) => name ? money(value, name,
          brief) : "");
    } else if (measure === "rating") {
      draw(days, [line("mean rating", (day) => (day.rating_count ? day.rating_sum / day.rating_count : null))],
          (value) => decimal(value));
    } else {
      draw(days, [line(measure === "count" ? "relations" : "consumers", (day) => day[measure])],
        (value, brief) => (brief ? short(value) : whole(value)));
    }
    numbers.replaceChildren(table("Per day (UTC)", ["Day", "Relations", "Consumers", "Ratings", "Mean rating",
        ...currencies],
      all.map((day) => [day.day, counted(day.count),
        day.consumers === null ? "–" : counted(day.consumers), counted(day.rating_count),
        data(day.rating_count ? day.rating_sum / day.rating_count : "",
            decimal(day.rating_count ? day.rating_sum / day.rating_count : null)),
        ...currencies.map((name) => data(day.amount[name] ?? 0, money(day.amount[name] ?? 0, name)))])));
  }

  const link = (provider) => h("a", { href: address({ ...given.state, view: "relationships", own: { provider } }),
      title: provider,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      given.go({ ...given.state, view: "relationships", own: { provider } });
    } }, provider);
  const gauge = (fraction) => {
    const bar = h("span");
    bar.style.width = `${Math.max(0, Math.min(1, fraction)) * 100}%`;
    return h("span", { class: "gauge", "aria-hidden": "true" }, bar);
  };

  // Asks, and puts what `show` makes of the answer into the shelf. Says it when there is nothing, or it fails.
  async function load(shelf, service, name, query, show) {
    const { options } = given;
    try {
      const answer = await get(service, `/v1/measures/${name}`, query, options);
      const content = show(answer);
      shelf.replaceChildren(content ?? h("p", { class: "note" }, "Nothing in this period."));
    } catch (error) {
      if (options.signal.aborted) return;
      shelf.replaceChildren(h("p", { class: "failed" }, `Not shown: ${error.message}`));
    }
  }

  const topList = ({ items, total }) => items.length ? table(`Most relations, of ${whole(total)}`,
    ["Provider", "Relations", "Share", ""],
    items.map((item) => [link(item.provider_id), counted(item.count), percent(item.share),
      gauge(item.count / items[0].count)])) : null;
  const ratedList = ({ items, mean }) => items.length ? table(`Bayesian mean; the mean of all is ${decimal(mean)}`,
    ["Provider", "Bayesian", "Mean", "Ratings"],
    items.map((item) => [link(item.provider_id), rounded(item.bayesian), rounded(item.mean),
        counted(item.rating_count)])) : null;
  const risingList = ({ items, days, baseline_days: before }) => items.length ? table(`${days} days against the ${before} before`,
    ["Provider", "Relations", "Before", "Ratio"],
    items.map((item) => [link(item.provider_id), counted(item.count), counted(item.baseline),
      item.ratio === null ? "new" : data(item.ratio, `× ${decimal(item.ratio)}`)])) : null;
  function showActivity({ items, consumers, relative_error: error }) {
    const lines = { dau: "on the day", wau: "in 7 days", mau: "in 30 days" };
    drawActive(items.map((day) => day.day),
      Object.entries(lines).map(([name, shown]) => ({ name: shown, values: items.map((day) => day[name]) })),
      (value, brief) => (brief ? short(value) : whole(value)));
    const about = error ? `, within ${percent(error)}` : "";
    return table(`${whole(consumers)} distinct consumers in the period${about}`, ["Day", "DAU", "WAU", "MAU",
        "Stickiness"],
      items.map((day) => [day.day, ...["dau", "wau", "mau"].map((name) => counted(day[name])),
          percent(day.stickiness)]));
  }
  const segmentTable = ({ items, currency: of }) => items.length ? table("Days since the last order and orders: means per consumer. Money: of all, net of refunds.", ["Class", "Consumers", "Share", "Days ago", "Orders", "Money"],
    items.map((item) => [words(item.segment), counted(item.consumers), percent(item.share),
      decimal(item.recency_days, 1), decimal(item.orders, 1), of ? data(item.money_minor, money(item.money_minor,
          of)) : "–"])) : null;

  const loadTop = () => load(shelves.top, "analytics", "top-providers", { ...given.query, limit: 10 }, topList);

  // The top list comes before the rest: it is in sight at once, and the others would slow it down.
  async function loadAll() {
    const { query, options } = given, narrowed = query.kind || query.category;
    const days = (dayMs(query.to) - dayMs(query.from)) / 86_400_000;
    const unit = days > 120 ? "month" : "week";
    // Analytics knows first relations of everything; of a kind or category the relations service does.
    const visits = narrowed ? "relations" : "analytics";
    const plain = { from: query.from, to: query.to };
    const period = narrowed ? query : plain;
    const lists = [[shelves.rated, "ratings", ratedList], [shelves.rising, "rising", risingList]];
    const jobs = lists.map(([shelf, name, show]) => () => load(shelf, "analytics", name, { ...query, limit: 10 },
        show));
    // These read every consumer's days: one after the other, so that a service that computes two at a time has
    // room for others.
    jobs.push(
      async () => {
        await load(activeNumbers, visits, "activity", period, showActivity);
        if (options.signal.aborted) return;
        await load(shelves.cohorts, visits, "cohorts", { ...period, unit },
            (found) => (found.items.length ? cohortTable(found) : null));
      },
      () => load(shelves.rfm, "relations", "rfm", { ...query, currency }, (found) => {
        shelves.segments.replaceChildren(segmentTable(found) ?? "");
        return found.consumers ? rfmTable(found) : null;
      }));
    const began = performance.now();
    await (first ?? loadTop());
    first = null;
    if (options.signal.aborted) return;
    await Promise.all(jobs.map((job) => job()));
    took = performance.now() - began;
  }

  // Lists follow the stream, but no more often than every few seconds, never while they are still loading, and
  // for at most a tenth of the time.
  function later() {
    if (timer !== null) return;
    const { signal } = given.options;
    timer = setTimeout(async () => {
      if (!signal.aborted) await loadAll();
      if (!signal.aborted) timer = null;
    }, Math.max(REFRESH_MS, 9 * took));
  }

  function tell(event, news) {
    if (event === "failed") {
      tiles.replaceChildren(h("p", { class: "failed" }, `Not shown: ${news.detail}`));
      return;
    }
    const before = figures;
    if (event === "change") {
      const days = new Map(figures.days.map((day) => [day.day, day]));
      for (const day of news.days) {
        if (day.count || day.rating_count || Object.keys(day.amount).length) days.set(day.day, day);
        else days.delete(day.day);
      }
      figures = { ...news, days: [...days.values()].sort((one, other) => (one.day < other.day ? -1 : 1)) };
    } else figures = news;
    drawTiles();
    drawSeries();
    if (event === "change") {
      for (const tile of tiles.children) tile.classList.add("moved");
      clearTimeout(marked);
      marked = setTimeout(() => [...tiles.children].forEach((tile) => tile.classList.remove("moved")), 900);
    }
    // All figures again: the stream was cut, and nobody knows what happened meanwhile.
    if (before !== null) later();
    // Money of customers is of one currency: the largest.
    const [largest] = Object.entries(figures.total.amount).sort(([, one], [, other]) => other - one);
    const wanted = largest?.[0] ?? null;
    if (before === null || wanted !== currency) {
      currency = wanted;
      loadAll();
    }
  }

  return {
    filter(next) {
      given = next;
      figures = null;
      currency = null;
      clearTimeout(timer);
      timer = null;
      first = loadTop();
      return { query: next.query, tell };
    },
  };
}
