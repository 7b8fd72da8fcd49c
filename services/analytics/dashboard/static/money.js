// Money: services give minor units, people read major ones.

import { DIGITS } from "./currencies.js";
import { isNumber } from "./exact.js";

// ISO 4217's digits. A code that it does not have is shown in minor units, and named so.
const digitsOf = (currency) => DIGITS[currency] ?? 0;
export const named = (currency) => (currency in DIGITS ? currency : `${currency} (minor units)`);

function pointed(minor, places) {
  const sign = minor < 0n ? "-" : "", digits = String(minor < 0n ? -minor : minor).padStart(places + 1, "0");
  return places ? `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}` : `${sign}${digits}`;
}

// 1250 of EUR is €12.50, of JPY ¥1,250. `brief` is for an axis.
export function money(minor, currency, brief = false) {
  if (!isNumber(minor)) return String(minor ?? "–");
  const places = digitsOf(currency), style = { style: "currency", currency };
  const short = brief && Math.abs(Number(minor)) >= 10 ** (places + 4), whole = Number.isInteger(minor);
  const shape = short
    ? { notation: "compact", maximumFractionDigits: 1 }
    : { minimumFractionDigits: places, maximumFractionDigits: places };
  // A float beyond 2^53 is no longer the sum that it stands for.
  const about = !short && whole && !Number.isSafeInteger(minor) ? "≈ " : "";
  // Texts are formatted digit by digit, whatever their length.
  const major = typeof minor === "bigint" ? pointed(minor, places) : minor / 10 ** places;
  return about + new Intl.NumberFormat("en", { ...style, ...shape }).format(major);
}

// The same within a sentence, where no heading names the unit.
export const worth = (minor, currency) => money(minor, currency) + named(currency).slice(currency.length);

// Currencies of sums, the most used first as far as sums can tell: by major units, then by name.
export const ranked = (amounts) => (amounts && typeof amounts === "object" ? Object.keys(amounts).sort((one, other) =>
  Math.abs(Number(amounts[other])) / 10 ** digitsOf(other) - Math.abs(Number(amounts[one])) / 10 ** digitsOf(one)
  || (one < other ? -1 : 1)) : []);
