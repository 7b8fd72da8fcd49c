// Receives deliveries, and takes only those whose signature is valid. Needs nothing but Node.js 18.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const key = Buffer.from(process.env.KITH_WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");

function isValid(headers, body) {
  const id = headers["webhook-id"] ?? "", timestamp = headers["webhook-timestamp"] ?? "";
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const signed = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${signed}`);
  return (headers["webhook-signature"] ?? "").split(" ").map((each) => Buffer.from(each))
    .some((each) => each.length === expected.length && timingSafeEqual(each, expected));
}

// A delivery is smaller. Whoever sends more is not listened to.
const MOST_BYTES = 2 ** 20;

createServer(async (request, response) => {
  const parts = [];
  let size = 0;
  try {
    for await (const part of request) {
      size += part.length;
      if (size > MOST_BYTES) return request.destroy();
      parts.push(part);
    }
  } catch {
    return; // broken off by the sender
  }
  const body = Buffer.concat(parts), valid = isValid(request.headers, body);
  if (valid) {
    const { type, data } = JSON.parse(body);
    // The same id comes again where an answer was lost: take each once.
    console.log(request.headers["webhook-id"], type, JSON.stringify(data));
  }
  response.writeHead(valid ? 204 : 401).end();
}).listen(Number(process.env.PORT ?? 8000), "127.0.0.1");
