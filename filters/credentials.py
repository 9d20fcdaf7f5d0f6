"""Credentials in a text: keys and tokens by their issuers' formats, passwords and keys that a label names.

What has a prefix of its own (`ghp_`, `AKIA`, …) is told by prefix, length and alphabet, and by being as mixed as what a
machine draws; what has none only where a label stands before it ("password:", 密码：) and it is mixed. Examples of a
manual are none: `<your-key>`, `xxxx`, `changeme`, 示例, AWS's own, a host called example.com. GitHub's checksum is not
asked for: a token with a wrong one teaches a model to write tokens, too.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from urllib.parse import unquote

import orjson

_ENDS = r"(?![A-Za-z0-9_-])"
_BEGINS = r"(?<![A-Za-z0-9])"
_PLACEHOLDER = re.compile(
    r"(?i)example|your|placeholder|change.?me|dummy|sample|redacted|replace|insert|secret.?key|api.?key|passw|foobar"
    r"|x{4,}|\*{3,}|\.{3,}|…|0{8,}|1234567|abcdef|qwerty|1234-1234|super.?secret|(?<![a-z0-9])my[_-]|<[^>]*>|\{\w+\}|\$\{|\{\{|\$[A-Z_]{3}|%[A-Z_]{3,}%|2YotnFZFEjr1|tGzv3JOkF0XG|czZCaGRSa3F0|QWxhZGRpbjpv"
    r"|示例|示范|你的|您的|替换|填写|此处|占位"
)
"""Words and marks of what stands for a secret; a key that is drawn has one of them once in 10,000 times."""
_WEAK = frozenset(
    (
        *("password", "passwd", "pass", "pwd", "secret", "admin", "root", "user", "username", "test", "guest", "token"),
        *("none", "null", "true", "false", "postgres", "mysql", "123456", "12345678", "123456789", "admin123"),
        *("root123", "test123", "p@ssw0rd", "p@ssword", "letmein", "welcome", "hunter2", "abc123", "111111"),
    )
)
"""Words that tutorials write where a password goes."""
_LABEL = re.compile(
    r"(?i)(?<![a-z0-9])[a-z0-9_.-]{0,24}?(?P<label>pass(?:word|wd|phrase|code)|pwd|api[_ -]?(?:key|secret|token)|apikey"
    r"|secret(?:[_ -]?(?:access)?[_ -]?key)?|access[_ -]?(?:key(?:[_ -]?(?:id|secret))?|token)|auth[_ -]?token|token"
    r"|account[_ -]?key|client[_ -]?secret|app[_ -]?secret|private[_ -]?key|密码|口令|密钥|秘钥|令牌|授权码)"
    r"[\"'`*]{0,3}(?: ?(?:=>|:=|[:=]|>(?=[^<>]{6,256}</)|(?:设置|设|改)?[是为成])| is) {0,2}"
    r"(?P<quote>[\"'`]?)(?P<value>[!-~]{6,256})"
)
_OPENS = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_URL = re.compile(
    r"(?i)(?<![a-z0-9])[a-z][a-z0-9+.-]{1,24}://[^\s:@/\"'<>]{0,64}:(?P<value>[^\s@/\"']{4,128})@(?P<host>[^\s/:\"'<>?,;]+)"
)


@dataclass(frozen=True)
class Format:
    """What one issuer's secrets look like: words of which one is in a text that holds any, a pattern, a last look."""

    kind: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    valid: Callable[[re.Match[str]], bool]


def bits(value: str) -> float:
    """Shannon entropy per character, in bits."""
    counts = Counter(value).values()
    return -sum(each / len(value) * log2(each / len(value)) for each in counts) if value else 0.0


def drawn(value: str, least: float = 2.8) -> bool:
    """Whether a machine may have drawn it: mixed characters, no run of the alphabet, nothing that says "example"."""
    steps = sum(ord(b) - ord(a) in (0, 1) for a, b in pairwise(value))
    return bits(value) >= least and 3 * steps < len(value) and _PLACEHOLDER.search(value) is None


def _body(match: re.Match[str]) -> bool:
    return drawn(match["body"])


def _key_block(match: re.Match[str]) -> bool:
    """A block whose key follows: at least 64 characters of base64 that are not all alike."""
    rest = match.string[match.end() : match.end() + 1200].replace("\\n", "\n").replace("\\r", "").partition("-----")[0]
    lines = [line.strip() for line in rest.split("\n") if ":" not in line]
    key = re.match(r"[A-Za-z0-9+/=]*", "".join(lines).replace(" ", ""))
    return key is not None and len(key.group()) >= 64 and drawn(key.group(), 4.0)


