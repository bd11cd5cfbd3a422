#!/usr/bin/env bash
# Most people guess: pypinyin reads a word the same in both scripts: it knows traditional
#   characters, and that a character's reading depends on the word.
# What really happens: it knows traditional characters, but few of the words: its list of phrases
#   has 银行, 音乐 and 重庆 and not 銀行, 音樂 and 重慶, so each character gets its most frequent
#   reading, without a sign: yin xing, yin le, zhong qing. Words that are written alike in both
#   (自行) are right, which is what a quick test shows. Zhuyin, the alphabet of Taiwan, is
#   made from the same reading. Converted to simplified characters first, the words are right.
# Seen with: pypinyin 0.55.0
# Source: https://github.com/mozillazg/python-pinyin/issues/193 (a traditional word is read wrongly
#   and, in simplified characters, rightly); seen by this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pypinyin==0.55.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from pypinyin import Style, lazy_pinyin
from pypinyin.constants import PHRASES_DICT

print("pypinyin", version("pypinyin"))


def look(word):
    return " ".join(lazy_pinyin(word)), word in PHRASES_DICT


expected = {
    "银行": ("yin hang", True),
    "銀行": ("yin xing", False),
    "音乐": ("yin yue", True),
    "音樂": ("yin le", False),
    "重庆": ("chong qing", True),
    "重慶": ("zhong qing", False),
    "长城": ("chang cheng", True),
    "長城": ("zhang cheng", False),
    "会计": ("kuai ji", True),
    "會計": ("hui ji", False),
    "睡觉": ("shui jiao", True),
    "睡覺": ("shui jue", False),
    "重复": ("chong fu", True),
    "重複": ("zhong fu", False),
    "传记": ("zhuan ji", True),
    "傳記": ("chuan ji", False),
    "干净": ("gan jing", True),
    "乾淨": ("qian jing", False),
    "音樂會": ("yin le hui", False),
    "自行": ("zi xing", True),
}
seen = {word: look(word) for word in expected}
expected["zhuyin"] = ["ㄧㄣˊ ㄏㄤˊ", "ㄧㄣˊ ㄒㄧㄥˊ"]
seen["zhuyin"] = [" ".join(lazy_pinyin(word, style=Style.BOPOMOFO)) for word in ("银行", "銀行")]
for word, value in seen.items():
    print(f"  {word}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
