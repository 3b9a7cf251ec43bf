"""Tokens of our own pass, everything else is refused: an own table of vectors through our verifier."""

import base64
import hmac
import json
import secrets
import stat

import jwt
import pytest

from odin.api.tokens import LONGEST, SKEW_S, TYPE, Tokens, load_secret
from odin.model.errors import NotSignedIn, ValidationFailed
from odin.model.users import Role, User

SECRET = bytes(range(32))
NOW = 1_800_000_000.25
ADA = User(7, "ada", Role.ADMIN)
CLAIMS = {"iss": "odin:a", "sub": "ada", "uid": 7, "iat": NOW - 10, "exp": int(NOW) + 3600, "jti": "j"}
HEADER = {"alg": "HS256", "typ": TYPE}


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header=HEADER, claims=CLAIMS, key=SECRET, digest="sha256"):
    head = f"{encoded(header)}.{encoded(claims)}"
    return f"{head}.{encoded(hmac.digest(key, head.encode(), digest))}"


def but(base, *without, **fields):
    return {name: value for name, value in (base | fields).items() if name not in without}


@pytest.fixture
def tokens(monkeypatch):
    class Clock:
        @staticmethod
        def now(tz=None):
            from datetime import datetime

            return datetime.fromtimestamp(NOW, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)
    return Tokens(SECRET, "odin:a", 43_200, clock=lambda: NOW)


def test_a_token_says_who_signed_in_and_until_when(tokens):
    text, expires_at = tokens.issue(ADA)
    token = tokens.read(text)
    assert (token.uid, token.username, token.issued_at, token.expires_at) == (7, "ada", NOW, expires_at)
    assert expires_at == int(NOW) + 43_200
    assert jwt.get_unverified_header(text)["typ"] == TYPE


def test_the_vectors_below_differ_from_a_good_token_in_what_they_say_only(tokens):
    assert tokens.read(signed()).username == "ada"
    assert tokens.read(signed(but(HEADER, kid=jwt.get_unverified_header(tokens.issue(ADA)[0])["kid"]))).uid == 7


GOOD = signed()
HEAD, BODY, SIGNATURE = GOOD.split(".")
PUBLIC = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
FORGED = {
    "empty": "",
    "dots": "..",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "no signature": f"{HEAD}.{BODY}.",
    "four parts": f"{GOOD}.x",
    "five parts, as an encrypted one": f"{GOOD}.x.y",
    "leading space": f" {GOOD}",
    "newline inside": GOOD.replace(".", ".\n", 1),
    "not ASCII": GOOD + "é",
    "NUL": GOOD + "\0",
    "padding": GOOD + "=",
    "too long": GOOD + "A" * LONGEST,
    "another key": signed(key=b"k" * 32),
    "the empty key": signed(key=b""),
    "a public key as secret": signed(key=PUBLIC),
    "the issuer as secret": signed(key=b"odin:a"),
    "sha512 signature": signed(digest="sha512"),
    "sha1 signature": signed(digest="sha1"),
    "signature of another body": f"{HEAD}.{encoded(but(CLAIMS, uid=1))}.{SIGNATURE}",
    "signature of another header": f"{encoded(but(HEADER, kid='x'))}.{BODY}.{SIGNATURE}",
    "signature cut short": GOOD[:-4],
    "signature of zeros": f"{HEAD}.{BODY}.{encoded(bytes(32))}",
    "header no object": signed(header=[HEADER]),
    "header no JSON": f"{encoded(b'alg')}.{BODY}.{SIGNATURE}",
    "header twice encoded": f"{encoded(HEAD.encode())}.{BODY}.{SIGNATURE}",
    "claims no object": signed(claims=[CLAIMS]),
    "claims a text": signed(claims="ada"),
    "claims no JSON": signed(claims=b"{"),
}
ALGORITHMS = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "",
    None,
    "hs256",
    "HS384",
    "HS512",
    "RS256",
    "ES256",
    "EdDSA",
    "PS256",
    " HS256",
    256,
    ["HS256"],
]


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_a40_a_forged_token_is_refused(tokens, text):
    with pytest.raises(NotSignedIn):
        tokens.read(text)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("signature", [SIGNATURE, "", None])
