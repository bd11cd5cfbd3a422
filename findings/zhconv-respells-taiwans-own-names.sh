#!/usr/bin/env bash
# Most people guess: zhconv.convert(text, "zh-tw") brings text of any kind into Taiwan's form, so
#   text that is written in it already comes back unchanged, and a column of names and addresses
#   in both scripts can be put through it.
# What really happens: a character that is one in Taiwan's form and also the simplified form of
#   another is replaced: the surnames 余 and 游 become 餘 and 遊, 范 becomes 範, 萬里區 becomes
#   萬裡區, and even the county 苗栗 is written 苗慄. OpenCC's s2tw does so with some of them: it
#   expects simplified text. Its t2tw, for traditional text, leaves all as they are.
# Seen with: zhconv 1.4.3, OpenCC 1.4.2
# Source: this script; zhconv/zhcdict.json (MediaWiki's tables), the table of configurations in
#   https://github.com/BYVoid/OpenCC
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check zhconv==1.4.3 OpenCC==1.4.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import opencc
import zhconv

print(*(f"{name} {version(name)}" for name in ("zhconv", "OpenCC")))
from_simplified, from_traditional = opencc.OpenCC("s2tw"), opencc.OpenCC("t2tw")


def written(text):
    return zhconv.convert(text, "zh-tw"), from_simplified.convert(text), from_traditional.convert(text)


expected = {
    "余小明": ("餘小明", "餘小明", "余小明"),
    "游小姐": ("遊小姐", "遊小姐", "游小姐"),
    "范小姐": ("範小姐", "范小姐", "范小姐"),
    "新北市萬里區": ("新北市萬裡區", "新北市萬裡區", "新北市萬里區"),
    "雲林縣斗六市": ("雲林縣鬥六市", "雲林縣斗六市", "雲林縣斗六市"),
    "苗栗縣後龍鎮": ("苗慄縣後龍鎮", "苗栗縣後龍鎮", "苗栗縣後龍鎮"),
    "王小明": ("王小明", "王小明", "王小明"),
}
seen = {text: written(text) for text in expected}
for text, value in seen.items():
    print(f"  {text}: zhconv zh-tw, OpenCC s2tw, OpenCC t2tw: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
