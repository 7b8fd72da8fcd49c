// What a page does, beside what it shows: the outcome in a line, a secret shown once, a button that asks again.

import { copyable, h } from "./dom.js";

const SURE_MS = 5_000;

// A line that says what has become of an act.
export function said(id) {
  const element = h("p", { class: "note", id, role: "status" });
  element.hidden = true;
  return { element, say(kind, text) {
    element.hidden = !text;
    element.className = kind;
    element.textContent = text;
  } };
}

// A place for what is shown once: it is nowhere else on the page, and goes when it is read.
export function once(id) {
  const element = h("div", { class: "panel notice", id, role: "status" });
  const clear = () => {
    element.hidden = true;
    element.replaceChildren();
  };
  clear();
  return { element, clear, show(title, text, name) {
    element.replaceChildren(h("p", {}, h("strong", {}, title), ": ", copyable(text, name)),
      h("p", { class: "note" }, "It is not shown again: keep it where your servers find it."),
      h("div", { class: "tools" }, h("button", { type: "button", onclick: clear }, "I have kept it")));
    element.hidden = false;
  } };
}

// A button for what cannot be undone: the first press asks, a second one within five seconds does it.
export function sure(text, question, what, act) {
  let timer = null;
  const calm = () => {
    clearTimeout(timer);
    timer = null;
    button.textContent = text;
    button.setAttribute("aria-label", `${text}: ${what}`);
  };
  const button = h("button", { type: "button", onblur: calm, onclick: () => {
    if (timer !== null) {
      calm();
      act();
      return;
    }
    button.textContent = question;
    button.setAttribute("aria-label", `${question} ${what}`);
    timer = setTimeout(calm, SURE_MS);
  } });
  calm();
  return button;
}
