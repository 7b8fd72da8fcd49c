// Questions to the services, with the reader's API key or token.

import { parse } from "./exact.js";
import { key } from "./key.js";

let config = { relations: null, intelligence: null };
let refused = () => {};

export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// `whenRefused(detail)` is called when a service does not know the key (any more).
export async function begin(whenRefused) {
  refused = whenRefused;
  config = { ...config, ...(await own("config.json")) };
}

// A file of the page, or what the service says of the page's caller.
export async function own(path, signal) {
  const answer = await sent(path, { signal, headers: headers(), cache: "no-store" }, "analytics");
  if (!answer.ok) throw await why(answer);
  return answer.json();
}

function headers(tenant) {
  const held = key();
  return { ...(held && { Authorization: `Bearer ${held}` }), ...(tenant && { "Kith-Tenant": tenant }) };
}

async function sent(url, options, service) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A header cannot hold every text that somebody may type.
    if (error instanceof TypeError && /header/i.test(error.message))
      throw new Failed(400, "the key or the tenant has characters that cannot be sent");
    throw new Failed(0, `the ${service} service cannot be reached`);
  }
}

async function why(answer) {
  try {
    const { detail } = await answer.json();
    return new Failed(answer.status, detail ?? answer.statusText);
  } catch (error) {
    // A question that was given up while its answer was being read has no answer; what gave it up says why.
    if (error.name === "AbortError") throw error;
    return new Failed(answer.status, `the answer was ${answer.status} ${answer.statusText}`);
  }
}

// Throws Failed. Values that are null, undefined or empty are left out, arrays are repeated.
export async function request(service, path, query, { tenant, signal, method = "GET", body } = {}) {
  const origin = { analytics: "", ...config }[service];
  if (origin === null) throw new Failed(400, `the address of the ${service} API is not known here`);
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {}))
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") asked.append(name, one);
  const held = key(), type = body && { "Content-Type": "application/json" };
  const answer = await sent(`${origin}${path}${asked.size ? `?${asked}` : ""}`, { method, signal,
    headers: { ...headers(tenant), ...type }, body: body && JSON.stringify(body), cache: "no-store",
    credentials: "omit" }, service);
  if (answer.ok) return answer;
  const failed = await why(answer);
  if (answer.status === 401 && held === key()) refused(failed.message);
  throw failed;
}

export async function get(service, path, query, options) {
  const answer = parse(await (await request(service, path, query, options)).text());
  // Where the list itself is masked, there is nothing to show of it.
  if (answer.masked?.includes("items")) throw new Failed(403, "this key does not see the items");
  return answer;
}
export const post = async (path, body, options) =>
  (await request("analytics", path, {}, { ...options, method: "POST", body })).json();
