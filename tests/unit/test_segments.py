"""How texts and queries become words: in the same way, whatever they are made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql.errors import QueryTooLong
from sql.segments import QUERY_LIMIT, indexed, normalised, read_query, tokens


@pytest.mark.parametrize(
    ("text", "words", "beside"),
    [
        ("Restarting payments/api-7d4", "restarting payments api 7d4", ""),
        ("KubePodCrashLooping", "kube pod crash looping", "kubepodcrashlooping"),
        ("OOMKilled HTTP5xx node_cpu", "oom killed http5xx node cpu", "oomkilled"),
        ("重新啟動", "重新 新啟 啟動", "重 新 啟 動"),
        ("重啟api服務", "重啟 api 服務", "重 啟 服 務"),
        ("第3次", "第 3 次", ""),
        ("ＡＰＩ　７ｄ４，ﾒﾓﾘ", "api 7d4 メモ モリ", "メ モ リ"),
        ("a & !b | ('c'); --", "a b c", ""),
        ("\x00\ud800🙂 &|!", "", ""),
    ],
)
def test_a_text_is_cut_into_words(text: str, words: str, beside: str) -> None:
    found = list(tokens(normalised(text)))
    assert " ".join(token.word for token in found if not token.beside) == words
    assert " ".join(token.word for token in found if token.beside) == beside
    assert indexed([text]) == " ".join(filter(None, ["0.0", words, "0.0", beside])) * bool(words)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", ""),
        ("crash api", "(('crash') & ('api'))"),
        ("payments/api-7d4", "(('payments' <-> 'api' <-> '7d4'))"),
        ('"out of memory" -shop', "(('out' <-> 'of' <-> 'memory') & !('shop'))"),
        ('-"out of memory', "(!('out' <-> 'of' <-> 'memory'))"),
        ("x b or c OR d or", "(('x') & ('b')) | (('c')) | (('d'))"),
        ("why is the pod down", "(('pod') & ('down'))"),
        ("the", "(('the'))"),
        ("重新啟動", "(('重新' <-> '新啟' <-> '啟動'))"),
        ("第3次重試", "(('第' & '3' <-> '次重' <-> '重試'))"),
        ("「重啟」　－ａｐｉ", "(('重啟') & !('api'))"),
        ("--force", "(('force'))"),
        ("!&|():*<->'\\", ""),
        ("x' | 'y", "(('x') & ('y'))"),
        ("- or -", ""),
    ],
)
def test_a_query_is_read_as_people_write_it(text: str, query: str) -> None:
    assert read_query(text).text == query
    assert read_query(text).everything is not bool(text)


def test_only_what_must_be_there_is_marked() -> None:
    assert read_query('crash "two words" -never').words == {"crash", "two", "words"}


@pytest.mark.parametrize("text", ["x" * (QUERY_LIMIT + 1), "ﷺ" * 100, "x" * 2**20])
def test_a_query_that_nobody_would_write_is_refused(text: str) -> None:
    with pytest.raises(QueryTooLong, match="1,000 characters at most"):
        read_query(text)


@given(st.text(max_size=60))
def test_a_word_of_a_text_is_where_it_says(text: str) -> None:
    text = normalised(text)
    for token in tokens(text):
        assert token.word == text[token.start : token.end].casefold()


@given(st.text(max_size=60))
def test_a_query_is_made_of_quoted_words_and_our_own_operators(text: str) -> None:
    query = read_query(text).text
    for number, part in enumerate(query.split("'")):
        assert not set(part) & set(" ()&|!<>:*\\") if number % 2 else set(part) <= set(" ()&|!<->")
