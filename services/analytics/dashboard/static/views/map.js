// Where consumers or providers are, and how much happens there.

import { get } from "../api.js";
import { mapChart } from "../charts/map.js";
import { choice, counted, data, h, money, panel, percent, table, whole } from "../dom.js";

const MOST = 500;

export function view(main) {
  let given = null, side = "consumer", level = "city", whereTo = "points", found = null, land = null;
  const box = h("div", { class: "map" });
  const map = panel("map", "Where it happens", "w7"), list = panel("places", "The same as a list", "w5");
  const rows = h("div", { class: "scroll map", tabindex: 0 }), note = h("p", { class: "note", id: "map-note" }, " ");
  const again = (change) => (value) => {
    change(value);
    load();
  };
  map.tools.append(
    choice("Places of", { consumer: "Consumers", provider: "Providers" }, side, again((value) => (side = value))),
    choice("How finely", { country: "Countries", region: "Regions", city: "Cities" }, level,
        again((value) => (level = value))),
    choice("What is in view", { points: "Fit", world: "World" }, whereTo, (value) => {
      whereTo = value;
      draw();
    }));
  map.body.append(box, note);
  list.body.append(rows);
  main.replaceChildren(map.element, list.element);
  new ResizeObserver(() => draw()).observe(box);

  const name = (item) => [item.city, item.region, item.country].filter((part) => part).join(", ") || "unknown";
  const placed = (item) => typeof item.lat === "number" && typeof item.lon === "number";

  function draw() {
    if (found === null || land === null) return;
    mapChart(box, land.path, found.items.filter(placed).map((item) => ({ lat: item.lat, lon: item.lon,
        size: item.consumers,
      label: `${name(item)}: ${whole(item.consumers)} consumers, ${whole(item.relations)} relations` })),
          whereTo === "world");
  }

  async function load() {
    const { options, query } = given;
    try {
      land ??= await (await fetch("world.json")).json();
      const answer = await get("relations", "/v1/measures/geography", { ...query, side, level, limit: MOST }, options);
      if (options.signal.aborted) return;
      found = answer;
    } catch (error) {
      if (!options.signal.aborted) box.replaceChildren(h("p", { class: "failed" }, `Not shown: ${error.message}`));
      return;
    }
    const hidden = found.items.filter((item) => item.lat !== null && !placed(item)).length;
    const without = found.items.filter((item) => !placed(item)).length - hidden;
    note.textContent = [`The country is known of ${percent(found.located)} of the relations. A bubble's area is its number of consumers.`,
      without ? ` Without coordinates, and only in the list: ${without}.` : "",
      hidden ? ` Hidden, because the key lacks personal:read: ${hidden}. Places of providers are not personal.` : "",
      " Outlines: Natural Earth."].join("");
    const currencies = [...new Set(found.items.flatMap((item) => Object.keys(item.amount_minor)))].sort();
    rows.replaceChildren(found.items.length ? table("Most consumers first", ["Place", "Consumers", "Relations",
        ...currencies],
      found.items.map((item) => [name(item), counted(item.consumers), counted(item.relations),
        ...currencies.map((currency) => data(item.amount_minor[currency] ?? 0, money(item.amount_minor[currency] ?? 0,
            currency)))]))
      : h("p", { class: "note" }, "Nothing in this period."));
    draw();
  }

  return {
    filter(next) {
      given = next;
      load();
      return null;
    },
  };
}
