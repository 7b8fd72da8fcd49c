// The tenant's webhook endpoints: how they are, what waits, and their log; the parts of the developer portal's page.

import { endpoints } from "../webhooks/endpoints.js";

const EVERY_MS = 5_000;

export function view(main) {
  const { panels, load } = endpoints("the tenant's");
  main.replaceChildren(...panels);

  async function watch(filter) {
    while (!filter.signal.aborted) {
      if (!document.hidden) await load(filter);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  return {
    filter(next) {
      watch(next);
      return null;
    },
  };
}
