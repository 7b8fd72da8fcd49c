// The client secrets: two at once, each shown once, when it is made.

import { once, said, sure } from "../acts.js";
import { send } from "../api.js";
import { h, panel, shelf, table } from "../dom.js";
import { forget } from "../session.js";

const MOST = 2;

export function secrets() {
  let given = null, app = null, again = () => {}, drawn = "";
  const { element, body, tools } = panel("secrets", "Client secrets", ""), line = said("secrets-said");
  const shelved = shelf("scroll", "Client secrets"), fresh = once("fresh-secret");
  const add = h("button", { type: "button", onclick: create }, "Create a secret");
  tools.append(add);
  body.before(line.element, fresh.element);
  body.append(shelved, h("p", { class: "note" }, "Two are valid at once, so that one can be replaced without downtime: "
    + "create the new one, give it to your servers, then end the old one. Tokens end with their secret."));

  const path = () => `/register/${app.client_id}/secrets`;

  async function act(work, done) {
    const mine = given;
    add.disabled = true;
    try {
      const answer = await work();
      if (mine !== given) return;
      done(answer);
      await again();
    } catch (error) {
      if (mine.signal.aborted) return;
      line.say("failed", `Not done: ${error.message}.`);
    } finally {
      draw(true);
    }
  }

  function create() {
    fresh.clear();
    act(() => send("apps", "POST", path(), {}, given.options), ({ client_secret: text }) => {
      line.say("note", "");
      fresh.show("The new client secret", text, "the client secret");
    });
  }

  const remove = (id) => act(() => send("apps", "DELETE", `${path()}/${id}`, undefined, given.options), () => {
    // The page's own access token may have ended with it.
    forget();
    fresh.clear();
    line.say("note", `The secret kiths_${id}_… has ended.`);
  });

  function draw(whatever = false) {
    const valid = app.secrets.filter((each) => each.valid), now = JSON.stringify(valid);
    add.disabled = valid.length >= MOST;
    add.title = add.disabled ? "There are two, which is the most: end one first" : "";
    if (now === drawn && !whatever) return;
    drawn = now;
    shelved.replaceChildren(valid.length ? table(null, ["Secret", "Created (UTC)", "Ends (UTC)", ""], valid.map((each) => [
      h("span", { class: "code" }, `kiths_${each.secret}_…`), time(each.created), time(each.ends),
      sure("End it", "Really end it?", `the secret ${each.secret}`, () => remove(each.secret))]), "secrets")
      : h("p", { class: "note" }, "None is valid: the application gets no token."));
  }

  return { element, show(filter, found, reload) {
    [given, app, again] = [filter, found, reload];
    draw();
  } };
}

const time = (text) => text.slice(0, 16).replace("T", " ");