def test_a40_no_other_algorithm_counts_signed_or_not(tokens, algorithm, signature):
    header = but(HEADER, alg=algorithm)
    text = signed(header) if signature is None else f"{encoded(header)}.{BODY}.{signature}"
    with pytest.raises(NotSignedIn):
        tokens.read(text)


def test_a40_mutated_tokens_are_refused(tokens):
    random = secrets.SystemRandom()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    for _ in range(2_000):
        letters = list(GOOD)
        # The last letter of each part may hold bits that mean nothing.
        at = random.choice([i for i in range(len(GOOD) - 1) if GOOD[i + 1] != "." and GOOD[i] != "."])
        letters[at] = random.choice([letter for letter in alphabet if letter != GOOD[at]])
        with pytest.raises(NotSignedIn):
            tokens.read("".join(letters))


def test_a42_an_algorithm_of_another_family_is_refused_with_a_key_of_that_family(tokens):
    for key in (PUBLIC, PUBLIC.strip(), b"MCowBQYDK2VwAyEA", json.dumps({"kty": "OKP"}).encode()):
        with pytest.raises(NotSignedIn):
            tokens.read(signed(but(HEADER, alg="HS256"), key=key))


TIMES = {
    "expired long ago": but(CLAIMS, exp=int(NOW) - 3600),
    "expired just beyond the skew": but(CLAIMS, exp=int(NOW) - SKEW_S),
    "no expiry": but(CLAIMS, "exp"),
    "expiry null": but(CLAIMS, exp=None),
    "expiry as text": but(CLAIMS, exp=str(int(NOW) + 3600)),
    "expiry a fraction": but(CLAIMS, exp=NOW + 3600.5),
    "expiry true": but(CLAIMS, exp=True),
    "expiry a list": but(CLAIMS, exp=[int(NOW) + 3600]),
    "expiry beyond a date": but(CLAIMS, exp=10**18),
    "expiry beyond a double": but(CLAIMS, exp=10**400),
    "expiry negative": but(CLAIMS, exp=-1),
    "expiry zero": but(CLAIMS, exp=0),
    "lives longer than allowed": but(CLAIMS, iat=NOW, exp=int(NOW) + 43_210),
    "lives for years": but(CLAIMS, exp=int(NOW) + 10 * 365 * 86_400),
    "issued in the future": but(CLAIMS, iat=NOW + SKEW_S + 2),
    "issued far in the future": but(CLAIMS, iat=NOW + 10**9, exp=int(NOW) + 10**9 + 3600),
    "issued never": but(CLAIMS, "iat"),
    "issued null": but(CLAIMS, iat=None),
    "issued as text": but(CLAIMS, iat=str(NOW)),
    "issued true": but(CLAIMS, iat=True),
    "issued beyond a double": but(CLAIMS, iat=10**400),
    "issued long ago": but(CLAIMS, iat=0),
    "issued at infinity": json.dumps(but(CLAIMS, iat=float("-inf"))).encode(),
    "issued at NaN": json.dumps(but(CLAIMS, iat=float("nan"))).encode(),
    "not yet valid": but(CLAIMS, nbf=int(NOW) + 3600),
    "not before as text": but(CLAIMS, nbf="later"),
}


@pytest.mark.parametrize("claims", TIMES.values(), ids=TIMES)
def test_a43_a_token_that_is_not_for_now_is_refused(tokens, claims):
    with pytest.raises(NotSignedIn):
        tokens.read(signed(claims=claims))


@pytest.mark.parametrize(
    "claims",
    [but(CLAIMS, exp=int(NOW) - SKEW_S + 2), but(CLAIMS, iat=NOW + SKEW_S - 2), but(CLAIMS, iat=int(NOW))],
    ids=["expired within the skew", "issued within the skew", "issued at a whole second"],
)
def test_a43_clocks_may_differ_by_half_a_minute(tokens, claims):
    assert tokens.read(signed(claims=claims)).uid == 7


