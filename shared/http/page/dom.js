// Elements, and numbers as people read them.

import { isNumber } from "./exact.js";

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

// Numbers; what is none is shown as it is: a mask, or a dash where nothing is known.
const shown = (format) => (value, ...more) => (isNumber(value) ? format(value, ...more)
  : String(value ?? "–"));
export const whole = shown((number) => WHOLE.format(number));
export const short = shown((number) => (Math.abs(Number(number)) < 10_000 ? WHOLE.format(number) : SHORT.format(number)));
export const decimal = shown((number, digits = 2) =>
  number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
export const percent = shown((fraction, digits = 1) =>
  fraction.toLocaleString("en", { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }));
// A number of people that is too small to be shown.
export const isFew = (value) => value === "few";
export const words = (name) => name.replaceAll("_", " ");
export const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;

// Names and ids are of any script: one that is written from right to left must not change the order of what is around it.
export const isolated = (text, attributes) => h("bdi", attributes, text);
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
// The same within one text, as of a title.
export const within = (text) => (RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text);

// What a table shows, beside the exact value behind it.
export const data = (value, text = String(value)) => h("data", { value }, isolated(text));
export const counted = (value) => data(value, whole(value));
export const rounded = (value) => data(value ?? "", decimal(value));

const celled = (cell) => (Array.isArray(cell) ? cell.map(celled) : typeof cell === "string" ? isolated(cell) : cell);

export function table(caption, columns, rows, kind) {
  return h("table", { class: kind },
    caption && h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {}))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
      at === 0 ? h("th", { scope: "row" }, celled(cell)) : h("td", {}, celled(cell)))))));
}

// A scrolling place for a table; it can be reached and scrolled by keyboard. The panel around it is the landmark.
export const shelf = (kind, label, ...content) => h("div", { class: kind, tabindex: 0, role: "group",
  "aria-label": label }, ...content);

// Behind a table that does not show everything: how many more there are, and a way to see them.
export function further(more, act, note = "") {
  return more > 0 ? h("p", { class: "more" }, h("button", { type: "button", onclick: act }, `Show ${whole(more)} more`),
    note) : null;
}

// The numbers of a chart, for those who cannot see it or want them exactly. `fill(...nodes)` renews them.
export function behind(id) {
  const scroll = shelf("scroll", "The numbers as a table");
  return { element: h("details", { id }, h("summary", {}, "The numbers as a table"), scroll),
    fill: (...nodes) => scroll.replaceChildren(...nodes) };
}

export function panel(id, title, width, kind = "") {
  const body = h("div", { class: `body ${kind}` }), tools = h("div", { class: "tools" });
  const heading = h("h2", { id: `${id}-title` }, title);
  const element = h("section", { id, class: `panel ${width}`, "aria-labelledby": `${id}-title` },
    h("div", { class: "head" }, heading, tools), body);
  return { element, body, tools, heading };
}

// Instead of a page, or above one: what there is to say, and what can be done.
export const notice = (title, text, ...actions) => h("section", { class: "panel notice" }, h("h2", {}, title),
  h("p", {}, text), actions.length ? h("div", { class: "tools" }, actions) : null);

// One of several, as buttons. `offer(values)` leaves out those that would do nothing.
export function choice(label, options, chosen, change) {
  const buttons = Object.entries(options).map(([value, text]) =>
    h("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), onclick: () => {
      element.press(value);
      change(value);
    } }, text));
  const element = h("div", { class: "tools", role: "group", "aria-label": label }, buttons);
  element.press = (value) => buttons.forEach((button) => button.setAttribute("aria-pressed",
      String(button.dataset.value === value)));
  element.offer = (values) => {
    for (const button of buttons) button.hidden = !values.includes(button.dataset.value);
    element.hidden = values.length < 2;
  };
  return element;
}

// One of several that are known only later.
export function selection(label, change) {
  const select = h("select", { "aria-label": label, onchange: () => change(select.value) });
  select.hidden = true;
  select.offer = (values, chosen) => {
    const known = [...select.options].map(({ value }) => value);
    if (known.join() !== values.join()) select.replaceChildren(...values.map((value) => h("option", { value }, value)));
    if (chosen) select.value = chosen;
    select.hidden = values.length < 2;
  };
  return select;
}

// A button that copies `text()`, which `place` shows.
export function copier(text, place, label) {
  const button = h("button", { type: "button", class: "copy", "aria-label": label, title: "Copy",
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(text());
        button.dataset.state = "done";
      } catch {
        // Where the browser does not let a page copy, the text is selected for Ctrl-C.
        getSelection().selectAllChildren(place);
        button.dataset.state = "selected";
      }
      setTimeout(() => delete button.dataset.state, 1_500);
    } }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: "M5 5h8v9H5zM3 11V2h8" })));
  return button;
}

// An id, or another text that people carry elsewhere: whole, and with a button that copies it.
export function copyable(text, name) {
  const shownText = isolated(text, { class: "code" });
  return h("span", { class: "copyable" }, shownText, copier(() => text, shownText, `Copy ${name} ${text}`));
}
