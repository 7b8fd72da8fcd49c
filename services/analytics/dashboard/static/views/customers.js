// People: how many are active, who comes again, and which kinds of customers there are.

import { part } from "../answers.js";
import { get } from "../api.js";
import { buckets, mean, noted, sizeOf } from "../buckets.js";
import { cohortTable, rfmTable } from "../charts/heat.js";
import { series } from "../charts/series.js";
import { behind, counted, data, decimal, panel, percent, plural, selection, shelf, short, table, whole, words } from "../dom.js";
import { daysBetween, today } from "../filter.js";
import { money, named } from "../money.js";

const LINES = { dau: "on the day", wau: "in 7 days", mau: "in 30 days" };

export function customers(caller) {
  const active = panel("activity", "Active consumers", "w8", "charted");
  const chart = series("Active consumers over time"), numbers = behind("activity-data");
  const cohorts = panel("cohorts", "Retention", "w8", "tall"), cohortShelf = shelf("scroll tall", "Retention");
  const rfm = panel("rfm", "Kinds of customers (RFM)", "w6", "tall");
  const segments = panel("segments", "Their classes", "w6", "tall");
  const shelves = [shelf("scroll whole", "Kinds of customers"), shelf("scroll whole", "Their classes")];
  const parts = { active: part([active.body]), cohorts: part([cohorts.body], "Nobody came for the first time in this period."),
    rfm: part([rfm.body, segments.body], "No orders in this period.") };
  let given = null, moneys = Promise.resolve([]);
  const currencies = selection("Currency", (currency) => {
    given.set({ currency }, false);
    given.state.currency = currency;
    parts.rfm.clear();
    loadRfm(given);
  });
  rfm.tools.append(currencies);

  function showActivity({ items, consumers, relative_error: error }) {
    const first = items[0].day, last = items.at(-1).day, size = sizeOf(first, last);
    const found = buckets(items, size, today()), format = (value, brief) => (brief ? short(value)
      : decimal(value, size === "day" ? 0 : 1));
    const of = (one, name) => mean(one, (day) => day[name]);
    chart.draw(found.map((one) => ({ name: noted(one, size), mark: one.mark, whole: one.whole })),
      Object.entries(LINES).map(([name, text]) => ({ name: text, values: found.map((one) => of(one, name)) })), format);
    const about = error ? `, within ${percent(error)}` : "", per = size === "day" ? "" : `; means of the ${size}'s days`;
    numbers.fill(table(`${plural(consumers, "distinct consumer")} in the period${about}${per}`,
      [size[0].toUpperCase() + size.slice(1), "On the day", "In 7 days", "In 30 days", "Day of 30 days"],
      found.map((one) => [data(one.name, noted(one, size)), ...Object.keys(LINES).map((name) => data(of(one, name),
        format(of(one, name)))), percent(of(one, "stickiness"))])));
    return [chart.element, numbers.element];
  }

  function segmentTable({ items, currency: of }) {
    return table(`Days since the last order, and orders: means per consumer.${of ? ` Money: ${named(of)}, net of refunds.` : ""}`,
      ["Class", "Consumers", "Share", "Days ago", "Orders", ...(of ? [`Money, ${named(of)}`] : [])],
      items.map((item) => [words(item.segment), counted(item.consumers), percent(item.share),
        decimal(item.recency_days, 1), decimal(item.orders, 1), ...(of ? [data(item.money_minor, money(item.money_minor, of))] : [])]));
  }

  // Analytics knows first relations of everything; of a kind or category the relations service does.
  const visits = ({ query }) => (query.kind || query.category ? ["relations", query]
    : ["analytics", { from: query.from, to: query.to }]);

  function loadActive(filter) {
    const [service, query] = visits(filter);
    return parts.active.ask(filter, (options) => get(service, "/v1/measures/activity", query, options),
      (answer) => (answer.items.length && answer.consumers !== 0 ? showActivity(answer) : null));
  }

  function loadCohorts(filter) {
    const [service, query] = visits(filter), long = daysBetween(filter.query.from, filter.query.to) > 120;
    return parts.cohorts.ask(filter, (options) => get(service, "/v1/measures/cohorts", { ...query,
      unit: long ? "month" : "week" }, options), (answer) => {
      if (!answer.items.length) return null;
      cohortShelf.replaceChildren(cohortTable(answer));
      return [cohortShelf];
    });
  }

  async function rfmOf(filter, options) {
    // Money of several currencies is never added up: one counts, and the answer says which.
    const all = await moneys, chosen = filter.state.currency;
    const currency = all.includes(chosen) ? chosen : all[0];
    const answer = await get("relations", "/v1/measures/rfm", { ...filter.query, currency }, options);
    return { ...answer, other_currencies: all.filter((one) => one !== answer.currency).map((one) => ({ currency: one })) };
  }

  function loadRfm(filter) {
    return parts.rfm.ask(filter, (options) => rfmOf(filter, options), (answer) => {
      const all = [answer.currency, ...(answer.other_currencies ?? []).map(({ currency }) => currency)];
      currencies.offer(all.filter((one, at) => one && all.indexOf(one) === at).sort(), answer.currency);
      if (!answer.consumers) return null;
      shelves[0].replaceChildren(rfmTable(answer));
      shelves[1].replaceChildren(segmentTable(answer));
      return [[shelves[0]], [shelves[1]]];
    });
  }

  return {
    active: active.element,
    cohorts: cohorts.element,
    rfm: caller.may("relations:read") ? [rfm.element, segments.element] : [],
    // The first two read every consumer's days: one after the other, so that a service that computes two at a time
    // has room for others.
    load(filter, known) {
      given = filter;
      moneys = known;
      const [service] = visits(filter), may = caller.may(service === "relations" ? "relations:read" : "analytics:read");
      const refused = "Of a kind or category, this needs the scope relations:read, which the key lacks.";
      const people = may ? loadActive(filter).then(() => filter.signal.aborted || loadCohorts(filter))
        : [parts.active, parts.cohorts].forEach((one) => one.say(refused));
      return [people, ...(caller.may("relations:read") ? [loadRfm(filter)] : [])];
    },
  };
}
