// A list that comes page by page, the latest first, with a way to see older ones.

import { part } from "./answers.js";
import { h } from "./dom.js";

// `body` shows `shelved`. `get(cursor, options)` asks for a page; `show(items)` makes the node of all that have come. It is
// drawn again only when these, or what `seen` returns, are others.
export function pages(body, shelved, get, show, seen = () => null) {
  const list = part([body], "");
  let filter = null, items = [], next = null, grown = false, asking = 0, drawn = "";

  function draw() {
    const now = JSON.stringify([items, next, seen()]);
    if (now !== drawn) {
      drawn = now;
      shelved.replaceChildren(show(items), ...(next
        ? [h("p", { class: "more" }, h("button", { type: "button", onclick: more }, "Show older ones"))] : []));
    }
    return [shelved];
  }

  const ask = (cursor) => list.ask(filter, (options) => get(cursor, options), (answer) => {
    items = cursor ? [...items, ...answer.items] : answer.items;
    grown = Boolean(cursor);
    ({ next } = answer);
    return draw();
  });

  async function more() {
    asking += 1;
    try {
      await ask(next);
    } finally {
      asking -= 1;
    }
  }

  return {
    clear() {
      [items, next, grown, drawn] = [[], null, false, ""];
      list.clear();
    },
    // Whoever looks at older ones, or waits for them, is not sent back, unless a failure has taken them away.
    async load(given) {
      filter = given;
      if ((grown || asking) && shelved.isConnected) return;
      await ask(null);
    },
  };
}
