from __future__ import annotations

import random

import pytest

from filters.personal import KINDS, personal
from filters.pii import Pii
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

ID, OLD_ID, CARD, MOBILE = "11010519491231002X", "110105491231002", "6222023456789012342", "13812345679"


def kinds(text: str) -> list[str]:
    return [kind for kind, _ in personal(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ID, "id"),
        ("11010519491231002x", "id"),
        (OLD_ID, "id"),
        (MOBILE, "phone"),
        ("+86 13812345679", "phone"),
        ("+8613812345679", "phone"),
        ("138-1234-5679", "phone"),
        ("138 1234 5679", "phone"),
        ("(212) 555-0187", "phone"),
        ("+44 20 7946 0958", "phone"),
        ("010-62345678", "landline"),
        ("(0571)87654321", "landline"),
        ("02162345678", "landline"),
        ("zhang.san@mail.163.com", "email"),
        ("6222 0234 5678 9012 342", "card"),
        (CARD, "card"),
        ("4539148803436467", "card"),
        ("微信号：zhangsan88", "account"),
        ("QQ:123456789", "account"),
        ("8.134.22.190", "address"),
        ("110105 19491231 002X", "id"),
        ("110105-19491231-002X", "id"),
        ("身份证号：110105194912310021", "id"),  # a wrong check digit, but the label says what it is
        ("138-12345679", "phone"),
        ("1381234 5679", "phone"),
        ("1381-2345-679", "phone"),
        ("138.1234.5679", "phone"),
        ("138·1234·5679", "phone"),
        ("1-3-8-1-2-3-4-5-6-7-9", "phone"),
        ("+86 (138) 1234 5679", "phone"),
        ("(+86)138-1234-5679", "phone"),
        ("一三八一二三四五六七九", "phone"),
        ("138\u200b1234\u200b5679", "phone"),
        ("18012345679", "phone"),  # not toll-free: 180 is a mobile prefix
        ("tel 2125550187", "phone"),
        ("+1 303 555 0187", "phone"),
        ("00852-23456789", "phone"),
        ("010-6234-5678", "landline"),
        ("(010)6234 5678", "landline"),
        ("+86-10-62345678", "landline"),
        ("0755 8765 4321", "landline"),
        ("zhang.san(at)gmail(dot)com", "email"),
        ("zhangsan#163.com", "email"),
        ("zhang3 @ qq . com", "email"),
        ("3782 822463 10005", "card"),
        ("银行卡号：6222021234567890123", "card"),
        ("护照号E12345678", "document"),
        ("passport no. X1234567", "document"),
        ("病历号：00123456", "document"),
        ("SSN 123-45-6780", "document"),
        ("123-45-6780", "document"),
        ("粤B·D1234F", "plate"),
        ("张江路123弄4号501室", "home"),
        ("家住幸福路18号", "home"),
        ("123 Main St, Apt 4B, New York, NY 10001", "home"),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "我的号码是{}请打过来", "（{}）", "{}，谢谢", "wide"])
def test_personal_data_is_found_glued_to_han_and_in_full_width(text, kind, frame):
    if frame == "wide":
        text = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)
        frame = "我的是{}吗"
    assert kinds(frame.format(text)) == ([kind] if kind else [])


@pytest.mark.parametrize(
    "text",
    [
        "110105194912310021",  # the check digit is wrong
        "990105194912310029",  # no such province
        "110105194913310029",  # no such day
        "12345678901",
        "23812345679",
        "6222023456789012343",
        "1381234567",
        "138123456790",
        "0.13812345679",
        "血压120/80，心率75",
        "2023-01-01 12:30",
        "400-161-9995",
        "1-800-273-8255",
        "北京心理危机干预热线010-82951332",
        "120",
        "12345",
        "someone@example.com",
        "@所有人",
        "192.168.1.100",
        "第1.2.3.4节",
        "300.10.20.30",
        "微信运动每天10000步",
        "用微信加我",
        "一共13800元",
        "孕酮25.13812345679",
        "12320",
        "12356",
        "4001619995",
        "400-821-1215",
        "021-12320-5",
        "上海市精神卫生中心电话（021）64387250",
        "027-85844666（湖北省心理热线）",
        "Poison Control Center 212-764-7667",
        "+1 800 222 1222",
        "1-800-662-4357",
        "600-800-1000 mg",
        "300 400 5000",
        "138 20190101",
        "1500 1800 200kcal",
        "西什库大街8号",
        "建国路88号医院3号楼201室",
        "国药准字H20123456",
        "ISBN 978-7-117-12345-6",
        "11 12 13 14 15 16 17 18",
        "2019-2020年共12345678例",
        "一二三四五六七八九十",
        "",
    ],
)
def test_other_numbers_and_names_are_not(text):
    assert kinds(text) == []


def test_what_the_seed_says_already_is_not_new_and_counts_unless_told():
    context = context_of([(f"我的电话{MOBILE}，头疼怎么办", "多休息。")])
    same, spaced, other = "打138 1234 5679找我，头疼咋办", f"头疼咋办，电话{MOBILE}", "头疼咋办，打13912345678"
    frame = rows(context, *(("s0", each, "多休息。") for each in (same, spaced, other)))
    seeds = "a phone number, as in its seed"
    assert reasons(Pii(), frame, context) == [seeds, seeds, "a phone number"]
    assert reasons(Pii(inherited=False), frame, context) == [None, None, "a phone number"]
    assert reasons(Pii(kinds=("id", "email")), frame, context) == [None] * 3


def test_scores_count_each_kind_and_hold_none_of_it():
    context = context_of([("头疼怎么办", "多休息。")])
    text = f"头疼，身份证{ID}，电话{MOBILE}或13912345678，邮箱a.b@qq.com，卡号{CARD}"
    out = scored(Pii(), rows(context, ("s0", text, "多休息。"), ("s0", "头疼咋办", "多休息。")), context)
    assert out["pii_new"].to_list() == ["id phone email card", ""]
    assert [out[f"pii_{kind}"][0] for kind in KINDS] == [1, 2, 0, 1, 1, 0, 0, 0, 0, 0]
    told = str(out.select(list(Pii.scores)).rows())
    assert not any(each in told for each in (ID, MOBILE, "a.b", CARD))
    assert out["reason"].to_list() == ["an identity number", None]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_has_any(texts):
    context = context_of()
    assert set(reasons(Pii(), rows(context, *((None, *each) for each in texts())), context)) == {None}


def test_planted_numbers_are_all_found_and_the_like_without_a_check_digit_are_not():
    rng = random.Random(0)
    weights, found, wrong = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), 0, 0
    for _ in range(300):
        body = f"3301{rng.randint(0, 99):02}19{rng.randint(10, 99)}0{rng.randint(1, 9)}{rng.randint(10, 28)}{rng.randint(0, 999):03}"
        check = sum(int(a) * b for a, b in zip(body, weights, strict=True)) % 11
        right, off = "10X98765432"[check], "10X98765432"[(check + rng.randint(1, 10)) % 11]
        found += kinds(f"患者{body}{right}入院") == ["id"]
        wrong += "id" in kinds(f"患者{body}{off}入院")
    assert (found, wrong) == (300, 0)
