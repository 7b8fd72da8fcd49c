// Names of consumers and providers, for ids that are about to be shown.

import { get } from "./api.js";
import { h, isolated, within } from "./dom.js";

const MOST = 50, KEPT_MS = 60_000;
export const MASK = "•••";
const known = new Map();

export const forgetNames = () => known.clear();

// Gets the names of the `ids` of a side that the caller may see; the function that it gives knows them. A name is
// asked for anew after a minute: people change theirs, and may be erased.
export async function naming(filter, side, ids, options) {
  const place = (id) => `${options.tenant}\n${side}\n${id}`, now = Date.now();
  const wanted = [...new Set(ids)].filter((id) => id !== MASK && !(known.get(place(id))?.until > now));
  if (filter.caller.seesNames(side)) {
    for (let at = 0; at < wanted.length; at += MOST) {
      const some = wanted.slice(at, at + MOST);
      let items;
      try {
        ({ items } = await get("relations", "/v1/names", { [`${side}_id`]: some }, options));
      } catch (error) {
        if (options.signal.aborted) throw error;
        // Ids say the same, less kindly.
        break;
      }
      const found = new Map(items.map((item) => [item[`${side}_id`], side === "provider" ? item.name
        : item.personal?.name]));
      for (const id of some) {
        const name = found.get(id);
        known.set(place(id), { name: name && name !== MASK ? name : null, until: now + KEPT_MS });
      }
    }
  }
  return (id) => known.get(place(id))?.name ?? null;
}

// A name with the id below it, where there is one; else the id.
export const who = (id, name) => h("span", { class: "who" }, h("data", { value: id, class: name ? null : "code" },
    isolated(name ?? id)), name ? h("small", { class: "id" }, isolated(id)) : null);
// The same as one line of text.
export const called = (id, name) => (name ? `${within(name)} (${within(id)})` : within(id));
// The same in a heading.
export const headed = (id, name) => [...(name ? [isolated(name), " "] : []),
  h("span", { class: "code" }, ...(name ? ["(", isolated(id), ")"] : [isolated(id)]))];
