// Tables whose cells are coloured by value. They are the table for screen readers at the same time.

import { counted, data, h, percent, plural, short, whole, words } from "../dom.js";

const level = (fraction) => (Number.isFinite(fraction) ? `heat-${Math.max(0, Math.min(9, Math.floor(fraction * 10)))}` : "");

// Of those who came first in one bucket, the fraction that came 0, 1, 2 … buckets later.
export function cohortTable({ unit, items, average, running }) {
  const width = Math.max(...items.map((item) => item.active.length));
  const columns = Array.from({ length: width }, (_, at) => `+${at}`);
  const blank = (from) => columns.slice(from).map(() => h("td", {}));
  return h("table", { class: "heat" },
    h("caption", {}, `Consumers by the ${unit} of their first relation: how many came again so many ${unit}s later.`,
      running ? ` Dashed: of a ${unit} that has not ended.` : ""),
    h("thead", {}, h("tr", {}, [`First ${unit}`, "Consumers", ...columns].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {},
      items.map(({ cohort, size, active, retention }) => h("tr", {},
        h("th", { scope: "row" }, cohort), h("td", {}, counted(size)),
        retention.map((fraction, at) => h("td", { class: `${level(at === 0 ? 0.99 : fraction)}${running
          && at === retention.length - 1 ? " open" : ""}`,
          title: `${whole(active[at])} of ${whole(size)}` }, data(active[at], percent(fraction, 0)))),
        blank(retention.length))),
      h("tr", {}, h("th", { scope: "row" }, "All"), h("td", {}),
        average.map((fraction) => h("td", {}, percent(fraction, 0))), blank(average.length))));
}

const CLASSES = [
  ["hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"],
  ["hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"],
  ["about_to_sleep", "about_to_sleep", "need_attention", "loyal", "loyal"],
  ["promising", "potential_loyalists", "potential_loyalists", "loyal", "loyal"],
  ["new", "potential_loyalists", "potential_loyalists", "champions", "champions"],
];

// Consumers by recency (up: came last most recently) and frequency (right: came most often).
export function rfmTable({ grid, consumers, currency, other_currencies: others = [], left_out: left = 0 }) {
  const of = currency ? ` in ${currency}` : "";
  const rest = others.length ? ` ${left ? `${plural(left, "consumer")} with orders only in ${others.map((one) =>
    one.currency).join(", ")} ${left === 1 ? "is" : "are"} not counted.` : `Orders in ${others.map((one) =>
    one.currency).join(", ")} are not counted.`}` : "";
  const most = Math.max(1, ...grid.flat());
  return h("table", { class: "heat rfm" },
    h("caption", {}, `${plural(consumers, "consumer")} with an order${of}.${rest} Up: came last more recently. Right: ordered more often.`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col", title: "Recency and frequency, 1 to 5" }, "R \\ F"), [1, 2, 3, 4, 5].map((f) => h("th",
        { scope: "col" }, f)))),
    h("tbody", {}, [5, 4, 3, 2, 1].map((r) => h("tr", {}, h("th", { scope: "row" }, r),
      grid[r - 1].map((count, at) => h("td", { class: level(count ? 0.1 + (0.89 * count) / most : 0) },
        h("b", {}, data(count, count < 1e6 ? whole(count) : short(count))), words(CLASSES[r - 1][at])))))));
}
