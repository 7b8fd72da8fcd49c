// The pages: which scopes they need, and which fields of the filter do something there.

const PERIOD = ["period", "from", "to", "kind", "category"];
export const VIEWS = {
  overview: { title: "Overview", needs: ["analytics:read"], fields: PERIOD,
    load: () => import("./views/overview.js") },
  relationships: { title: "Relationships", needs: ["relations:read"], fields: [],
    load: () => import("./views/relationships.js") },
  recommend: { title: "Recommendations", needs: ["intelligence:read"], fields: [],
    load: () => import("./views/recommend.js") },
  map: { title: "Map", needs: ["relations:read"], fields: PERIOD, load: () => import("./views/map.js") },
  webhooks: { title: "Webhooks", needs: ["webhooks:manage"], fields: [], load: () => import("./views/webhooks.js") },
  operations: { title: "Operations", needs: ["metrics:read", "admin"], fields: [],
    load: () => import("./views/operations.js") },
};

export const offered = (caller) => Object.keys(VIEWS).filter((name) => VIEWS[name].needs.some((scope) =>
  caller.may(scope)));
