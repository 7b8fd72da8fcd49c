"""Gets an access token, which is valid for ten minutes, and asks with it. Needs nothing but Python."""

import base64
import json
import os
import urllib.request

CLIENT_ID = "{{client_id}}"
CLIENT_SECRET = os.environ["KITH_CLIENT_SECRET"]


def token() -> str:
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    request = urllib.request.Request(
        "{{apps}}/oauth/token", b"grant_type=client_credentials", {"Authorization": f"Basic {basic}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["access_token"])


request = urllib.request.Request("{{question}}", headers={"Authorization": f"Bearer {token()}"})
with urllib.request.urlopen(request, timeout=10) as answer:
    print(json.dumps(json.load(answer), indent=2))
