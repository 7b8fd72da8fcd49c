// Lines over days, with a cursor for the pointer and the arrow keys.

import { h, svg } from "../dom.js";

const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 26, HEIGHT = 260;

// Round values around 0 and all others: 0, 5, 10 …, or −5, 0, 5 where refunds outweigh the sales of a day.
export function ticks(lowest, highest, most = 5) {
  if (!(highest > lowest)) return [0, 1];
  const rough = (highest - lowest) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let at = Math.floor(lowest / step); at * step < highest + step; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

const shown = (day) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });

// `lines`: [{name, values}] with a value (or null) for each of `days`. `format` makes texts of values.
export function series(holder, label) {
  const readout = h("p", { class: "readout", "aria-live": "polite" }, " ");
  const legend = h("div", { class: "legend" });
  const box = h("div", { class: "chart" });
  holder.append(legend, box, readout);
  let given = { days: [], lines: [], format: String, mark: shown }, at = null, chart = null;

  const width = () => Math.max(box.clientWidth, 200);
  const x = (index) => LEFT + (index * (width() - LEFT - RIGHT)) / Math.max(given.days.length - 1, 1);

  function read(index) {
    at = Math.max(0, Math.min(given.days.length - 1, index));
    const values = given.lines.map(({ name, values }) => `${name} ${values[at] === null ? "–" : given.format(values[at])}`);
    readout.textContent = `${given.days[at]}: ${values.join(" · ")}`;
    const cursor = chart.querySelector(".cursor");
    cursor.setAttribute("x1", x(at));
    cursor.setAttribute("x2", x(at));
    cursor.removeAttribute("visibility");
  }

  function draw() {
    const { days, lines, format } = given, floor = HEIGHT - BOTTOM;
    const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
    const scale = ticks(Math.min(0, ...values), Math.max(0, ...values)), bottom = scale[0], range = scale.at(-1) - bottom;
    const y = (value) => floor - ((value - bottom) / range) * (floor - TOP);
    const every = Math.max(1, Math.ceil((days.length * 70) / (width() - LEFT - RIGHT)));
    const path = (values) => {
      let pen = "M", d = "";
      values.forEach((value, index) => {
        if (value === null) return void (pen = "M");
        d += `${pen}${x(index).toFixed(1)},${y(value).toFixed(1)}`;
        // A point without neighbours would be no line at all.
        if (pen === "M" && (values[index + 1] ?? null) === null) d += "h.01";
        pen = "L";
      });
      return d;
    };
    const first = lines[0]?.values ?? [];
    const next = svg("svg", { viewBox: `0 0 ${width()} ${HEIGHT}`, role: "img", tabindex: 0,
      "aria-label": `${label}. The arrow keys read it day by day; the table below has the numbers.`,
      onpointermove: (event) => {
        const place = (event.clientX - chart.getBoundingClientRect().left) * (width() / chart.clientWidth);
        if (days.length) read(Math.round(((place - LEFT) / (width() - LEFT - RIGHT)) * (days.length - 1)));
      },
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
        if (step === undefined || !days.length) return;
        event.preventDefault();
        read((at ?? (step > 0 ? -1 : days.length)) + step);
      } },
      scale.map((value) => [
        svg("line", { class: value === 0 ? "grid zero" : "grid", x1: LEFT, x2: width() - RIGHT, y1: y(value), y2: y(value) }),
        svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value, true)),
      ]),
      days.map((day, index) => index % every === 0 && (index + every / 2 < days.length || index === 0)
        ? svg("text", { x: x(index), y: HEIGHT - 8,
            "text-anchor": index === 0 ? "start" : index === days.length - 1 ? "end" : "middle" }, given.mark(day)) : null),
      first.length > 1 && first.every((value) => value !== null)
        ? svg("path", { class: "area", d: `${path(first)}L${x(first.length - 1)},${y(0)}L${LEFT},${y(0)}Z` }) : null,
      lines.map(({ values }, index) => svg("path", { class: `series s${index}`, d: path(values) })),
      svg("line", { class: "cursor", y1: TOP, y2: floor, visibility: "hidden" }));
    const focused = chart !== null && chart === document.activeElement;
    box.replaceChildren(next);
    chart = next;
    if (focused) chart.focus({ preventScroll: true });
    if (at !== null && days.length) read(at);
  }

  new ResizeObserver(() => draw()).observe(box);
  // `mark` makes the text below the axis of a day, or of whatever else the lines go over.
  return (days, lines, format, mark = shown) => {
    if (days.length !== given.days.length || days[0] !== given.days[0]) {
      at = null;
      readout.textContent = " ";
    }
    given = { days, lines, format, mark };
    legend.replaceChildren(...lines.map(({ name }, index) =>
      h("span", {}, svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" },
        svg("line", { class: `series s${index}`, x1: 0, x2: 26, y1: 5, y2: 5 })), ` ${name}`)));
    draw();
  };
}
