"""Receives deliveries, and takes only those whose signature is valid. Needs nothing but Python."""

import base64
import hmac
import json
import os
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A delivery is smaller. Whoever sends more is not listened to.
MOST_BYTES = 2**20
KEY = base64.b64decode(os.environ["KITH_WEBHOOK_SECRET"].removeprefix("whsec_"))


def is_valid(headers: Message, body: bytes) -> bool:
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = hmac.digest(KEY, f"{id}.{timestamp}.".encode() + body, "sha256")
    expected = "v1," + base64.b64encode(signed).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), each.encode()) for each in given)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        if not 0 <= size <= MOST_BYTES:
            self.close_connection = True
            return
        body = self.rfile.read(size)
        if valid := is_valid(self.headers, body):
            change = json.loads(body)
            # The same id comes again where an answer was lost: take each once.
            print(self.headers["webhook-id"], change["type"], change["data"], flush=True)
        self.send_response(204 if valid else 401)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver).serve_forever()
