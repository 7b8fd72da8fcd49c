// Dead letters: why they are dead, what they hold, and their replay.

import { part } from "../answers.js";
import { get, send } from "../api.js";
import { counted, data, further, h, panel, plural, shelf, table, whole, words } from "../dom.js";
import { letterDialog } from "./letter.js";

const STEP = 50, MOST = 200;

export function letters(caller) {
  let given = null, shown = [], limit = STEP, refused = null;
  const pile = panel("letters", "Dead letters", "w8"), reasons = panel("reasons", "Why letters are dead", "w4");
  const shelves = { pile: shelf("scroll letters", "Dead letters"), reasons: shelf("scroll", "Reasons") };
  const said = h("p", { class: "note", id: "letters-said", role: "status" });
  said.hidden = true;
  const all = h("button", { type: "button", disabled: true, onclick: () => replay(shown) }, "Replay those shown");
  all.hidden = true;
  pile.tools.append(all);
  pile.body.before(said);
  const both = part([pile.body, reasons.body]), dialog = letterDialog();
  const sees = caller.may("personal:read");

  function say(kind, text) {
    said.hidden = !text;
    said.className = kind;
    said.textContent = text;
  }

  async function replay(ids) {
    const mine = given;
    all.disabled = true;
    try {
      const { replayed, left_out: left } = await send("analytics", "POST", "/v1/dead-letters/replay", { ids }, mine.options);
      if (mine !== given) return;
      say("note", `${whole(replayed)} published again${left.length ? `; ${whole(left.length)} left out, because they would be refused again or counted twice` : ""}.`);
      await load(mine);
    } catch (error) {
      if (mine !== given || mine.signal.aborted) return;
      say("failed", `Not done: ${error.message}`);
      all.disabled = shown.length === 0;
    }
  }

  const wrong = (item) => h("span", { class: "detail" }, h("b", {}, words(item.reason)), " ",
    `${item.field ? `${item.field}: ` : ""}${item.detail}`);
  function show({ items, reasons: counts }) {
    const entries = Object.entries(counts), open = entries.reduce((sum, [, count]) => sum + count, 0);
    shown = items.filter((item) => item.replayable).map((item) => item.id);
    all.disabled = all.hidden = !shown.length;
    shelves.reasons.replaceChildren(entries.length ? table(`${plural(open, "letter")} open, by reason`,
      ["Reason", "Letters"], entries.map(([reason, count]) => [data(reason, words(reason)), counted(count)]))
      : h("p", { class: "note" }, "None are open."));
    const more = open - items.length;
    shelves.pile.replaceChildren(items.length ? table(`The latest ${whole(items.length)} of ${whole(open)} open`,
      ["What is wrong", "Type", "Came (UTC)", ""],
      items.map((item) => [wrong(item), item.type ?? "unknown", item.time.slice(0, 19).replace("T", " "),
        h("span", { class: "tools" },
          h("button", { type: "button", "aria-label": `Show ${item.id}`, onclick: () => dialog.open(given, item, sees) }, "Show"),
          item.replayable ? h("button", { type: "button", "aria-label": `Replay ${item.id}`,
            onclick: () => replay([item.id]) }, "Replay") : null)]), "dead")
      : h("p", { class: "note" }, "None are open."));
    if (items.length && items.length < MOST && more > 0) shelves.pile.append(further(Math.min(more, MOST - items.length), () => {
      limit = MOST;
      load(given);
    }));
    else if (more > 0) shelves.pile.append(h("p", { class: "note" }, `${whole(more)} older ones: kith dead-letters list.`));
    return [[shelves.pile], [shelves.reasons]];
  }

  async function load(filter) {
    if (filter !== given) {
      given = filter;
      refused = null;
      say("note", "");
      dialog.close();
      all.hidden = true;
    }
    // What the key may not see is said, and not asked for again.
    if (refused === filter) return;
    await both.ask(filter, async (options) => {
      try {
        return await get("analytics", "/v1/dead-letters", { limit }, options);
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) refused = filter;
        throw error;
      }
    }, show);
  }

  return { panels: [pile.element, reasons.element], load };
}
