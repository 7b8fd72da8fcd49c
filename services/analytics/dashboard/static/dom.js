// Elements, and numbers as people read them.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const whole = (number) => WHOLE.format(number);
export const short = (number) => (Math.abs(number) < 10_000 ? WHOLE.format(number) : SHORT.format(number));
export const decimal = (number, digits = 2) =>
  number === null || number === undefined ? "–" : number.toLocaleString("en", { maximumFractionDigits: digits });
export const percent = (fraction, digits = 1) =>
  fraction === null || fraction === undefined
    ? "–"
    : fraction.toLocaleString("en", { style: "percent", maximumFractionDigits: digits });
export const words = (name) => name.replaceAll("_", " ");

// Money comes in minor units: 1250 of EUR is €12.50, of JPY ¥1,250.
export function money(minor, currency, compact = false) {
  const style = { style: "currency", currency };
  const digits = new Intl.NumberFormat("en", style).resolvedOptions().maximumFractionDigits;
  const shape = compact && Math.abs(minor) >= 10 ** (digits + 4)
    ? { ...style, notation: "compact", maximumFractionDigits: 1 }
    : style;
  return new Intl.NumberFormat("en", shape).format(minor / 10 ** digits);
}

// What a table shows, beside the exact value behind it.
export const data = (value, text = String(value)) => h("data", { value }, text);

export const counted = (value) => data(value, whole(value));
export const rounded = (value) => data(value, decimal(value));

export function table(caption, columns, rows, kind) {
  return h("table", { class: kind },
    caption && h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
      at === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell))))));
}

// The numbers of a chart, for whoever cannot see it or wants them exactly.
export const behind = (id, content) =>
  h("details", { id }, h("summary", {}, "The numbers as a table"), h("div", { class: "scroll", tabindex: 0 }, content));

export function panel(id, title, width, ...content) {
  const body = h("div", { class: "body" }, ...content);
  const tools = h("div", { class: "tools" });
  const element = h("section", { id, class: `panel ${width}`, "aria-labelledby": `${id}-title` },
    h("div", { class: "head" }, h("h2", { id: `${id}-title` }, title), tools), body);
  return { element, body, tools };
}

// One of several, as buttons.
export function choice(label, options, chosen, change) {
  const buttons = Object.entries(options).map(([value, text]) =>
    h("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
      change(value);
    } }, text));
  return h("div", { class: "tools", role: "group", "aria-label": label }, buttons);
}
