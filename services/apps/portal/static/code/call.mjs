// Gets an access token, which is valid for ten minutes, and asks with it. Needs nothing but Node.js 18.
const id = "{{client_id}}", secret = process.env.KITH_CLIENT_SECRET;

async function ask(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

const { access_token: token } = await ask("{{apps}}/oauth/token", {
  method: "POST",
  headers: { Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` },
  body: new URLSearchParams({ grant_type: "client_credentials" }),
});
const found = await ask("{{question}}", { headers: { Authorization: `Bearer ${token}` } });
console.log(JSON.stringify(found, null, 2));
