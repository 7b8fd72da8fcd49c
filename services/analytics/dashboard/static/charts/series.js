// Lines over time, with a cursor for the pointer and the arrow keys.

import { h, svg } from "../dom.js";
import { isNumber } from "../exact.js";

const RIGHT = 12, TOP = 10, BOTTOM = 26, HEIGHT = 260, LETTERS = "12px";

// Round values around 0 and all others: 0, 5, 10 …, or −5, 0, 5 where refunds outweigh the sales of a day.
// `whole`: there is nothing between whole numbers.
export function ticks(lowest, highest, whole = false, most = 5) {
  if (!(highest > lowest)) return [0, 1];
  const rough = (highest - lowest) / most, power = 10 ** Math.floor(Math.log10(rough));
  const fitting = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const step = whole ? Math.max(1, fitting) : fitting;
  const found = [];
  for (let at = Math.floor(lowest / step); at * step < highest + step; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

// Consecutive points as one path, for the steps (from one point to the next) that `wanted` lets through.
function path(values, x, y, wanted) {
  let d = "", open = false;
  values.forEach((value, at) => {
    if (value === null) {
      open = false;
      return;
    }
    const joined = open && wanted(at - 1, at);
    const starts = !joined && values[at + 1] != null && at + 1 < values.length && wanted(at, at + 1);
    const alone = wanted(at, at) && values[at - 1] == null && values[at + 1] == null;
    if (joined) d += `L${x(at).toFixed(1)},${y(value).toFixed(1)}`;
    // A point without neighbours would be no line at all.
    else if (starts || alone) d += `M${x(at).toFixed(1)},${y(value).toFixed(1)}${alone ? "h.01" : ""}`;
    open = true;
  });
  return d;
}

// A chart: `element`, and `draw(points, lines, format)`. `points`: [{name, mark, whole}], where `mark` stands below the
// axis, and `whole` is false for a time that is not over (drawn as such); `lines`: [{name, values}] with a value, or
// null, for each point; `format(value, brief)` makes texts of values.
export function series(label, unfinished = "not complete yet", empty = " ") {
  const readout = h("p", { class: "readout", "aria-live": "polite" }, empty);
  const legend = h("div", { class: "legend" });
  const box = h("div", { class: "chart" });
  const element = h("div", {}, legend, box, readout);
  const ruler = document.createElement("canvas").getContext("2d");
  let given = { points: [], lines: [], format: String }, at = null, chart = null, left = 52;

  const width = () => Math.max(box.clientWidth, 200);
  // A point without others stands in the middle.
  const x = (index) => left + (width() - left - RIGHT) * (given.points.length > 1 ? index / (given.points.length - 1) : 0.5);

  function read(index) {
    at = Math.max(0, Math.min(given.points.length - 1, index));
    const values = given.lines.map(({ name, values: all }) => `${name} ${all[at] === null ? "–"
      : given.format(all[at])}`);
    readout.textContent = `${given.points[at].name}: ${values.join(" · ")}`;
    const cursor = chart.querySelector(".cursor");
    cursor.setAttribute("x1", x(at));
    cursor.setAttribute("x2", x(at));
    cursor.removeAttribute("visibility");
  }

  function draw() {
    const { points, lines, format } = given, floor = HEIGHT - BOTTOM;
    const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
    const scale = ticks(Math.min(0, ...values), Math.max(0, ...values),
      values.every(Number.isInteger)), bottom = scale[0], range = scale.at(-1) - bottom;
    const y = (value) => floor - ((value - bottom) / range) * (floor - TOP);
    // Room for the widest text beside the axis, sign of the currency included.
    const texts = scale.map((value) => format(value, true));
    ruler.font = `${LETTERS} ${getComputedStyle(box).fontFamily}`;
    left = Math.max(40, Math.ceil(Math.max(...texts.map((text) => ruler.measureText(text).width))) + 14);
    const widest = Math.max(40, ...points.map(({ mark }) => ruler.measureText(mark).width)) + 18;
    const every = Math.max(1, Math.ceil((points.length * widest) / (width() - left - RIGHT)));
    const over = points.map(({ whole: is }) => is !== false);
    const both = (one, other) => over[one] && over[other];
    const first = lines[0]?.values ?? [], end = over.lastIndexOf(true), start = over.indexOf(true);
    const next = svg("svg", { viewBox: `0 0 ${width()} ${HEIGHT}`, role: "img", tabindex: 0,
      "aria-label": `${label}. The arrow keys read it point by point; the table below has the numbers.`,
      onpointermove: (event) => {
        const place = (event.clientX - chart.getBoundingClientRect().left) * (width() / chart.clientWidth);
        if (points.length) read(Math.round(((place - left) / (width() - left - RIGHT)) * (points.length - 1)));
      },
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
        if (step === undefined || !points.length) return;
        event.preventDefault();
        read((at ?? (step > 0 ? -1 : points.length)) + step);
      } },
      scale.map((value, index) => [
        svg("line", { class: value === 0 ? "grid zero" : "grid", x1: left, x2: width() - RIGHT, y1: y(value), y2: y(value) }),
        svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, texts[index]),
      ]),
      points.map(({ mark }, index) => index % every === 0 && (index + every / 2 < points.length || index === 0)
        && (index !== every || x(every) - x(0) > 1.4 * widest || left >= widest / 2)
        ? svg("text", { x: x(index), y: HEIGHT - 8, "text-anchor": x(index) < widest / 2 ? "start"
            : index > 0 && index === points.length - 1 ? "end" : "middle" }, mark) : null),
      end > start && first.slice(start, end + 1).every((value) => value !== null)
        ? svg("path", { class: "area", d: `${path(first, x, y, both)}L${x(end)},${y(0)}L${x(start)},${y(0)}Z` }) : null,
      lines.map(({ values: all }, index) => {
        const open = path(all, x, y, (one, other) => !both(one, other));
        return [svg("path", { class: `series s${index}`, d: path(all, x, y, both) }),
          open && svg("path", { class: `series unfinished u${index}`, d: open }),
          all.map((value, place) => (value === null || over[place] ? null
            : svg("circle", { class: `open u${index}`, cx: x(place).toFixed(1), cy: y(value).toFixed(1), r: 3.5 })))];
      }),
      svg("line", { class: "cursor", y1: TOP, y2: floor, visibility: "hidden" }));
    const focused = chart !== null && chart === document.activeElement;
    box.replaceChildren(next);
    chart = next;
    if (focused) chart.focus({ preventScroll: true });
    if (at !== null && points.length) read(at);
  }

  new ResizeObserver(() => box.isConnected && draw()).observe(box);
  return { element, draw(points, lines, format) {
    if (points.length !== given.points.length || points[0]?.name !== given.points[0]?.name) {
      at = null;
      readout.textContent = points.length ? " " : empty;
    }
    // What is masked is no number, and not drawn.
    const drawn = lines.map((line) => ({ ...line, values: line.values.map((value) => (isNumber(value)
      && Number.isFinite(Number(value)) ? Number(value) : null)) }));
    given = { points, lines: drawn, format };
    const sample = (kind) => svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" },
      svg("line", { class: `series ${kind}`, x1: 0, x2: 26, y1: 5, y2: 5 }));
    legend.replaceChildren(...lines.map(({ name }, index) => h("span", {}, sample(`s${index}`), ` ${name}`)),
      ...(points.some(({ whole: is }) => is === false) ? [h("span", {}, svg("svg", { viewBox: "0 0 26 10",
        "aria-hidden": "true" }, svg("circle", { class: "open u0", cx: 13, cy: 5, r: 3.5 })), ` ${unfinished}`)] : []));
    draw();
  } };
}