WHO = {
    "another issuer": but(CLAIMS, iss="odin:b"),
    "issuer in another case": but(CLAIMS, iss="ODIN:A"),
    "issuer with more": but(CLAIMS, iss="odin:a "),
    "issuers": but(CLAIMS, iss=["odin:a"]),
    "no issuer": but(CLAIMS, "iss"),
    "an audience": but(CLAIMS, aud="odin"),
    "no subject": but(CLAIMS, "sub"),
    "subject a number": but(CLAIMS, sub=7),
    "no uid": but(CLAIMS, "uid"),
    "uid as text": but(CLAIMS, uid="7"),
    "uid true": but(CLAIMS, uid=True),
    "uid a fraction": but(CLAIMS, uid=7.0),
    "no id": but(CLAIMS, "jti"),
    "id a number": but(CLAIMS, jti=1),
}


@pytest.mark.parametrize("claims", WHO.values(), ids=WHO)
def test_a44_a_token_for_somewhere_or_somebody_else_is_refused(tokens, claims):
    with pytest.raises(NotSignedIn):
        tokens.read(signed(claims=claims))


@pytest.mark.parametrize("kind", ["JWT", "odin-task+jwt", "at+jwt", "ODIN-ACCESS+JWT", "", None, 1])
def test_a44_another_type_of_token_is_refused(tokens, kind):
    with pytest.raises(NotSignedIn):
        tokens.read(signed(but(HEADER, typ=kind)))
    with pytest.raises(NotSignedIn):
        tokens.read(signed(but(HEADER, "typ")))


def test_a44_two_servers_with_the_same_secret_refuse_each_others_tokens():
    first, second = (Tokens(SECRET, issuer, 3600) for issuer in ("odin:a", "odin:b"))
    with pytest.raises(NotSignedIn):
        second.read(first.issue(ADA)[0])


EXTRA = {
    "kid of a file": {"kid": "../../../../dev/null"},
    "kid as SQL": {"kid": "x' UNION SELECT 'key"},
    "kid unknown": {"kid": "0" * 16},
    "kid no text": {"kid": 1},
    "jku": {"jku": "http://127.0.0.1:9/keys"},
    "x5u": {"x5u": "http://127.0.0.1:9/cert"},
    "jwk": {"jwk": {"kty": "oct", "k": encoded(SECRET)}},
    "x5c": {"x5c": ["MII"]},
    "crit": {"crit": ["exp"], "exp": 1},
    "crit empty": {"crit": []},
    "b64": {"b64": False, "crit": ["b64"]},
    "zip": {"zip": "DEF"},
    "cty": {"cty": "JWT"},
}


@pytest.mark.parametrize("fields", EXTRA.values(), ids=EXTRA)
def test_a45_headers_that_point_elsewhere_are_refused(tokens, fields):
    with pytest.raises(NotSignedIn):
        tokens.read(signed(HEADER | fields))


@pytest.mark.parametrize("given", ["", "x", "secret", "changeme", "12345678", "a" * 31, "ä" * 15, " " * 31])
def test_a46_a_short_secret_is_refused_with_a_sentence(tmp_path, given):
    with pytest.raises(ValidationFailed, match="fewer than 32 bytes"):
        load_secret(tmp_path, given)
    with pytest.raises(ValidationFailed):
        Tokens(given.encode(), "odin:a", 3600)


def test_a46_two_installs_make_different_secrets_that_only_their_user_can_read(tmp_path):
    folders = [tmp_path / "a" / "secrets", tmp_path / "b" / "secrets"]
    first, second = (load_secret(folder, None) for folder in folders)
    assert len(first) == 32
    assert first != second
    assert load_secret(folders[0], None) == first
    for folder in folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


def test_a46_a_secret_that_others_can_read_is_refused(tmp_path):
    load_secret(tmp_path, None)
    (tmp_path / "signing.key").chmod(0o644)
    with pytest.raises(ValidationFailed, match="chmod 600"):
        load_secret(tmp_path, None)


def test_a_damaged_secret_is_refused_with_the_remedy(tmp_path):
    load_secret(tmp_path, None)
    (tmp_path / "signing.key").write_text("what")
    with pytest.raises(ValidationFailed, match="remove it"):
        load_secret(tmp_path, None)


def test_keys_for_other_purposes_differ_from_each_other_and_from_the_secret():
    tokens = Tokens(SECRET, "odin:a", 3600)
    assert len({SECRET, tokens.derive("cursors"), tokens.derive("idempotency")}) == 3
