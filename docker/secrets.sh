#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml reads: random passwords, a certificate authority of this
# clone, and a certificate for each database. What is there already is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# Other users of this machine cannot enter the folder; the containers' users read the files in it.
mkdir -p -m 700 secrets
cd secrets

password() { openssl rand -hex 24; }

for name in causeway_superuser causeway_db riverside_superuser riverside_capture stmarys_superuser stmarys_capture; do
  file=${name}_password
  [ -e "$file" ] || password >"$file"
done

# One line for each user of the region: `user = password`.
if [ ! -e user_passwords ]; then
  sed -n 's/^id = "\(.*\)"$/\1/p' ../../site/users.toml | while read -r user; do
    printf '%s = %s\n' "$user" "$(openssl rand -hex 8)"
  done >user_passwords
fi

if [ ! -e ca_certificate ]; then
  openssl req -x509 -newkey rsa:3072 -nodes -days 825 -subj '/CN=Causeway local authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout ca_key -out ca_certificate 2>/dev/null
fi
for host in causeway-db riverside stmarys; do
  [ ! -e "${host}_certificate" ] || continue
  openssl req -newkey rsa:3072 -nodes -subj "/CN=$host" -keyout "${host}_key" -out request 2>/dev/null
  openssl x509 -req -in request -CA ca_certificate -CAkey ca_key -CAcreateserial -days 825 \
    -extfile <(printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$host") -out "${host}_certificate" 2>/dev/null
  rm request
done
chmod 444 -- *
chmod 400 ca_key
echo "secrets are in docker/secrets; users and their passwords in docker/secrets/user_passwords"
