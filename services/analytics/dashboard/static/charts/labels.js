// Names beside the points of a drawing, placed so that none covers another.

export const LETTERS = 12;
const GAP = 4;

const apart = (one, other) => one.right < other.left || one.left > other.right || one.bottom < other.top
  || one.top > other.bottom;

// How wide a text of the box is.
export function ruler(box) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${LETTERS}px ${getComputedStyle(box).fontFamily}`;
  return (text) => context.measureText(text).width;
}

// `spots`: [{x, y, r, name, sides}] in pixels, the most important first; `sides` in the order in which they are tried. A
// name keeps clear of all names before it, and of all points where that is possible. Gives for each spot the place of
// its name, {x, y, "text-anchor"}, or null where there is none that is free.
export function placed(spots, wide, high, measure) {
  const half = LETTERS / 2 + 1, taken = [];
  const points = spots.map(({ x, y, r }) => ({ left: x - r, right: x + r, top: y - r, bottom: y + r }));
  const inside = (one) => one.left >= 2 && one.right <= wide - 2 && one.top >= 2 && one.bottom <= high - 2;
  return spots.map(({ x, y, r, name, sides = ["right", "left", "above", "below"] }, mine) => {
    const long = measure(name), beside = r + GAP;
    const choices = sides.map((side) => ({
      right: [x + beside, y, "start", x + beside], left: [x - beside, y, "end", x - beside - long],
      above: [x, y - beside - half, "middle", x - long / 2], below: [x, y + beside + half, "middle", x - long / 2],
    })[side]).map(([at, middle, anchor, left]) => ({ at, middle, anchor,
      box: { left, right: left + long, top: middle - half, bottom: middle + half } }));
    const free = choices.filter(({ box }) => inside(box) && taken.every((other) => apart(box, other)));
    const found = free.find(({ box }) => points.every((point, at) => at === mine || apart(box, point))) ?? free[0];
    if (!found) return null;
    taken.push(found.box);
    return { x: found.at.toFixed(1), y: (found.middle + LETTERS * 0.35).toFixed(1), "text-anchor": found.anchor };
  });
}
