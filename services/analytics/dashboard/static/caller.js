// Who the key belongs to: which pages, panels and names it may see.

import { own } from "./api.js";

const PERSONAL_NAME = ["personal.name", "personal.*", "personal"];

export class Caller {
  constructor({ tenant, chooses_tenant: chooses, name, scopes, masks }) {
    Object.assign(this, { tenant, chooses, name, scopes, masks });
  }

  may(scope) {
    return this.scopes.includes(scope);
  }

  // Whose names may be asked for. What a mask would hide is not asked for, and so not written into the audit.
  seesNames(side) {
    if (!this.may("relations:read") || this.masks.includes("name")) return false;
    if (side === "provider") return true;
    return this.may("consumers:read") && this.may("personal:read")
      && !this.masks.some((mask) => PERSONAL_NAME.includes(mask));
  }
}

// The caller, or null and why there is none.
export async function callerOf(signal) {
  const { caller, detail } = await own("session.json", signal);
  return caller ? [new Caller(caller), null] : [null, detail];
}
