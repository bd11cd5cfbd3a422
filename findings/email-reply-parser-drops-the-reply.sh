#!/usr/bin/env bash
# Most people guess: email_reply_parser takes quoted text and what stands behind "-- " off a mail;
#   where it finds neither it returns the whole text.
# What really happens: a last paragraph that begins with "-" and a letter is a signature ("-two
#   tickets", where "- two tickets" is none), and so is "--no shirt"; a line "To: Tainan" or
#   "Subject: tickets" is the head of a quotation, and it goes with all that follows; a line "On
#   Monday you wrote:" likewise, so that a reply which begins with it is empty. The head of a
#   quotation in Chinese, on the other hand, stays.
# Seen with: email-reply-parser 0.5.12
# Source: https://github.com/zapier/email-reply-parser/issues/30 (the signature);
#   email_reply_parser/__init__.py in the package (SIG_REGEX, QUOTE_HDR_REGEX, HEADER_REGEX).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check email-reply-parser==0.5.12
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from email_reply_parser import EmailReplyParser

print("email-reply-parser", version("email-reply-parser"))
ask = "Hello, I should like"
expected = {
    f"{ask}\n\n- two tickets": f"{ask}\n\n- two tickets",
    f"{ask}\n\n-two tickets": ask,
    f"{ask}\n-two tickets": f"{ask}\n-two tickets",
    f"{ask}\n\n--no shirt": ask,
    f"{ask}\n\nTo: Tainan\nFrom: Taipei": ask,
    f"{ask}\n\nSubject: tickets\n\nThanks": ask,
    "On Monday you wrote:\n\nplease change the name": "",
    "Yes.\n\nOn Sat, Sep 5, 2026 Ann <ann@example.org> wrote:\n> Two?": "Yes.",
    "好的\n\n2026年9月5日 Ann <ann@example.org> 寫道：\n> 兩張？": "好的\n\n2026年9月5日 Ann <ann@example.org> 寫道：",
}
seen = {text: EmailReplyParser.parse_reply(text) for text in expected}
for text, reply in seen.items():
    print(f"  {text!r}: {'all of it' if reply == text else repr(reply)}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
