import base64

from hypothesis import given
from hypothesis import strategies as st

from acclimate.logs import redact
from acclimate.rollout.api.tokens import (
    API_PREFIX,
    Access,
    AccessTokens,
    bearer,
    hash_token,
    new_token,
)

tokens = AccessTokens(b"s" * 32)
access = Access("plant-1", "press-7", 3, 1000)


def test_an_access_token_says_who_holds_it_until_it_expires():
    token = tokens.issue(access)
    assert tokens.check(token, 999.0) == access
    assert tokens.check(token, 1000.0) is None


def test_what_is_remembered_of_tokens_neither_outlives_them_nor_holds_forged_ones():
    few = AccessTokens(b"s" * 32, kept=2)
    genuine = few.issue(access)
    for _ in range(3):
        assert few.check(genuine, 999.0) == access
        assert few.check(genuine, 1000.0) is None
        assert few.check(genuine[:-2] + "AA", 0.0) is None
    assert few._opened.cache_info().currsize == 1


def test_a_token_of_another_secret_is_nobodys():
    assert AccessTokens(b"t" * 32).check(tokens.issue(access), 0.0) is None


def test_no_single_character_of_a_token_can_be_changed():
    token = tokens.issue(access)
    for index, character in enumerate(token):
        if index == len(token) - 1:
            continue  # the last base64 character of a MAC carries two unused bits
        changed = token[:index] + ("A" if character != "A" else "B") + token[index + 1 :]
        assert tokens.check(changed, 0.0) is None, index


@given(st.text())
def test_any_text_is_checked_without_an_exception(text):
    assert tokens.check(text, 0.0) is None


def test_a_payload_cannot_be_swapped_under_a_mac():
    _, mac = tokens.issue(access).split(".")
    forged = base64.urlsafe_b64encode(b"plant-2\0press-7\x003\x001000").decode()
    assert tokens.check(f"{forged}.{mac}", 0.0) is None


def test_only_a_hash_is_kept_of_a_new_token():
    token, kept = new_token(API_PREFIX)
    assert token.startswith(API_PREFIX)
    assert kept == hash_token(token)
    assert token not in kept
    assert new_token(API_PREFIX)[0] != token


def test_bearer_reads_only_bearer_headers():
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer abc ") == "abc"
    assert bearer("Basic abc") is None
    assert bearer("Bearer ") is None
    assert bearer(None) is None


def test_tokens_do_not_reach_logs():
    token, _ = new_token(API_PREFIX)
    assert token not in redact(f"GET / Authorization: Bearer {token}")
    assert token not in redact(f"token={token}")
    assert "other" in redact(f"{token} other")
