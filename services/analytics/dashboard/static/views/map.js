// Where consumers or providers are, and how much happens there.

import { part } from "../answers.js";
import { get, own } from "../api.js";
import { mapChart } from "../charts/map.js";
import { choice, counted, data, h, panel, percent, plural, shelf, table, whole, within } from "../dom.js";
import { money, named, ranked } from "../money.js";
import { emptiness } from "./emptiness.js";

const MOST = 1_000;

export function view(main, caller) {
  // What the key may ask for. Where a consumer is, is personal below the region.
  const may = caller.may("consumers:read") ? ["consumer", "provider"] : ["provider"];
  const finely = () => ["country", "region", ...(side === "provider" || caller.may("personal:read") ? ["city"] : [])];
  let side = may[0], level = finely().at(-1), given = null, whereTo = "points", found = null, land = null;
  const box = h("div", { class: "map" }), note = h("p", { class: "note", id: "map-note" });
  const map = panel("map", "Where it happens", "", "mapped"), list = panel("places", "The same as a list", "");
  const rows = shelf("scroll places", "Places"), empty = emptiness();
  const both = part([map.body, list.body]);
  const again = (change) => (value) => {
    change(value);
    both.clear();
    load();
  };
  const reach = choice("What is in view", { points: "Fit", world: "World" }, whereTo, (value) => {
    whereTo = value;
    draw();
  });
  const sides = choice("Places of", { consumer: "Consumers", provider: "Providers" }, side, again((value) => {
    side = value;
    offer();
  }));
  const levels = choice("How finely", { country: "Countries", region: "Regions", city: "Cities" }, level,
    again((value) => (level = value)));
  function offer() {
    if (!finely().includes(level)) level = finely().at(-1);
    levels.offer(finely());
    levels.press(level);
  }
  sides.offer(may);
  offer();
  map.tools.append(sides, levels, reach);
  main.replaceChildren(empty.element, map.element, list.element);
  new ResizeObserver(() => box.isConnected && draw()).observe(box);

  const name = (item) => [item.city, item.region, item.country].filter((part2) => part2).map(within).join(", ") || "unknown";
  const placed = (item) => typeof item.lat === "number" && typeof item.lon === "number";
  const amounts = (item) => item.amount_minor;

  function draw() {
    if (found === null || land === null) return;
    mapChart(box, land.path, found.items.filter(placed).map((item) => ({ lat: item.lat, lon: item.lon,
      size: typeof item.consumers === "number" ? item.consumers : 1, name: within(item.city ?? item.region ?? name(item)),
      label: `${name(item)}: ${plural(item.consumers, "consumer")}, ${plural(item.relations, "relation")}` })),
    whereTo === "world");
  }

  function show(answer) {
    found = answer;
    const { items } = answer, points = items.filter(placed);
    empty.show(given, items.length);
    if (!items.length) return null;
    const hidden = items.filter((item) => item.lat !== null && !placed(item)).length;
    const without = items.length - points.length - hidden;
    reach.hidden = !points.length;
    note.textContent = [`The country is known of ${percent(answer.located)} of the relations. A bubble's area is its number of consumers.`,
      without ? ` Without coordinates, and only in the list: ${plural(without, "place")}.` : "",
      hidden ? ` Hidden, because the key lacks personal:read: ${plural(hidden, "place")}. Places of providers are not personal.` : "",
      " Outlines: Natural Earth."].join("");
    const masked = items.some((item) => typeof amounts(item) === "string");
    const currencies = masked ? [] : [...new Set(items.flatMap((item) => ranked(amounts(item))))].sort();
    rows.replaceChildren(table(`${items.length === MOST ? `The first ${whole(MOST)} places` : plural(items.length,
      "place")}, most consumers first${currencies.length ? "; money is net of refunds" : ""}${masked
      ? "; money is hidden from this key" : ""}`,
    ["Place", "Consumers", "Relations", ...currencies.map((one) => `Money, ${named(one)}`)],
    items.map((item) => [name(item), counted(item.consumers), counted(item.relations),
      ...currencies.map((currency) => data(amounts(item)[currency] ?? 0, amounts(item)[currency]
        ? money(amounts(item)[currency], currency) : "–"))])));
    return [[box, note], [rows]];
  }

  async function load() {
    const mine = given;
    const answer = await both.ask(mine, async (options) => {
      land ??= await own("world.json", options.signal);
      return get("relations", "/v1/measures/geography", { ...mine.query, side, level, limit: MOST }, options);
    }, show);
    if (answer?.items.length) draw();
  }

  return {
    filter(next) {
      given = next;
      found = null;
      empty.hide();
      load();
      return null;
    },
  };
}
