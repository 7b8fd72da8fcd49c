#!/bin/sh
# Makes what deploy/compose.production.yml takes as secrets, in deploy/secrets or a folder that is named:
#   sh deploy/secrets.sh [FOLDER]
# A certificate for Kafka and MongoDB under an authority of its own, a password for each user, the master key, and the
# key of the audit, which is used where KITH_AUDIT_KEY_FILE names it. What exists stays. Needs openssl 1.1.1 or newer.
# As root it gives each file to the user of the container that reads it.
set -eu
cd "$(dirname "$0")"
folder=${1:-secrets}
users="ingest relations analytics privacy exports intelligence webhooks apps rabbitmq cassandra postgres operator backup admin"
kith=10001 mongo=999 kafka=1000
umask 077
mkdir -p "$folder"
# Whoever may enter reads what is readable, such as the authority's certificate.
chmod 711 "$folder"
cd "$folder"

owned() { # owned UID FILE: readable by that user alone
  chmod 400 "$2"
  [ "$(id -u)" != 0 ] || chown "$1:$1" "$2"
}

quietly() { # quietly COMMAND…: what it says is shown if it fails
  said=$("$@" 2>&1) || { printf '%s\nNo certificate was made: %s failed\n' "$said" "$1" >&2; exit 1; }
}

random() { # random FILE FORMAT BYTES: a file that is not there; if it fails, it still is not
  [ -e "$1" ] || { openssl rand "$2" "$3" >"$1.new" && mv "$1.new" "$1"; }
}

if [ ! -e ca.crt ]; then
  # A configuration of its own: OpenSSL 1.1.1 adds what -addext states to what its own file states, and Java takes no
  # extension twice.
  printf '[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' >ca.cnf
  quietly openssl req -x509 -config ca.cnf -newkey rsa:3072 -nodes -days 3650 -subj "/CN=Kith servers" -keyout ca.key -out ca.crt
  rm -f ca.cnf
  chmod 444 ca.crt
fi
for server in kafka mongo; do
  [ ! -e $server.pem ] || continue
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' $server >$server.ext
  quietly openssl req -newkey rsa:3072 -nodes -subj "/CN=$server" -keyout $server.key -out $server.csr
  # Before OpenSSL 3, a serial number has to be asked for.
  quietly openssl x509 -req -in $server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile $server.ext -out $server.crt
  cat $server.key $server.crt >$server.pem
  rm -f $server.ext $server.csr $server.key $server.crt ca.srl
done
random mongo.keyfile -base64 384
random master.key -base64 32
random audit.key -base64 32
for user in $users; do
  # Hexadecimal, so that it needs no escape in an address.
  random $user.password -hex 32
  name=kith-$user
  [ $user != admin ] || name=admin
  [ -e $user.mongo ] || printf 'mongodb://%s:%s@%s/?replicaSet=rs0&authSource=admin&tls=true&tlsCAFile=%s\n' \
    $name "$(cat $user.password)" "${KITH_MONGO_HOST:-mongo:27017}" "${KITH_MONGO_CA:-/run/secrets/ca.crt}" >$user.mongo
  owned $kith $user.mongo
  owned $kith $user.password
done
password=$(cat admin.password)
[ -e kafka.properties ] || cat >kafka.properties <<PROPERTIES
jaas=org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="$password" user_admin="$password";
PROPERTIES
# The addresses of outside systems are yours to write; compose wants the files.
for empty in rabbitmq.amqp cassandra.cassandra postgres.postgres; do
  [ -e $empty ] || : >$empty
  owned $kith $empty
done
owned $kith master.key
owned $kith audit.key
owned $kafka kafka.pem
owned $kafka kafka.properties
owned $mongo mongo.pem
owned $mongo mongo.keyfile
# The image of MongoDB makes its first user with it; the job that makes the others reads admin.password.
[ -e mongo-admin.password ] || cp admin.password mongo-admin.password
owned $mongo mongo-admin.password
echo "$(pwd): keep ca.key, master.key and audit.key as long as the data, and a copy of the two keys elsewhere"
