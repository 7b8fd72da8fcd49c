// A list that comes page by page, the latest first, with a way to see older ones.

import { part } from "./answers.js";
import { h } from "./dom.js";

// `body` shows `shelved`. `get(cursor, options)` asks for a page; `show(items)` makes the node of all that have come. It is
// drawn again only when these, or what `seen` returns, are others.
export function pages(body, shelved, get, show, seen = () => null) {
  const list = part([body], "");
  let filter = null, items = [], next = null, older = false, grown = false, asked = 0, drawn = "";

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

  // Without an answer the list is no longer than before, and refreshed as before.
  async function more() {
    older = true;
    asked += 1;
    const mine = asked;
    if (await ask(next) === null && mine === asked) older = grown;
  }

  return {
    clear() {
      [items, next, older, grown, drawn] = [[], null, false, false, ""];
      asked += 1;
      list.clear();
    },
    // Whoever looks at older ones is not sent back, unless a failure has taken them away.
    async load(given) {
      filter = given;
      if (older && shelved.isConnected) return;
      older = false;
      await ask(null);
    },
  };
}
