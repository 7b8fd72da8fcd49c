// Bubbles on the outlines of the world, in degrees (plate carrée): x is longitude + 180, y is 90 − latitude.

import { svg } from "../dom.js";
import { placed, ruler } from "./labels.js";

const RADIUS = 26;

// What is in view: everything, or the points with room around them, in the proportions of the box.
function frame(points, whole, ratio) {
  let [left, right, top, bottom] = [0, 360, 6, 150];
  if (!whole && points.length) {
    const xs = points.map(({ lon }) => lon + 180), ys = points.map(({ lat }) => 90 - lat);
    [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    // Around a single place there is so much that one knows where on earth it is.
    const room = Math.max(right > left || bottom > top ? 0.5 : 4, (right - left) * 0.2, (bottom - top) * 0.2);
    [left, right, top, bottom] = [left - room, right + room, top - room, bottom + room];
  }
  const width = Math.max(right - left, (bottom - top) * ratio), height = width / ratio;
  return [(left + right - width) / 2, (top + bottom - height) / 2, width, height];
}

// `points`: [{lat, lon, size, name, label}]
export function mapChart(box, land, points, whole) {
  const [wide, high] = [Math.max(box.clientWidth, 200), Math.max(box.clientHeight, 200)];
  const view = frame(points, whole, wide / high), scale = view[2] / wide;
  const most = Math.max(1, ...points.map(({ size }) => size));
  const sorted = [...points].sort((one, other) => other.size - one.size);
  const radius = (size) => Math.max(4, RADIUS * Math.sqrt(size / most));
  // Where a name finds no room, the list below has it.
  const names = placed(sorted.map(({ lat, lon, size, name }) => ({ x: (lon + 180 - view[0]) / scale,
    y: (90 - lat - view[1]) / scale, r: radius(size), name })), wide, high, ruler(box));
  const lines = [];
  const step = view[2] > 90 ? 30 : view[2] > 30 ? 10 : view[2] > 8 ? 2 : 0.5;
  for (let x = Math.ceil(view[0] / step) * step; x < view[0] + view[2]; x += step)
    lines.push(svg("line", { class: "grid", "vector-effect": "non-scaling-stroke", x1: x, x2: x, y1: view[1],
        y2: view[1] + view[3] }));
  for (let y = Math.ceil(view[1] / step) * step; y < view[1] + view[3]; y += step)
    lines.push(svg("line", { class: "grid", "vector-effect": "non-scaling-stroke", x1: view[0], x2: view[0] + view[2],
        y1: y, y2: y }));
  box.replaceChildren(svg("svg", { viewBox: view.map((part) => part.toFixed(3)).join(" "), role: "group",
      "aria-label": "Map; the list has the same numbers" },
    lines, svg("path", { class: "land", d: land }),
    // Small ones last, so that none is under a larger one.
    sorted.map(({ lat, lon, size, label }) =>
      svg("circle", { class: "bubble", tabindex: 0, role: "img", "aria-label": label, cx: lon + 180, cy: 90 - lat,
        r: (scale * radius(size)).toFixed(4) }, svg("title", {}, label))),
    svg("g", { "aria-hidden": "true", transform: `translate(${view[0]} ${view[1]}) scale(${scale})` },
      names.map((place, at) => place && svg("text", { class: "place", ...place }, sorted[at].name)))));
}
