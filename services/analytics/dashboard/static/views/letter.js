// One dead letter: what is wrong with its message, and the message.

import { part } from "../answers.js";
import { get } from "../api.js";
import { copyable, h, shelf, whole, words } from "../dom.js";

export function letterDialog() {
  const heading = h("h2", { id: "letter-title" }), facts = h("dl", { class: "facts" }), body = h("div");
  const dialog = h("dialog", { id: "letter", "aria-labelledby": "letter-title" }, h("div", { class: "head" }, heading,
    h("button", { type: "button", onclick: () => dialog.close() }, "Close")), facts, body);
  let opener = null;
  // The list may have been renewed meanwhile, and the browser knows only the button that was there before.
  dialog.addEventListener("close", () => {
    if (opener !== null) [...document.querySelectorAll("#letters button")].find((one) =>
      one.getAttribute("aria-label") === opener)?.focus();
    opener = null;
  });
  document.body.querySelector("#letter")?.remove();
  document.body.append(dialog);
  const message = part([body], "The message is empty.");

  const lines = (found) => h("pre", { class: "message" }, found.map(({ text, wrong }) => h(wrong ? "mark" : "span",
    {}, `${text}\n`)));

  function show(answer) {
    if (!answer.lines.length) return null;
    const { missing, field, more } = answer;
    return [missing ? h("p", { class: "failed" }, `${field} is not in the message.`) : null,
      answer.cut ? h("p", { class: "note" }, `Only the beginning is kept; all ${whole(answer.cut.value_bytes)} bytes lie in Kafka.`) : null,
      shelf("scroll", "The message", lines(answer.lines)),
      more ? h("p", { class: "note" }, `${whole(more)} more lines: kith dead-letters show shows all.`) : null,
    ].filter((node) => node !== null);
  }

  return {
    open(filter, item, sees) {
      opener = document.activeElement?.getAttribute("aria-label") ?? null;
      heading.textContent = `Dead letter: ${words(item.reason)}`;
      const named = { "What is wrong": `${item.field ? `${item.field}: ` : ""}${item.detail}`, Id: copyable(item.id, "the letter's id"),
        Event: item.event_id && copyable(item.event_id, "the event's id"), Type: item.type, Tenant: item.tenant ?? "not known",
        "Buried by": item.service, Came: item.time.replace("T", " ") };
      facts.replaceChildren(...Object.entries(named).filter(([, value]) => value).map(([name, value]) => h("div", {},
        h("dt", {}, name), h("dd", {}, value))));
      if (sees) {
        message.clear();
        message.ask(filter, (options) => get("analytics", "/v1/dead-letters/message", { id: item.id }, options), show);
      } else message.say("The message may hold personal data: this needs the scope personal:read, which the key lacks.");
      dialog.showModal();
    },
    close: () => dialog.close(),
  };
}
