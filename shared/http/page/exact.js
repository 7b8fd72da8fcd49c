// Whole numbers beyond 2^53, such as sums of minor units: exact as BigInt, where a float would lose their last digits.

export const isNumber = (value) => typeof value === "number" || typeof value === "bigint";

// JSON whose large integers become BigInt. A browser that does not give the source of a number leaves them as floats;
// they are shown as rounded then.
export const parse = (text) => JSON.parse(text, (name, value, context) => (typeof value === "number"
  && Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
  ? BigInt(context.source) : value));

const exact = (value) => typeof value === "bigint" || Number.isSafeInteger(value);

export function plus(one, other) {
  if (!exact(one) || !exact(other)) return Number(one) + Number(other);
  const total = BigInt(one) + BigInt(other);
  return BigInt(Number(total)) === total && Number.isSafeInteger(Number(total)) ? Number(total) : total;
}
