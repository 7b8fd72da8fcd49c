// One person or firm in the middle, and around it whom it is tied to: the thicker and nearer, the stronger.

import { decimal, svg, within } from "../dom.js";
import { called } from "../names.js";
import { placed, ruler } from "./labels.js";

const HEIGHT = 420;
// Neighbours in rank are far from one another on the circle: strong ties are near the middle, and so would be their
// names.
function stride(count) {
  const shares = (one, other) => (other ? shares(other, one % other) : one > 1);
  let step = Math.max(1, Math.round(count * 0.382));
  while (shares(step, count)) step += 1;
  return step;
}
const cut = (text, most) => within(text.length > most ? `${text.slice(0, most - 1)}…` : text);

// `ties`: [{id, name, strength}] strongest first; `side` is that of the middle. `choose(at)` on an edge, `move(at)` on
// a node.
export function tiesChart(box, { side, id, name, ties, chosen, choose, move }) {
  const width = Math.max(box.clientWidth, 260), [cx, cy] = [width / 2, HEIGHT / 2];
  // A masked strength is no number: all lines are alike then.
  const strengths = ties.map((tie) => (Number.isFinite(tie.strength) ? tie.strength : 0));
  const strongest = Math.max(...strengths), weakest = Math.min(...strengths), step = stride(ties.length);
  const other = side === "consumer" ? "provider" : "consumer";
  const narrow = width < 520, label = narrow ? 13 : 24;
  const places = ties.map((_, at) => {
    const angle = (2 * Math.PI * ((at * step) % ties.length)) / ties.length - Math.PI / 2
      + (ties.length > 1 ? 0.15 : 0);
    const near = 0.6 + (strongest > weakest ? (0.4 * (strongest - strengths[at])) / (strongest - weakest) : 0.4);
    const [rx, ry] = [cx - (narrow ? 48 : 130), cy - 36];
    return [cx + Math.cos(angle) * rx * near, cy + Math.sin(angle) * ry * near, Math.cos(angle)];
  });
  // Names stand outside of the circle if they can, away from the lines.
  const outwards = ([, y, across]) => (!narrow && Math.abs(across) > 0.3
    ? [across > 0 ? "right" : "left", y < cy ? "above" : "below"] : [y < cy ? "above" : "below"]);
  const texts = ties.map((tie) => cut(tie.name ?? tie.id, label));
  const names = placed(places.map((place, at) => ({ x: place[0], y: place[1], r: 9, name: texts[at],
    sides: [...new Set([...outwards(place), "right", "left", "above", "below"])] })), width, HEIGHT, ruler(box));
  const pressed = (act) => ({ onclick: act, onkeydown: (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  } });
  const middle = called(id, name);
  const pair = (tie) => `${middle} and ${called(tie.id, tie.name)}, strength ${decimal(tie.strength)}`;
  box.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "group",
      "aria-label": `The strongest ties of ${middle}` },
    ties.map((tie, at) => svg("g", { class: "edge", tabindex: 0, role: "button", "data-id": tie.id,
      "aria-pressed": String(at === chosen), "aria-label": `Why: ${pair(tie)}`, ...pressed(() => choose(at)) },
      svg("title", {}, pair(tie)),
      svg("line", { class: "seen", x1: cx, y1: cy, x2: places[at][0], y2: places[at][1],
          "stroke-width": 1.5 + (strongest > 0 ? (7 * strengths[at]) / strongest : 0) }),
      svg("line", { class: "reach", x1: cx, y1: cy, x2: places[at][0], y2: places[at][1] }))),
    ties.map((tie, at) => svg("g", { class: `node ${other}`, tabindex: 0, role: "button", "data-id": tie.id,
      "aria-label": `Show the ties of ${other} ${called(tie.id, tie.name)}`, ...pressed(() => move(at)) },
      svg("title", {}, called(tie.id, tie.name)),
      // Between the circle and its name there is no gap for the pointer.
      names[at] && svg("line", { class: "reach", x1: places[at][0], y1: places[at][1], x2: names[at].x,
        y2: names[at].y - 4 }),
      svg("circle", { cx: places[at][0], cy: places[at][1], r: 8 }),
      svg("text", names[at] ?? { x: places[at][0], y: places[at][1] + 22, "text-anchor": "middle" }, texts[at]))),
    svg("g", { class: `node centre ${side}` }, svg("title", {}, middle), svg("circle", { cx, cy, r: 13 }),
      svg("text", { x: cx, y: cy + 30, "text-anchor": "middle", "font-weight": 600 }, cut(name ?? id, label + 8)))));
}
