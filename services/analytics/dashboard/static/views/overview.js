// What happened: figures that move, lists, cohorts, and which kinds of customers there are.

import { customers } from "./customers.js";
import { figuresOf } from "./figures.js";
import { lists } from "./lists.js";
import { emptiness } from "./emptiness.js";

const REFRESH_MS = 5_000;

export function view(main, caller) {
  let given = null, timer = null, took = 0, told = false;
  const figures = figuresOf(), providers = lists(), people = customers(caller), empty = emptiness();
  main.replaceChildren(empty.element, ...figures.panels, providers.top, people.active, providers.rated,
    people.cohorts, providers.rising, ...people.rfm);

  // The top list comes before the rest: it is in sight at once, and the others would slow it down.
  async function loadAll(first) {
    const mine = given, began = performance.now();
    await first;
    if (mine !== given || mine.signal.aborted) return;
    await Promise.all([...providers.load(mine), ...people.load(mine, figures.currencies())]);
    if (mine === given) took = performance.now() - began;
  }

  // Lists follow the stream, but no more often than every few seconds, never while they are still loading, and
  // for at most a tenth of the time.
  function later() {
    if (timer !== null) return;
    const mine = given;
    timer = setTimeout(async () => {
      if (mine.signal.aborted) return;
      await loadAll(providers.loadTop(mine));
      if (mine === given) timer = null;
    }, Math.max(REFRESH_MS, 9 * took));
  }

  function tell(event, news) {
    if (!figures.tell(given, event, news)) return;
    empty.show(given, figures.count());
    // All figures again: the stream was cut, and nobody knows what happened meanwhile.
    if (told) later();
    told = true;
  }

  return {
    filter(next) {
      given = next;
      told = false;
      clearTimeout(timer);
      timer = null;
      empty.hide();
      figures.begin(next);
      loadAll(providers.loadTop(next));
      return { query: next.query, tell };
    },
  };
}
