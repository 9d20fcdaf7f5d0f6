"""Credentials made up for tests, put together from parts when they are asked for: no scanner finds one in this file."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import orjson

LETTERS = string.ascii_letters + string.digits
UPPER, HEX, URL = string.ascii_uppercase + string.digits, "0123456789abcdef", LETTERS + "-_"


def drawn(rng: random.Random, count: int, alphabet: str = LETTERS) -> str:
    """So many characters at random, which end in a letter and a digit."""
    return "".join(rng.choice(alphabet) for _ in range(count - 2)) + ("f7" if alphabet == HEX else "Q7")


def block(rng: random.Random, name: str, lines: int = 6, newline: str = "\n", head: str = "") -> str:
    body = newline.join(drawn(rng, 64, LETTERS + "+/") for _ in range(lines))
    return f"-----{'BEGIN'} {name}-----{newline}{head}{body}{newline}-----{'END'} {name}-----"


def jwt(rng: random.Random, alg: str = "HS256") -> str:
    parts = ({"alg": alg, "typ": "JWT"}, {"sub": f"u{rng.randrange(10**6)}", "exp": 1893456000})
    head, claims = (base64.urlsafe_b64encode(orjson.dumps(each)).decode().rstrip("=") for each in parts)
    return f"{head}.{claims}.{drawn(rng, 43, URL)}"


def basic(rng: random.Random) -> str:
    return base64.b64encode(f"wang:{drawn(rng, 12)}".encode()).decode()


MADE: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "private key": (
        lambda rng: block(rng, "RSA PRIVATE " + "KEY"),
        lambda rng: block(rng, "PRIVATE " + "KEY", newline="\\n"),
        lambda rng: block(rng, "OPENSSH PRIVATE " + "KEY"),
        lambda rng: block(rng, "EC PRIVATE " + "KEY", 2),
        lambda rng: block(rng, "PGP PRIVATE " + "KEY BLOCK", head="Version: GnuPG v2\n\n"),
        lambda rng: block(rng, "RSA PRIVATE " + "KEY", head="Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"),
    ),
    "AWS key": (lambda rng: "AKI" + "A" + drawn(rng, 16, UPPER), lambda rng: "ASI" + "A" + drawn(rng, 16, UPPER)),
    "GitHub token": (
        lambda rng: "ghp" + "_" + drawn(rng, 36),
        lambda rng: "gho" + "_" + drawn(rng, 36),
        lambda rng: "ghs" + "_" + drawn(rng, 36),
        lambda rng: "github_" + "pat_" + drawn(rng, 22) + "_" + drawn(rng, 59),
    ),
    "GitLab token": (lambda rng: "glp" + "at-" + drawn(rng, 20, URL), lambda rng: "gld" + "t-" + drawn(rng, 20)),
    "Slack token": (
        lambda rng: "xox" + f"b-{rng.randrange(10**11, 10**12)}-{rng.randrange(10**12, 10**13)}-" + drawn(rng, 24),
        lambda rng: "xox" + f"p-{rng.randrange(10**11, 10**12)}-" + drawn(rng, 32, HEX),
        lambda rng: "xap" + f"p-1-A0{drawn(rng, 9, UPPER)}-{rng.randrange(10**12, 10**13)}-" + drawn(rng, 64, HEX),
    ),
    "Stripe key": (
        lambda rng: "sk_" + "live_" + drawn(rng, 24),
        lambda rng: "rk_" + "live_" + drawn(rng, 99),
        lambda rng: "sk_" + "test_" + drawn(rng, 24),
    ),
    "OpenAI key": (
        lambda rng: "s" + "k-" + drawn(rng, 20) + "T3Blbk" + "FJ" + drawn(rng, 20),
        lambda rng: "s" + "k-proj-" + drawn(rng, 120, URL),
        lambda rng: "s" + "k-" + drawn(rng, 32, HEX),
    ),
    "Anthropic key": (lambda rng: "sk-" + "ant-api03-" + drawn(rng, 93, URL),),
    "Google key": (
        lambda rng: "AI" + "za" + drawn(rng, 35, URL),
        lambda rng: "GOC" + "SPX-" + drawn(rng, 28, URL),
        lambda rng: "ya2" + "9." + drawn(rng, 120, URL),
    ),
    "Hugging Face token": (lambda rng: "h" + "f_" + drawn(rng, 34),),
    "npm token": (lambda rng: "np" + "m_" + drawn(rng, 36),),
    "PyPI token": (lambda rng: "pypi-" + "AgEIcHlwaS5vcmc" + drawn(rng, 120, URL),),
    "Alibaba Cloud key": (lambda rng: "LT" + "AI" + drawn(rng, 20), lambda rng: "LT" + "AI" + drawn(rng, 12)),
    "Tencent Cloud key": (lambda rng: "AK" + "ID" + drawn(rng, 32),),
    "access token": (
        lambda rng: "S" + "G." + drawn(rng, 22, URL) + "." + drawn(rng, 43, URL),
        lambda rng: f"{rng.randrange(10**8, 10**10)}:" + "AA" + drawn(rng, 33, URL),
        lambda rng: "dop_" + "v1_" + drawn(rng, 64, HEX),
        lambda rng: "gs" + "k_" + drawn(rng, 52),
    ),
    "webhook address": (
        lambda rng: (
            "https://hooks.slack" + f".com/services/T0{drawn(rng, 8, UPPER)}/B0{drawn(rng, 8, UPPER)}/{drawn(rng, 24)}"
        ),
        lambda rng: "https://oapi.ding" + f"talk.com/robot/send?access_token={drawn(rng, 64, HEX)}",
    ),
    "JSON web token": (jwt, lambda rng: jwt(rng, "RS256")),
    "password in an address": (
        lambda rng: f"postgres://his:{drawn(rng, 12)}@10.0.3.4:5432/ward",
        lambda rng: f"mysql+pymysql://root:{drawn(rng, 8)}@db.hospital.cn/emr",
        lambda rng: f"redis://:{drawn(rng, 16)}@cache:6379/0",
        lambda rng: f"mongodb+srv://svc:{drawn(rng, 16)}@c0.ab1cd.mongodb.net/?retryWrites=true",
        lambda rng: f"https://deploy:{drawn(rng, 20)}@git.hospital.cn/emr.git",
        lambda rng: f"ftp://lab:{drawn(rng, 9)}@192.168.3.7",
    ),
    "bearer token": (
        lambda rng: f"Authorization: Bearer {drawn(rng, 40)}",
        lambda rng: f"curl -H 'authorization: bearer {drawn(rng, 64, HEX)}' https://api.his.cn",
    ),
    "basic authorisation": (lambda rng: f"Authorization: Basic {basic(rng)}",),
    "password": (
        lambda rng: f"password = {drawn(rng, 10)}",
        lambda rng: f'"db_password": "{drawn(rng, 14)}"',
        lambda rng: f"PGPASSWORD={drawn(rng, 12)}",
        lambda rng: f"密码：{drawn(rng, 10)}",
        lambda rng: f"登录密码是{drawn(rng, 9)}，别告诉别人",
        lambda rng: f"口令: {drawn(rng, 8)}#!",
        lambda rng: f"邮箱授权码：{drawn(rng, 16, string.ascii_lowercase + string.digits)}",
        lambda rng: f"QQ邮箱授权码：{''.join(rng.choice(string.ascii_lowercase) for _ in range(16))}",
        lambda rng: f"The Wi-Fi password is {drawn(rng, 11)}.",
        lambda rng: f"<pwd>{drawn(rng, 12)}</pwd>",
        lambda rng: f"passphrase: 'Tr0ub4dor&{drawn(rng, 4)}'",
        lambda rng: f"密码设置为{drawn(rng, 10)}",
    ),
    "access key": (
        lambda rng: f"api_key: {drawn(rng, 32, HEX)}",
        lambda rng: f"aws_secret_access_key = {drawn(rng, 40, LETTERS + '/+')}",
        lambda rng: f'API-Secret="{drawn(rng, 24)}"',
        lambda rng: f"AccountKey={drawn(rng, 86)}==;EndpointSuffix=core.windows.net",
        lambda rng: f"密钥：{drawn(rng, 32)}",
        lambda rng: f"client_secret: {drawn(rng, 40, URL)}",
        lambda rng: f"HIS_ACCESS_TOKEN={drawn(rng, 40)}",
        lambda rng: f"AccessKeySecret: {drawn(rng, 30)}",
    ),
}
"""By kind what makes one of each writing of it, out of a random number generator."""
