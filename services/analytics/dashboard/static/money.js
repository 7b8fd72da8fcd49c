// Money: services give minor units, people read major ones.

import { DIGITS } from "./currencies.js";

// ISO 4217's digits. A code that it does not have is shown in minor units, and named so.
const digitsOf = (currency) => DIGITS[currency] ?? 0;
export const named = (currency) => (currency in DIGITS ? currency : `${currency} (minor units)`);

// 1250 of EUR is €12.50, of JPY ¥1,250. `brief` is for an axis.
export function money(minor, currency, brief = false) {
  if (typeof minor !== "number") return String(minor ?? "–");
  const places = digitsOf(currency), style = { style: "currency", currency };
  const shape = brief && Math.abs(minor) >= 10 ** (places + 4)
    ? { notation: "compact", maximumFractionDigits: 1 }
    : { minimumFractionDigits: places, maximumFractionDigits: places };
  return new Intl.NumberFormat("en", { ...style, ...shape }).format(minor / 10 ** places);
}

// Currencies of sums, the most used first as far as sums can tell: by major units, then by name.
export const ranked = (amounts) => (amounts && typeof amounts === "object" ? Object.keys(amounts).sort((one, other) =>
  Math.abs(amounts[other]) / 10 ** digitsOf(other) - Math.abs(amounts[one]) / 10 ** digitsOf(one)
  || (one < other ? -1 : 1)) : []);
