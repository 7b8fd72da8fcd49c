# Verifies a delivery: its headers are in WEBHOOK_ID, WEBHOOK_TIMESTAMP and WEBHOOK_SIGNATURE, its body, byte by
# byte, is in body.json. First: export KITH_WEBHOOK_SECRET=whsec_…
KEY=$(printf %s "${KITH_WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
EXPECTED="v1,$({ printf %s. "$WEBHOOK_ID" "$WEBHOOK_TIMESTAMP"; cat body.json; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | base64)"
case " $WEBHOOK_SIGNATURE " in
  *" $EXPECTED "*) echo "the signature is valid" ;;
  *) echo "the signature is not valid"; exit 1 ;;
esac