def _is_jwt(match: re.Match[str]) -> bool:
    """Three parts whose first is the JSON of a header with an algorithm; not the one of jwt.io."""
    head, claims = (_unpadded(each) for each in match.group().split(".")[:2])
    try:
        told = orjson.loads(head)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and "alg" in told and b"1234567890" not in claims and drawn(match["body"], 3.5)


def _unpadded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return b""


def _in_url(match: re.Match[str]) -> bool:
    host, value = match["host"].casefold(), unquote(match["value"])
    if re.search(r"(?:^|\.)example(?:\.(?:com|org|net|cn))?$|\.(?:test|invalid)$|^host(?:name)?$", host):
        return False
    if re.search(r"(?i)secret|token|pass|anon|[\[\]<>]", value):
        return False
    return len(value) >= 6 and value.casefold() not in _WEAK and _PLACEHOLDER.search(value) is None and bits(value) > 2


def _bearer(match: re.Match[str]) -> bool:
    value = match["body"]
    return drawn(value, 3.5) and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _basic(match: re.Match[str]) -> bool:
    user, colon, value = _unpadded(match["body"]).decode("utf-8", "replace").partition(":")
    return bool(user and colon) and "\ufffd" not in value and _mixed(value, 6)


def _assigned(match: re.Match[str]) -> bool:
    """Whether what a label names is a secret: for a password mixed and 8 characters, for a key drawn and 16."""
    value, quote = match["value"], match["quote"]
    value = value.partition(quote)[0] if quote else re.split(r"[\"'`,;)\]}<]", value)[0].rstrip(".!?:")
    if re.search(r"^[(\[]|\w[(\[]", match["value"] if not quote else value):
        return False  # a call, a subscript or a type: code that reads the secret from elsewhere
    if not quote and re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", value):
        return False  # settings.password_field2
    short = re.match(r"(?i)pass|pwd|密码|口令|授权码", match["label"]) is not None
    if re.match(
        r"(?i)https?://|[a-z]:\\|[~.]{1,2}/|/(?:etc|home|Users|usr|var|opt|root|data|tmp|mnt|srv|app|run)/", value
    ):
        return False
    if match["label"] == "授权码" and re.fullmatch("[a-z]{16}", value):
        return drawn(value)
    words = sum(map(len, re.findall("[A-Z]?[a-z]{3,}|[A-Z]{4,}", value)))  # of names in code nearly all is words
    return _mixed(value, 8) if short else _mixed(value, 16) and drawn(value) and 5 * words < 3 * len(value)


def _mixed(value: str, least: int) -> bool:
    """Letters and digits, or three of small and capital letters, digits and signs; varied, and nobody's example."""
    if len(value) < least or value.casefold() in _WEAK or _PLACEHOLDER.search(value):
        return False
    kinds = [re.search(each, value) is not None for each in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]")]
    if re.fullmatch(r"[0-9./:%~+-]+(?:mg|ml|g|kg|mmol/L|mmHg|days?|hours?|年|月|日)?", value):
        return False
    letters_and_digits = (kinds[0] or kinds[1]) and kinds[2]
    steps = sum(ord(b) - ord(a) in (0, 1) for a, b in pairwise(value))
    return (letters_and_digits or sum(kinds) >= 3) and bits(value) >= 2.5 and 2 * steps < len(value)


def _of(
    kind: str, words: str, pattern: str, valid: Callable[[re.Match[str]], bool] = _body, begins: str = _BEGINS
) -> Format:
    return Format(kind, tuple(words.split()), re.compile(begins + pattern), valid)


