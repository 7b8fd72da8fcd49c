// The figures of a period and their line: what the stream tells.

import { part } from "../answers.js";
import { buckets, mean, noted, sizeOf, sum } from "../buckets.js";
import { series } from "../charts/series.js";
import { behind, choice, counted, data, decimal, h, panel, plural, selection, short, table, whole } from "../dom.js";
import { following, today } from "../filter.js";
import { money, named, ranked } from "../money.js";

const MOST_MONEY = 3;
const TITLES = { day: "Day by day", week: "Week by week", month: "Month by month" };
const NAMES = { count: "relations", amount: "money", rating: "mean rating" };

export function figuresOf() {
  let figures = null, measure = "count", filter = null, marked = 0;
  const tiles = h("dl", { class: "tiles" }), holder = h("div", { class: "figures", id: "figures" });
  const time = panel("series", TITLES.day, "w8", "charted");
  const chart = series("Figures over time"), numbers = behind("series-data");
  const measures = choice("What is drawn", { count: "Relations", consumers: "Consumers", amount: "Money",
    rating: "Ratings" }, measure, (value) => {
    measure = value;
    // Before there are figures it is only chosen.
    if (figures !== null) drawSeries();
  });
  const currencies = selection("Currency", (currency) => {
    filter.set({ currency }, false);
    filter.state.currency = currency;
    if (figures !== null) drawSeries();
  });
  time.tools.append(currencies, measures);
  const shown = part([holder, time.body]);
  let known = () => {}, currenciesKnown = Promise.resolve([]);

  const currency = () => {
    const all = ranked(figures.total.amount);
    return all.includes(filter.state.currency) ? filter.state.currency : all[0];
  };
  // What is computed of a mask is masked, too.
  const rating = ({ rating_count: count, rating_sum: all }) => [count, all].find((one) => typeof one === "string")
    ?? (count ? Number(all) / Number(count) : null);

  // What does not fit into a tile is shortened; the exact sum is in the table.
  const wide = (minor, name) => {
    const text = money(minor, name);
    return text.length <= 14 ? text : money(minor, name, true);
  };

  function drawTiles() {
    const { total, days } = figures, last = days.at(-1), narrowed = filter.query.kind || filter.query.category;
    const tile = (id, name, value, text, note) => h("div", { class: "tile", id: `tile-${id}` },
      h("dt", {}, name), h("dd", {}, data(value ?? "", text)), h("dd", { class: "note" }, note || " "));
    const all = ranked(total.amount), moneys = all.slice(0, MOST_MONEY), others = all.slice(MOST_MONEY);
    const hidden = typeof total.amount === "string";
    tiles.replaceChildren(
      tile("count", "Relations", total.count, whole(total.count), `on ${plural(days.length, "day")}`),
      // Distinct consumers are kept by day for everything, not by kind or category.
      ...(narrowed ? [] : [tile("consumers", "Consumers, last day", last?.consumers, whole(last?.consumers),
        last ? `on ${last.day}${last.day >= today() ? ", so far" : ""}` : "")]),
      ...moneys.map((name) => tile(`amount-${name}`, `Money, ${named(name)}`, total.amount[name],
        wide(total.amount[name], name), "net of refunds")),
      ...(others.length ? [tile("amount-others", `Money, ${plural(others.length, "other currency", "other currencies")}`,
        others.join(" "), others.join(", "), "see the table below the line")] : []),
      ...(all.length ? [] : [tile("amount", "Money", "", hidden ? total.amount : "–",
        hidden ? "hidden from this key" : "no relation has any")]),
      tile("rating", "Mean rating", rating(total), decimal(rating(total)), plural(total.rating_count, "rating")));
    return [tiles];
  }

  // Every day of the period, those without relations too.
  function everyDay() {
    const known = new Map(figures.days.map((day) => [day.day, day])), all = [];
    const blank = { count: 0, consumers: filter.query.kind || filter.query.category ? null : 0, amount: {},
      rating_count: 0, rating_sum: 0 };
    for (let day = figures.first; day <= figures.last; day = following(day))
      all.push(known.get(day) ?? { ...blank, day });
    return all;
  }

  function offer() {
    const { total, days } = figures, all = ranked(total.amount);
    const there = [["count", true], ["consumers", days.some((day) => day.consumers !== null)],
      ["amount", all.length > 0], ["rating", total.rating_count > 0]];
    const values = there.filter(([, is]) => is).map(([name]) => name);
    if (!values.includes(measure)) measure = "count";
    measures.offer(values);
    measures.press(measure);
    currencies.offer(measure === "amount" ? all : [], currency());
    return all;
  }

  function drawSeries() {
    const all = offer(), size = sizeOf(figures.first, figures.last), money1 = currency();
    const parts = buckets(everyDay(), size, today());
    const per = size === "day" ? "" : `, mean of the ${size}'s days`;
    const values = {
      count: (one) => sum(one, (day) => day.count),
      consumers: (one) => mean(one, (day) => day.consumers),
      amount: (one) => sum(one, (day) => day.amount[money1]),
      rating: (one) => rating({ rating_count: sum(one, (day) => day.rating_count), rating_sum: sum(one,
        (day) => day.rating_sum) }),
    };
    const format = { count: (value, brief) => (brief ? short(value) : whole(value)),
      consumers: (value, brief) => (brief ? short(value) : decimal(value, size === "day" ? 0 : 1)),
      amount: (value, brief) => money(value, money1, brief), rating: (value, brief) => (brief ? short(value) : decimal(value)) };
    const name = { ...NAMES, amount: `money, ${named(money1)}`, consumers: `consumers a day${per}` };
    if (size === "day") name.consumers = "consumers";
    time.heading.textContent = TITLES[size];
    chart.draw(parts.map((one) => ({ name: noted(one, size), mark: one.mark, whole: one.whole })),
      [{ name: name[measure], values: parts.map(values[measure]) }], format[measure]);
    const total = (one, name2) => sum(one, (day) => day.amount[name2]);
    numbers.fill(table(`Per ${size} (UTC)${size === "day" ? "" : "; consumers are the mean of its days"}`,
      [size[0].toUpperCase() + size.slice(1), "Relations", "Consumers", "Ratings", "Mean rating", ...all.map(named)],
      parts.map((one) => [data(one.name, noted(one, size)), counted(values.count(one)),
        values.consumers(one) === null ? "–" : data(values.consumers(one), format.consumers(values.consumers(one))),
        counted(sum(one, (day) => day.rating_count)), data(values.rating(one) ?? "", decimal(values.rating(one))),
        ...all.map((each) => data(total(one, each), money(total(one, each), each)))])));
    return [chart.element, numbers.element];
  }

  function moved() {
    for (const tile of tiles.children) tile.classList.add("moved");
    clearTimeout(marked);
    marked = setTimeout(() => [...tiles.children].forEach((tile) => tile.classList.remove("moved")), 900);
  }

  return {
    panels: [holder, time.element],
    count: () => figures?.total.count,
    // The currencies of the filter, the largest first, once they are known.
    currencies: () => currenciesKnown,
    begin(next) {
      filter = next;
      figures = null;
      currenciesKnown = new Promise((resolve) => (known = resolve));
    },
    // What the stream tells of a filter; whether there are figures now.
    tell(of, event, news) {
      if (of !== filter) return false;
      if (event === "failed" || event === "away") {
        if (event === "failed") {
          figures = null;
          known([]);
          shown.refuse(filter, { message: news.detail, status: news.status ?? 400 });
        } else if (figures === null) shown.refuse(filter, { message: news.detail, status: 0 });
        return false;
      }
      if (event === "change" && figures === null) return false;
      if (event === "change") {
        const days = new Map(figures.days.map((day) => [day.day, day]));
        for (const day of news.days) {
          // A masked amount is a text.
          const money = typeof day.amount === "object" && Object.keys(day.amount).length;
          if (day.count || day.rating_count || money) days.set(day.day, day);
          else days.delete(day.day);
        }
        figures = { ...news, days: [...days.values()].sort((one, other) => (one.day < other.day ? -1 : 1)) };
      } else figures = news;
      known(ranked(figures.total.amount));
      shown.take(filter, figures, () => [drawTiles(), drawSeries()]);
      if (event === "change") moved();
      return true;
    },
  };
}
