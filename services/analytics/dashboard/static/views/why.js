// Why one tie is strong: what it consists of, and the events that weigh most.

import { copyable, counted, data, decimal, h, percent, plural, rounded, shelf, table, words } from "../dom.js";
import { worth } from "../money.js";
import { who } from "../names.js";

const day = (time) => time.slice(0, 10);

// Nodes for an answer of `/v1/relationships/{consumer}/{provider}`; `names` are those of the two.
export function explained(found, names) {
  const kinds = Object.entries(found.kinds).sort(([, one], [, other]) => other.share - one.share);
  const [first] = kinds, hidden = typeof found.amount === "string";
  const amounts = hidden ? found.amount : Object.entries(found.amount).map(([currency, minor]) => worth(minor,
    currency)).join(", ");
  return [
    h("h3", {}, who(found.consumer_id, names.consumer), " and ", who(found.provider_id, names.provider)),
    h("p", {}, `Strength ${decimal(found.strength)} from ${plural(found.count, "relation")} between ${day(found.first)} and ${day(found.last)}`,
      amounts ? `, worth ${amounts}` : "", first ? `. ${percent(first[1].share, 0)} of it is ${words(first[0])}` : "",
      ". Older relations weigh less."),
    h("div", { id: "why-kinds" }, table(found.more_kinds ? `Some of what it consists of: ${plural(kinds.length, "kind")} of more` : "What it consists of", ["Kind", "Relations", "Strength", "Share"],
      kinds.map(([kind, sums]) => [data(kind, words(kind)), counted(sums.count), rounded(sums.strength),
        data(sums.share, percent(sums.share))]))),
    shelf("scroll", "The events that weigh most", h("div", { id: "why-events" },
      table(`The ${plural(found.evidence.length, "event")} that weigh most, of ${plural(found.count, "relation")}`,
        ["Relation", "Kind", "Day", "Weight", "Event: source, id"],
        found.evidence.map((fact) => [h("data", { value: fact.relation_id }, copyable(fact.relation_id, "the relation's id")),
          words(fact.kind), day(fact.time), rounded(fact.weight),
          h("data", { value: `${fact.event.source} ${fact.event.id}` }, h("span", { class: "code" }, fact.event.source), " ",
            copyable(fact.event.id, "the event's id"))]), "evidence"))),
  ];
}
