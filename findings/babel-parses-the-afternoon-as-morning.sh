#!/usr/bin/env bash
# Most people guess: parse_time(format_time(t, locale=l), locale=l) is t, apart from seconds,
#   for a locale that Babel has all the data of; a part of the text that it cannot read is an
#   error.
# What really happens: parse_time takes the numbers out of the text and looks for "am" and "pm"
#   in it, in every locale. In a locale with a 12-hour clock and words for the parts of the day
#   (Taiwan's 凌晨, 上午, 中午, 下午 and 晚上, Korea's 오후) all afternoons become mornings, without an
#   error: 下午3:30 is 03:30, 晚上9:30 is 09:30, 凌晨12:30 is 12:30. The 24-hour locales (zh_CN, ja)
#   and English are right, so a test in English shows nothing. parse_date of a date of Taiwan's
#   calendar, 115/9/1, is the year 115.
# Seen with: babel 2.19.0
# Source: this script; babel's source (babel/dates.py, parse_time: "if 'pm' in string.lower()")
#   and its documentation, which says that the locale's format is only a hint for the order of
#   the fields (https://babel.pocoo.org/en/latest/api/dates.html)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check babel==2.19.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import sys

import babel
from babel.dates import format_time, parse_date, parse_time

print("babel", babel.__version__)


def round_trip(locale):
    texts = [format_time(datetime.time(hour, 30), "short", locale=locale) for hour in (0, 9, 12, 15, 21)]
    print("  ", locale, *map(repr, texts))
    return [parse_time(text, locale=locale, format="short").hour for text in texts]


seen = {locale: round_trip(locale) for locale in ("en_US", "ja", "zh_CN", "zh_TW", "zh_HK", "ko")}
seen["parse_time('下午3:30', zh_TW)"] = str(parse_time("下午3:30", locale="zh_TW"))
seen["parse_date('115/9/1', zh_TW)"] = str(parse_date("115/9/1", locale="zh_TW"))
print("  hours written: [0, 9, 12, 15, 21], and read again:")
for key, value in seen.items():
    print(f"  {key}: {value}")
right, wrong = [0, 9, 12, 15, 21], [12, 9, 12, 3, 9]
expected = dict(zip(seen, [right, right, right, wrong, wrong, wrong, "03:30:00", "0115-09-01"]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