FORMATS: tuple[Format, ...] = (
    Format("private key", ("PRIVATE KEY",), _OPENS, _key_block),
    _of("private key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1(?P<body>[A-Z0-9]{58})" + _ENDS),
    _of("AWS key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)(?P<body>[A-Z0-9]{16})" + _ENDS),
    _of("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_(?P<body>[A-Za-z0-9]{36,255})" + _ENDS),
    _of("GitHub token", "github_pat_", r"github_pat_(?P<body>[A-Za-z0-9]{22}_[A-Za-z0-9]{59})" + _ENDS),
    _of("GitLab token", "glpat- gldt- glrt- glptt-", r"gl(?:pat|dt|rt|ptt)-(?P<body>[A-Za-z0-9_-]{20,64})" + _ENDS),
    _of(
        "Slack token", "xox xapp-", r"(?:xox[abeoprs]|xapp)-(?P<body>(?:[A-Za-z0-9]+-){1,4}[A-Za-z0-9]{16,64})" + _ENDS
    ),
    _of(
        "Stripe key",
        "sk_live_ sk_test_ rk_live_ rk_test_",
        r"[sr]k_(?:live|test)_(?P<body>[A-Za-z0-9]{16,247})" + _ENDS,
    ),
    _of("Stripe key", "whsec_", r"whsec_(?P<body>[A-Za-z0-9+/]{32,64})" + _ENDS),
    _of("Anthropic key", "sk-ant-", r"sk-ant-[a-z]{2,8}[0-9]{2}-(?P<body>[A-Za-z0-9_-]{40,128})" + _ENDS),
    _of("OpenAI key", "sk-", r"sk-(?!ant-)(?:(?:proj|svcacct|admin|or-v1)-)?(?P<body>[A-Za-z0-9_-]{32,200})" + _ENDS),
    _of("Google key", "AIza", r"AIza(?P<body>[A-Za-z0-9_-]{35})" + _ENDS),
    _of("Google key", "GOCSPX- ya29.", r"(?:GOCSPX-|ya29\.)(?P<body>[A-Za-z0-9_-]{28,400})" + _ENDS),
    _of("Hugging Face token", "hf_", r"hf_(?P<body>[A-Za-z0-9]{34,40})" + _ENDS),
    _of("npm token", "npm_", r"npm_(?P<body>[A-Za-z0-9]{36})" + _ENDS),
    _of("PyPI token", "pypi-AgEI", r"pypi-AgEI(?P<body>[A-Za-z0-9_-]{50,400})" + _ENDS),
    _of("Alibaba Cloud key", "LTAI", r"LTAI(?P<body>[A-Za-z0-9]{12,26})" + _ENDS),
    _of("Tencent Cloud key", "AKID", r"AKID(?P<body>[A-Za-z0-9]{32})" + _ENDS),
    _of("access token", "SG.", r"SG\.(?P<body>[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})" + _ENDS),
    _of("access token", ":AA", r"[0-9]{8,10}:(?P<body>AA[A-Za-z0-9_-]{33})" + _ENDS),
    _of("access token", "dop_v1_", r"dop_v1_(?P<body>[a-f0-9]{64})" + _ENDS),
    _of(
        "access token", "dckr_pat_ gsk_ r8_ shpat_", r"(?:dckr_pat|gsk|r8|shpat)_(?P<body>[A-Za-z0-9_-]{27,60})" + _ENDS
    ),
    _of(
        "webhook address",
        "hooks.slack.com/services oapi.dingtalk.com qyapi.weixin open.feishu.cn",
        r"(?:hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/|oapi\.dingtalk\.com/robot/send\?access_token="
        r"|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=|open\.feishu\.cn/open-apis/bot/v2/hook/)"
        r"(?P<body>[A-Za-z0-9-]{20,80})" + _ENDS,
    ),
    _of(
        "JSON web token",
        "eyJ",
        r"(?P<body>eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{6,8000}\.[A-Za-z0-9_-]{20,1000})" + _ENDS,
        _is_jwt,
    ),
    Format("password in an address", ("://",), _URL, _in_url),
    _of("bearer token", "Bearer bearer", r"[Bb]earer {1,3}(?P<body>[A-Za-z0-9._~+/-]{20,2000}={0,2})", _bearer),
    _of("basic authorisation", "Basic", r"Basic {1,3}(?P<body>[A-Za-z0-9+/_-]{8,400}={0,2})", _basic),
)
LABELLED = ("password", "access key")
"""The kinds of what only a label tells."""
KINDS = (*dict.fromkeys(each.kind for each in FORMATS), *LABELLED)
_LABELS = (
    *("passw", "passph", "passcode", "pwd", "apikey", "api_", "api-", "api ", "secret", "access", "token"),
    *("account", "private", "密码", "口令", "密钥", "秘钥", "令牌", "授权码"),
)
_UNSEEN = str.maketrans(dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad", None) | {"\u00a0": " "})


def credentials(text: str) -> Counter[tuple[str, str]]:
    """(kind, the secret) of all credentials in a text, and how often each is there."""
    plain = unicodedata.normalize("NFKC", text.translate(_UNSEEN))
    found: Counter[tuple[str, str]] = Counter()
    for each in FORMATS:
        if not any(word in plain for word in each.words):
            continue
        taken = []
        for match in each.pattern.finditer(plain):
            if each.valid(match):
                end = _end_of_block(match) if each.pattern is _OPENS else match.end()
                found[each.kind, plain[match.start() : end]] += 1
                taken.append((match.start(), end))
        for begin, end in reversed(taken):
            plain = plain[:begin] + "\n" * (end - begin) + plain[end:]
    lower = plain.casefold()
    if any(label in lower for label in _LABELS):
        for match in _LABEL.finditer(plain):
            if _assigned(match):
                short = re.match(r"(?i)pass|pwd|密码|口令|授权码", match["label"])
                found[LABELLED[0 if short else 1], match["value"]] += 1
    return found


def _end_of_block(match: re.Match[str]) -> int:
    """Where a key that is opened ends: after its END line, or where the text does."""
    closes = re.compile(r"-----END [A-Z0-9 ]+-----").search(match.string, match.end())
    return closes.end() if closes else len(match.string)
