#!/usr/bin/env bash
# Most people guess: AIRFLOW_CONN_KKTIX=https://kktix.example/api makes the HttpHook call
#   https://kktix.example/api/..., as the same text does in a browser.
# What really happens: a connection URI is no URL. What stands before :// is the connection's type,
#   what stands behind the host is its schema, and the HttpHook takes the scheme from there. So
#   https://kktix.example is called over http, https://kktix.example/api becomes api://kktix.example,
#   and http://kktix.example/https is called over https. As JSON, with the whole URL as host, it does
#   what one expects.
# Seen with: apache-airflow-providers-http 6.3.0, apache-airflow-core 3.3.2
# Source: the HTTP provider's page about its connection ("schema: http or https"; the example
#   URI ends in /https).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "apache-airflow-providers-http==6.3.0" "apache-airflow-core==3.3.2"
cd "$work"

cat > look.py <<'PY'
import os
import sys
from importlib.metadata import version

os.environ["AIRFLOW_HOME"] = os.getcwd()
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
CONNECTIONS = {
    "https://kktix.example": "http://kktix.example/attendees",
    "https://kktix.example:8443": "http://kktix.example:8443/attendees",
    "https://kktix.example/api": "api://kktix.example/attendees",
    "http://kktix.example/https": "https://kktix.example/attendees",
    '{"conn_type": "http", "host": "https://kktix.example/api"}': "https://kktix.example/api/attendees",
}
for number, text in enumerate(CONNECTIONS):
    os.environ[f"AIRFLOW_CONN_{number}"] = text

from airflow.providers.http.hooks.http import HttpHook

print("apache-airflow-providers-http", version("apache-airflow-providers-http"))
seen = {}
for number, text in enumerate(CONNECTIONS):
    hook = HttpHook(http_conn_id=str(number))
    hook.get_conn()
    seen[text] = hook.url_from_endpoint("attendees")
    print(f"  {text} -> {seen[text]}")
if seen != CONNECTIONS:
    print("changed; it was:", CONNECTIONS)
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
