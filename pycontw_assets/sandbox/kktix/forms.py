"""Registration forms as organisers write them: bilingual, different per family, with all the known oddities.

A form is a list of ``[label, answer]`` pairs. Labels may repeat, may be whole paragraphs and are cut at 200
characters. Answers may be numbers, lists, booleans or null. KKTIX appends the contact block in one of two languages.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pycontw_assets.sandbox.kktix.people import Person

Locale = Literal["zh", "en"]
LONGEST_LABEL = 200

CONTACT_LABELS: dict[Locale, tuple[str, str, str]] = {
    "zh": ("聯絡人 姓名", "聯絡人 Email", "聯絡人 手機"),
    "en": ("Contact Name", "Contact Email", "Contact Mobile"),
}
ADDRESS_LABELS = frozenset(labels[1] for labels in CONTACT_LABELS.values())

_PRIVACY_PARAGRAPH = (
    "Please read the following carefully before you go on: the organisers use what you fill in only to prepare the "
    "conference (badges, meals, T-shirts, invoices) and delete it afterwards. "
    "請詳閱以下說明：主辦單位僅將您填寫的資料用於會議籌備（名牌、餐點、衣服、發票），並於會後刪除。"
)
_CFP_QUESTION = (
    "(For Submitter) How did you know the CfP information of PyCon Taiwan? / "
    "(投稿者) 你是怎麼得知 PyCon Taiwan 徵稿資訊？"
    '(If you are NOT submitter, fill in "non-submitter" / 如果您沒有投稿，請填寫「非投稿者」) '
    "You may name several sources, one per line / 可填寫多個來源，一行一個"
)
_YEARS = ("<1 year", "1-3 years", "3-5 years", "5-10 years", ">10 years")
_AREAS = ("Web 網站", "Data 資料分析", "Embedded 嵌入式", "DevOps", "Education 教育")


def _common(person: Person, chance: random.Random) -> list[list[Any]]:
    return [
        ["Nickname / 暱稱 (Shown on Badge)", person.nickname],
        ["Gender / 生理性別", chance.choice(["Female 女", "Male 男", "Others 其他", ""])],
        ["Years of Using Python / 使用 Python 多久", chance.choice(_YEARS)],
        ["Area of Interest / 興趣領域", chance.sample(_AREAS, chance.randint(1, 3))],
        [
            "Company  / 服務單位 (For students or teachers, fill in the School + Department Name / "
            "學校單位請填寫學校及系所名稱)",
            person.company,
        ],
        [
            'Job Title / 職稱 (If you are a student, fill in "student" / 如果您是「學生」，請填寫「student」)',
            chance.choice(["student", "Engineer 工程師", "Teacher"]),
        ],
        ["Come From / 國家或地區", chance.choice(["Taiwan 台灣", "Japan 日本", "Elsewhere"])],
        ["Dietary Preference / 飲食偏好", chance.choice(["Regular 葷食", "Vegetarian 素食", None])],
        [_PRIVACY_PARAGRAPH, ""],
    ]


def _corporate(person: Person, chance: random.Random) -> list[list[Any]]:
    return [
        ["# invoice policy #", ""],
        ["Invoiced Company Name / 發票抬頭 (Optional)", person.company],
        ["Unified Business No. / 發票統編 (Optional)", chance.choice(["00000000", ""])],
        *_common(person, chance),
        ["Size of T-shirt / T恤尺寸", chance.choice(["S", "M", "L", "XL"])],
    ]


def _individual(person: Person, chance: random.Random) -> list[list[Any]]:
    return [
        *_common(person, chance),
        ["Age Range / 年齡區間", chance.choice([25, "26-30", "31-40"])],
        [_CFP_QUESTION, "non-submitter"],
        ["Have you ever attended PyCon TW? / 您是否曾參加 PyCon TW？", chance.choice([True, False])],
        ["Would you like to receive an email from sponsors? / 是否願意收到贊助商轉發的電子郵件？", "No 不願意"],
    ]


def _reserved(person: Person, chance: random.Random) -> list[list[Any]]:
    """Return a form with a second address question, which must not be used for the invitation."""
    return [
        *_common(person, chance),
        ["Email", "badge-desk@example.net"],
        ["Need Shuttle Bus Service? 會議三天的早上  要搭交通車到會場嗎?", chance.choice(["Yes", "No"])],
        ["Others / 其他", ""],
        ["Others / 其他", "second question of the same name"],
    ]


_FORMS = {"corporate": _corporate, "individual": _individual, "reserved": _reserved}


def fill_in(family: str | None, person: Person, chance: random.Random, *, locale: Locale = "zh") -> list[list[Any]]:
    """Return the answered form, in form order, with the contact block and the tag field last."""
    questions = _FORMS.get(family or "individual", _individual)(person, chance)
    name, address, phone = CONTACT_LABELS[locale]
    contact = [[name, person.name], [address, person.address], [phone, person.phone], ["標籤", ""]]
    return [[label[:LONGEST_LABEL], value] for label, value in questions + contact]


def change_address(answers: list[list[Any]], address: str) -> None:
    """Replace the contact address in place; other questions about addresses keep their answers."""
    for pair in answers:
        if pair[0] in ADDRESS_LABELS:
            pair[1] = address


def contact_address(answers: list[list[Any]]) -> str:
    return next((str(value or "") for label, value in answers if label in ADDRESS_LABELS), "")
