"""What a secret looks like in text: by the name it is given, by where it stands, or by its own form.

Every repetition is bounded, or starts where its word starts: the time is linear in the text, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from schemas.key_blocks import without_keys
from schemas.named_secrets import ENDS, MASK, assigned, options, pairs
from schemas.user_info import without_user_info

_Rule = tuple[tuple[str, ...], Callable[[str], str]]


_compiled = cache(re.compile)
"""Each pattern once, when a text needs it: all of them take longer than many a command."""


def _rule(words: tuple[str, ...], pattern: str, shown: str = MASK, flags: int = 0) -> _Rule:
    """Words of which a folded text must have one for the pattern to be tried: without them it cannot match."""
    return words, lambda text: _compiled(pattern, flags).sub(shown, text)


_I = re.IGNORECASE
_AS_I = {0x131: "i", 0x307: None}  # what the patterns take for an i, and folding does not
_NAMES = ("pass", "pw", "secret", "token", "key", "credent", "auth", "cookie", "sig", "session", "sid", "jwt")
_FORMS = (
    (("eyj",), r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    (("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    (("aiza",), r"\bAIza[A-Za-z0-9_-]{30,}"),
    (("ya29.",), r"\bya29\.[A-Za-z0-9_-]{20,}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    (
        ("glpat-", "gldt-", "glrt-", "glptt-", "glsa_", "glc_"),
        r"\bgl(?:pat|dt|rt|ptt)-[A-Za-z0-9_.-]{20,}|\bglsa_[A-Za-z0-9_]{20,}|\bglc_[A-Za-z0-9+/=]{20,}",
    ),
    (("xox", "xapp-"), r"\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}"),
    (("sk-", "sk_", "rk_", "whsec_"), r"\bsk-[A-Za-z0-9_-]{20,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|\bwhsec_[A-Za-z0-9+/=]{16,}"),
    (("npm_", "pypi-", "hf_", "dckr_pat_", "shpat_", "dop_v1_"), r"\b(?:npm_|pypi-|hf_|dckr_pat_|shpat_|dop_v1_)[A-Za-z0-9_-]{20,}"),
    (("mend_",), r"\bmend_[0-9a-f]{16}_[A-Za-z0-9_-]{43}"),
    (("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    (("sg.",), r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    (("age-secret-key",), r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}"),
    (("sha256~",), r"\bsha256~[A-Za-z0-9_-]{30,}"),
    ((":aa",), r"\b\d{8,10}:AA[A-Za-z0-9_-]{30,}"),
)
_SCHEMES = r"(?:bearer|basic|digest|token|negotiate|ntlm|apikey|hmac|aws4-hmac-sha256|key|splunk|genie-?key|bot|oauth|hawk|mutual|ssws)"
_OPENED = r"(?:\[|\\{0,7}[\"']){0,3}"
_HEADER = rf"(\bauthorization(?:\\{{0,7}}[\"'])?[ \t]{{0,8}}[=:][ \t]{{0,8}}{_OPENED}(?:{_SCHEMES}[ \t]{{1,8}})?)(?=[^\s\]\"'])"
_COOKIE = r"(\bcookie2?(?:\\{0,7}[\"'])?[ \t]{0,8}:[ \t]{0,8}(?:\[|\\{0,7}[\"']){0,3})(?=[^\s\]\"'\\=]{1,128}=)"
_CREDENTIAL = r"(?:[^\n\"'\\\]]|(?<==)\\{0,7}\"[^\n\"\\,}\]\s:][^\n\"\\]{0,256}\\{0,7}\")+"
_SCHEME_VALUE = (
    r"\b(bearer|basic)([ \t]{1,8})(?=[a-z.~/-]{0,256}[0-9=+_]|(?-i:[A-Z]{0,8}[a-z]{1,32}[A-Z])|[a-z.~/-]{20})[a-z0-9._~+/=-]{8,}"
)
_GIVEN = rf"(?:'[^'\n]{{1,256}}'|(?:\\{{0,7}}[\"']{ENDS})?" + r"(?:[^\s\"'\\]|\\(?![\"'\\]))+)"
_WITHIN = r"[ \t](?:[^\n|;&]{0,200}?[ \t])?"  # the rest of the same command, up to an option
_TOOLS = tuple(
    (words, rf"({before}){_GIVEN}")
    for words, before in (
        (("mysql", "mariadb"), rf"\b(?:mysql|mariadb)[\w-]{{0,20}}{_WITHIN}-p(?=[^\s-])"),
        (("sshpass",), r"\bsshpass[ \t]{1,8}-p[ \t]{0,8}"),
        (
            ("curl", "wget", "smb"),
            rf"\b(?:curl|wget|smbclient){_WITHIN}(?:-u|--user|--proxy-user)[ \t=]{{0,8}}[\"']?[^\s:%\"']{{1,128}}[:%]",
        ),
        (("redis-cli",), rf"\bredis-cli{_WITHIN}-a[ \t]{{1,8}}"),
        (("login",), rf"\b(?:docker|podman|helm|az|skopeo)[ \t](?:[^\n|;&]{{0,60}}?[ \t])?login{_WITHIN}-p[ \t]{{0,8}}"),
        (("login",), r"\blogin[ \t]{1,8}[^\s]{1,128}[ \t]{1,8}password[ \t]{1,8}"),
        (("ldap",), rf"\bldap[a-z]{{3,10}}{_WITHIN}-w[ \t]{{0,8}}"),
        (("-pass",), r"-pass(?:in|out)?[ \t]{1,8}pass:"),
        (("requirepass", "masterauth"), r"\b(?:requirepass|masterauth)[ \t]{1,8}"),
    )
)
_OTHERS: tuple[_Rule, ...] = (
    (("@",), without_user_info),
    _rule(("@tcp(", "@unix("), r"(?<![\w.-])[\w.-]{1,64}:[^\s@\"']{1,256}(?=@(?:tcp|unix)\()", MASK, _I),
    _rule(
        ("jdbc:oracle:", "sqlplus"),
        rf"(\b(?:jdbc:oracle:\w{{2,8}}:|sqlplus{_WITHIN})[^\s/@\"'\\]{{1,128}}\\{{0,7}}/)(?:\\{{0,7}}\"[^\"\n]{{1,256}}\"|[^\s\"']{{1,256}})(?=@)",
        r"\g<1>***",
        _I,
    ),
    _rule(("hooks.",), r"(\bhooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[\w/-]+", r"\1***", _I),
    _rule(("webhook",), r"(\b(?:discord(?:app)?\.com/api/webhooks|[\w-]{0,64}\.?webhook\.office\.com/webhookb2)/)[\w@/-]+", r"\1***", _I),
    *(_rule(words, form) for words, form in _FORMS),
    *(_rule(words, form, r"\g<1>***", _I) for words, form in _TOOLS),
    _rule(
        ("identified by", "password"),
        rf"(\b(?:identified[ \t]{{1,8}}by|password)[ \t]{{1,8}}(\\{{0,7}}['\"]){ENDS})[^\n'\"\\]{{1,256}}\2",
        r"\1***\2",
        _I,
    ),
    _rule(("key=", "code="), r"([?&](?:key|code)=)[^\s&\"'#]{8,}", r"\1***", _I),
    _rule(("bearer", "bas"), _SCHEME_VALUE, r"\1\2***", _I),
)
_BY_NAME: tuple[_Rule, ...] = (
    _rule(("authorization",), _HEADER + _CREDENTIAL, r"\1***", _I),
    _rule(("cookie",), _COOKIE + _CREDENTIAL, r"\1***", _I),
    (("value",), pairs),
    (("-",), options),
    (("=", ":", "%3d"), assigned),
)
_ADDRESS = _rule(("@",), r"(?<!\\)[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{0,190}[^\W\d_]")
# In the order in which they are tried: what holds other secrets comes before them. One look for all the words of a group
# is enough for most texts.
GROUPS: tuple[tuple[tuple[str, ...], tuple[_Rule, ...]], ...] = (
    (tuple({word: None for words, _ in _OTHERS for word in words}), _OTHERS),
    (_NAMES, _BY_NAME),
    (("@",), (_ADDRESS,)),
)


def masked(text: str) -> str:
    """`text` with all that looks like a secret, and e-mail addresses, as `***`."""
    text = without_keys(text)
    folded = text.casefold()
    if not folded.isascii():
        folded = folded.translate(_AS_I)
    has = folded.__contains__
    for words, rules in GROUPS:
        if any(map(has, words)):
            for needed, rule in rules:
                if any(map(has, needed)):
                    text = rule(text)
    return text
