// Who is signed in: the registration token of an application (RFC 7592), kept in this tab, and the access tokens that
// the page gets with it for other services.

import { send } from "./api.js";

const KEY = "kith-registration", FORM = /^kithr_(app_[a-z2-7]{16})_[A-Za-z0-9_-]{43}$/;
// What the page does with an access token: it manages endpoints, which may get only what the application may read.
const WANTED = ["webhooks:manage", "relations:read", "consumers:read"];
const EARLY_MS = 60_000;

let token = null, granted = [];

export const held = () => sessionStorage.getItem(KEY);
// What was copied may bring spaces, or the word before the token.
const bare = (text) => text.trim().replace(/^Bearer\s+/i, "");
// The id of the application is part of the token.
export const clientOf = (text) => FORM.exec(bare(text))?.[1] ?? null;
export const clientId = () => clientOf(held() ?? "");

// Gives why the text cannot be a registration token, or null.
export function signIn(text) {
  const found = bare(text);
  if (!FORM.test(found)) return "This is no registration token: it begins with kithr_ and was shown once, when the "
    + "application was registered";
  signOut();
  sessionStorage.setItem(KEY, found);
  return null;
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  token = null;
}

// A link may bring the token behind its #, which never reaches a server; it leaves the address bar at once. Gives the
// token, or null.
export function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given !== null) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

// The scopes that the tenant has granted: an access token has no others.
export function grant(scopes) {
  if (scopes.join() !== granted.join()) token = null;
  granted = scopes;
}

export const mayManage = () => granted.includes("webhooks:manage");

async function fresh() {
  const scope = WANTED.filter((each) => granted.includes(each)).join(" ");
  const { access_token: text, expires_in: seconds } = await send("apps", "POST", `/register/${clientId()}/token`,
    { scope });
  return { text, until: Date.now() + seconds * 1_000 - EARLY_MS };
}

// What is shown to a service.
export async function credential(service) {
  if (service === "apps") return held();
  if (token === null || (await token).until < Date.now()) token = fresh();
  const asked = token;
  try {
    return (await asked).text;
  } catch (error) {
    if (token === asked) token = null;
    throw error;
  }
}

// A service does not accept an access token any more.
export const forget = () => (token = null);
