from __future__ import annotations

import base64
import hashlib
import random
import uuid

import polars as pl
import pytest

from augment.records import SCHEMA
from filters.chain import chain_of, with_parents
from filters.credentials import KINDS, credentials
from filters.secrets import Secrets
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored
from tests.leaks import MADE, drawn
from tests.quality import fresh, pairs

FRAMES = ("{}", "我把它发给你：\n{}\n看完请删掉。", "（{}）", "key: {} 谢谢", "血压120/80，{}，每天一片")
RNG = random.Random(7)
PNG = base64.b64encode(bytes(RNG.randrange(256) for _ in range(30_000))).decode()


def kinds(text: str) -> list[str]:
    return [kind for kind, _ in credentials(text)]


def positives(seed: int = 0) -> list[tuple[str, str]]:
    """(kind, text): every writing of every kind in two frames, so that some begin a line and some are glued to Han."""
    rng = random.Random(seed)
    made = [(kind, make) for kind, makers in MADE.items() for make in makers]
    return [
        (kind, FRAMES[(at + turn) % 3].format(make(rng))) for turn in (0, 1) for at, (kind, make) in enumerate(made)
    ]


NEGATIVES = (
    *(getattr(hashlib, name)(b"x").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")),
    "commit " + hashlib.sha1(b"y").hexdigest() + " fixes it",
    "sha256:" + hashlib.sha256(b"layer").hexdigest(),
    "checksum = " + hashlib.md5(b"z").hexdigest(),
    "password_hash: $2b$12$" + drawn(RNG, 53),
    *(str(uuid.UUID(int=RNG.getrandbits(128))) for _ in range(3)),
    "request id 123e4567-e89b-12d3-a456-426614174000",
    "data:image/png;base64," + PNG,
    base64.b64encode("头疼两天，要不要去医院？".encode()).decode(),
    "密码：8位以上，数字和字母都要有",
    "忘记密码怎么办？点“忘记密码”，按提示重设。",
    "医保卡初始密码是身份证后六位",
    "密码：123456",
    "密码：******",
    "密码：<你的密码>",
    "口令：请向护士站询问",
    "口令是“芝麻开门”",
    "密钥交换算法是什么",
    "token 是词元，一个汉字大约 1 个 token",
    "password = getpass.getpass()",
    "password = os.environ['DB_PASSWORD']",
    "password=os.getenv('DB_PASS_2024')",
    "password: str = Field(min_length=8)",
    "password = config.database.password2",
    'password = "changeme123"',
    'password = "your-password-1"',
    "password=${DB_PASSWORD}",
    "password = $DB_PASSWORD1",
    "password: {{ vault_db_password_1 }}",
    "password is required",
    "password: at least 12 characters",
    "Password: hunter2",
    "api_key = YOUR_API_KEY",
    "api_key: <your-key>",
    "api_key = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
    "api_key=" + "s" + "k-your-openai-key-goes-here-1234567890",
    "OPENAI_API_KEY=" + "s" + "k-" + "x" * 48,
    "s" + "k-" + "1234567890abcdef" * 2,
    "ghp" + "_" + "x" * 36,
    "ghp" + "_" + "1234567890" * 3 + "abcdef",
    "AKI" + "AIOSFODNN7" + "EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "AI" + "za" + "SyExampleExampleExampleExampleExamp1",
    "-----BEGIN RSA PRIVATE " + "KEY-----\n...\n-----END RSA PRIVATE " + "KEY-----",
    "-----BEGIN " + "PUBLIC KEY-----\n" + drawn(RNG, 200) + "\n-----END PUBLIC KEY-----",
    "-----BEGIN " + "CERTIFICATE-----\n" + drawn(RNG, 400) + "\n-----END CERTIFICATE-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + drawn(RNG, 43) + " user@host",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    + "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "postgres://user:password@localhost:5432/db",
    "postgres://user:secret1@db.example.com/app",
    "redis://:<password>@host:6379",
    "mysql://root:${MYSQL_PASSWORD}@db/app",
    "见 https://www.who.int/zh/news-room:443/fact-sheets?id=3&v=2@2x",
    "Authorization: Bearer <token>",
    "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE",
    "Bearer of good news, she came at eight in the morning",
    "Basic authentication sends user and password",
    "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    "pk_" + "live_" + drawn(RNG, 24),
    "token = response.json()['access_token_2024']",
    "access_token = session.tokens[0]",
    "secret = hashlib.sha256(data).hexdigest()",
    "client_secret = (settings.OAUTH_CLIENT_SECRET or None)",
    'key: "Optional[ec.EllipticCurvePrivateKey]"',
    'private_key: PKCS7PrivateKeyTypes, token = "X-Xet-Access-Token"',
    '{"access_token": "2YotnFZFEjr1zCsicMWpAA", "expires_in": 3600}',
    "notify://{user}:{pass}@{host}, https://oauth2:my-token@git.hospital.cn",
    "max_tokens=4096, tokenizer=BertTokenizerFast",
    "The secret is regular sleep: 7–9 hours",
    "阿莫西林 0.5g 每日3次×7天，青霉素过敏者禁用",
    "国药准字H20123456，批号20230815A12",
    "doi:10.1016/j.jad.2019.12.034, PMID 31234567",
    "private_key_path=/etc/ssl/private/server2.key",
    "def login(user, password): return check(user, password)",
    "SELECT id, password FROM users WHERE id = 42",
    "for key in keys: print(key, table[key])",
    "HbA1c 7.2%，eGFR 85 mL/min/1.73m²，LDL-C 2.6mmol/L",
)


def test_every_kind_is_found_and_hardly_anything_else_is():
    made = positives()
    assert len(made) >= 60 and {kind for kind, _ in made} == set(KINDS) and len(NEGATIVES) >= 60
    missed = [(kind, text) for kind, text in made if kind not in kinds(text)]
    false = [text for text in NEGATIVES if kinds(text)]
    precision = (len(made) - len(missed)) / (len(made) - len(missed) + len(false))
    assert (missed, false, precision) == ([], [], 1.0)


def test_what_is_drawn_anew_is_found_as_well():
    made = [case for seed in range(1, 21) for case in positives(seed)]
    found = sum(kind in kinds(text) for kind, text in made)
    assert found / len(made) > 0.995, found


@pytest.mark.parametrize("kind", MADE)
def test_a_kind_is_named_and_its_secret_is_not(kind):
    context = context_of([("头疼怎么办", "多休息。")])
    rng = random.Random(3)
    texts = [make(rng) for make in MADE[kind]]
    out = scored(Secrets(), rows(context, *(("s0", "头疼咋办", f"多休息。{text}") for text in texts)), context)
    assert all(reason.split(" ", 1)[1] == kind for reason in out["reason"])
    assert out["secrets_count"].to_list() == [1] * len(texts)
    told = str(out.select(*Secrets.scores, "reason").rows())
    values = [value for text in texts for _, value in credentials(text)]
    assert len(values) == len(texts) and not any(value[-8:] in told for value in values)


def test_full_width_and_invisible_characters_hide_nothing():
    token = MADE["GitHub token"][0](random.Random(1))
    wide = "".join(chr(ord(each) + 0xFEE0) for each in token)
    context = context_of()
    split = token[:2] + "\u200b" + token[2:9] + "\u200b" + token[9:]
    frame = rows(context, *((None, "头疼怎么办", f"用{each}登录") for each in (wide, split)))
    assert reasons(Secrets(), frame, context) == ["a GitHub token"] * 2


def test_what_the_seed_holds_already_counts_and_is_said():
    old, new = (MADE["npm token"][0](random.Random(seed)) for seed in (1, 2))
    context = context_of([(f"这个{old}是什么", "一个令牌。"), ("头疼", "多休息。")])
    frame = rows(
        context,
        ("s0", f"请问{old}是做什么的", "一个令牌。"),
        ("s0", f"请问{new}是做什么的", "一个令牌。"),
        ("s0", "请问这串字符是做什么的", "一个令牌。"),
        ("s0", "请问这串字符是做什么的", f"一个令牌：{old}"),
    )
    same = "an npm token, as in its seed"
    assert reasons(Secrets(), frame, context) == [same, "an npm token", None, same]


def test_a_new_example_is_held_against_the_seeds_that_it_was_made_of():
    token = MADE["npm token"][0](random.Random(1))
    context = context_of([("头疼", "多休息。"), (f"{token}", None)], makes_new=frozenset({"g"}))
    frame = rows(context, ("s0", f"{token}是什么", None)).with_columns(parents=pl.Series([["s0", "s1"]]))
    assert reasons(Secrets(), frame, context) == ["an npm token, as in its seed"]


@pytest.mark.parametrize("name", ["prompt", "response", "label", "caption", "context", "span", "messages"])
@pytest.mark.parametrize(
    ("leak", "by"), [("npm token", "secrets"), ("打13812345679", "pii"), ("a.wang@hospital.cn", "pii")]
)
def test_every_column_of_words_is_read(name, leak, by):
    leak = MADE[leak][0](random.Random(1)) if leak in MADE else leak
    context = context_of([("头疼怎么办", "多休息。")])
    text = f'[{{"role":"user","content":"头疼"}},{{"role":"user","content":"嗯\\n{leak}"}},{{"role":"user","content":"好"}}]'
    frame = pl.DataFrame(
        [{"id": "v", "parents": ["s0"], "generator": "g", "prompt": "头疼咋办", "response": "多休息。"}],
        schema={**SCHEMA, "context": pl.String, "span": pl.String, "messages": pl.String},
    ).with_columns(pl.lit(text if name == "messages" else f"听说{leak}").alias(name))
    assert chain_of(["pii", "secrets"]).sift(frame, context)["dropped_by"].to_list() == [by]


def test_a_caption_is_read_in_every_modality():
    token = MADE["npm token"][0](random.Random(1))
    seeds = pl.DataFrame([{"id": "s0", "caption": "一个红色方块"}], schema=SCHEMA)
    context = context_of()
    context.seeds = seeds
    frame = with_parents(
        pl.DataFrame([{"id": "v", "parents": ["s0"], "caption": f"红色方块，{token}"}], schema=SCHEMA), context
    )
    assert reasons(Secrets(), frame, context) == ["an npm token"]
    for modality in ("image", "paired"):
        assert {"pii", "secrets"} <= {each.name for each in chain_of(["default"], modality=modality).filters}


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_has_any(texts):
    context = context_of()
    assert set(reasons(Secrets(), rows(context, *((None, *each) for each in texts())), context)) == {None}


def test_no_labelled_pair_has_any():
    context = context_of()
    told = pl.concat([pairs(), fresh()]).select("prompt", "response").rows()
    assert set(reasons(Secrets(), rows(context, *((None, *each) for each in told)), context)) == {None}
