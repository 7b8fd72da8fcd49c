# First: export KITH_CLIENT_SECRET=kiths_…
TOKEN=$(curl -sS -f -u "{{client_id}}:$KITH_CLIENT_SECRET" -d grant_type=client_credentials \
  "{{apps}}/oauth/token" | sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p')
curl -sS -f -H "Authorization: Bearer $TOKEN" "{{question}}"
