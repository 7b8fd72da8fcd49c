// Days, and the weeks and months that they make up.

import { isNumber, plus } from "./exact.js";
import { dayMs, following } from "./filter.js";

const DAYS = 92, WEEKS = 731;

// The size in which a period is drawn.
export function sizeOf(first, last) {
  const days = (dayMs(last) - dayMs(first)) / 86_400_000 + 1;
  return days <= DAYS ? "day" : days <= WEEKS ? "week" : "month";
}

function startOf(day, size) {
  if (size === "month") return `${day.slice(0, 7)}-01`;
  return size === "week" ? following(day, -((new Date(dayMs(day)).getUTCDay() + 6) % 7)) : day;
}

function endOf(start, size) {
  if (size === "day") return start;
  if (size === "week") return following(start, 6);
  const [year, month] = start.split("-").map(Number);
  return new Date(Date.UTC(year, month, 0)).toISOString().slice(0, 10);
}

const text = (day, parts) => new Date(dayMs(day)).toLocaleDateString("en", { ...parts, timeZone: "UTC" });

// `days`: [{day, …}], every day of a period in order. Gives [{name, mark, days, whole, running}]: `mark` for an axis;
// `whole` is false where the period cuts a bucket, or it is not over yet (`running`).
export function buckets(days, size, today) {
  const found = [];
  for (const one of days) {
    const start = startOf(one.day, size);
    if (found.at(-1)?.start !== start) found.push({ start, end: endOf(start, size), days: [] });
    found.at(-1).days.push(one);
  }
  const years = new Set(days.map(({ day }) => day.slice(0, 4))).size > 1;
  return found.map(({ start, end, days: those }) => {
    const first = those[0].day, last = those.at(-1).day, running = last >= today;
    const name = { day: start, week: `${first} – ${last}`, month: start.slice(0, 7) }[size];
    const mark = size === "month" ? text(start, { month: "short", year: "numeric" })
      : `${text(first, { day: "numeric", month: "short" })}${years ? ` ’${first.slice(2, 4)}` : ""}`;
    return { name, mark, days: those, running, whole: !running && first === start && last === end };
  });
}

// What is not whole says so.
export const noted = (bucket, size) => (bucket.whole ? bucket.name
  : `${bucket.name} (${bucket.running ? "so far" : `part of the ${size}`})`);

// A mask is no number: one among them masks what is computed of them.
const mask = (values) => values.find((one) => one !== null && one !== undefined && !isNumber(one));

export function sum(bucket, value) {
  const values = bucket.days.map(value);
  return mask(values) ?? values.reduce((total, one) => plus(total, one ?? 0), 0);
}

// The mean of the days; null where none has a value.
export function mean(bucket, value) {
  const values = bucket.days.map(value).filter((one) => one !== null && one !== undefined);
  return mask(values) ?? (values.length ? values.reduce((total, one) => total + one, 0) / values.length : null);
}
