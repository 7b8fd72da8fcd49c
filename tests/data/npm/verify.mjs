// Reads [{secret, headers, body}], the body in Base64, from standard input. Writes for each what the libraries say:
// {"standardwebhooks": true, "svix": false}.
import { readFileSync } from "node:fs";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const verifies = (Library, { secret, headers, body }) => {
  try {
    new Library(secret).verify(Buffer.from(body, "base64").toString(), headers);
    return true;
  } catch (error) {
    // Anything else than its refusal is a fault of the test.
    if (error.name !== "WebhookVerificationError" && error.constructor.name !== "WebhookVerificationError") throw error;
    return false;
  }
};
const deliveries = JSON.parse(readFileSync(0));
console.log(JSON.stringify(deliveries.map((each) => ({ standardwebhooks: verifies(Standard, each), svix: verifies(Svix, each) }))));
