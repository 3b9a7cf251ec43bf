import stat

import pytest

from odin.api.bootstrap import PASSWORD_FILE, bootstrap
from odin.api.tokens import Tokens
from odin.model.errors import ValidationFailed
from odin.model.users import Role
from odin.store.database import Database
from odin.store.migrate import bring_up_to_date
from odin.store.users import Users

ADA = {"username": "ada", "password": "ada's long password"}


@pytest.fixture
def empty(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/odin.db")
    bring_up_to_date(database)
    yield Users(database)
    database.close()


def test_signing_in_gives_a_token_that_works_and_says_when_it_ends(house):
    client = house.client()
    answer = client.post("/v1/auth", json=ADA)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expiresAt"].endswith("Z")
    token = answer.json()["message"]
    assert client.get("/v1/users", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_signing_in_takes_a_form_as_older_clients_send_it(house):
    assert house.client().post("/v1/auth", data=ADA).status_code == 200


def test_a_user_name_is_the_same_in_any_case(house):
    assert house.client().post("/v1/auth", json=ADA | {"username": "ADA"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"username": "ada"}', "application/json", 422),
        (b'{"username": "ada", "password": 1}', "application/json", 422),
        (b'["ada"]', "application/json", 422),
        (b"username=ada", "application/x-www-form-urlencoded", 422),
        (b"username=%ff&password=x", "application/x-www-form-urlencoded", 400),
        (b"a&" * 5000, "application/x-www-form-urlencoded", 400),
        (b"x", "text/plain", 415),
        (b'{"username": "ada", "password": "' + b"x" * 2000 + b'"}', "application/json", 422),
        (b'{"username": "ada", "password": "' + b"x" * 2**20 + b'"}', "application/json", 413),
    ],
)
def test_a22_a_sign_in_that_makes_no_sense_is_refused(house, body, kind, status):
    answer = house.client().post("/v1/auth", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert "message" not in answer.json()


def test_a51_a_wrong_user_and_a_wrong_password_look_the_same(house):
    client, passwords = house.client(), house.odin.accounts.passwords
    answers, hashes = [], []
    for username in ("ada", "nobody"):
        before = passwords.computed
        answers.append(client.post("/v1/auth", json={"username": username, "password": "a wrong password"}))
        hashes.append(passwords.computed - before)
    first, second = answers
    assert first.status_code == second.status_code == 401
    assert first.content == second.content
    differing = {"x-request-id"}
    assert {k: v for k, v in first.headers.items() if k not in differing} == {
        k: v for k, v in second.headers.items() if k not in differing
    }
    assert hashes == [1, 1]


def test_a51_nobody_without_a_token_learns_names_that_are_near(make_house):
    client = make_house(flags={"anonymous_read": "on"}).client()
    assert client.get("/v1/users").status_code == 401
    answer = client.get("/v1/users/adaa")
    assert answer.status_code == 404
    assert "did you mean" not in answer.text


def test_a50_guessing_is_slowed_and_says_for_how_long(house):
    client = house.client()
    statuses = [client.post("/v1/auth", json=ADA | {"password": f"guess {i}"}).status_code for i in range(30)]
    assert statuses.count(401) <= 15
    assert statuses[-1] == 429
    answer = client.post("/v1/auth", json=ADA)
    assert 0 < int(answer.headers["retry-after"]) <= 900


def test_a50_the_owner_signs_in_from_elsewhere_while_somebody_guesses(house):
    rates = house.odin.accounts.rates
    for i in range(2_000):
        rates.failed("ada", f"203.0.113.{i % 50}")
    assert house.client().post("/v1/auth", json=ADA).status_code == 200


def test_a50_many_right_sign_ins_at_once_are_not_taken_for_guesses(house):
    client = house.client()
    assert {client.post("/v1/auth", json=ADA).status_code for _ in range(15)} == {200}


def test_a52_a_hash_made_with_older_parameters_is_made_anew_at_sign_in(house):
    from argon2 import PasswordHasher

    from odin.store.users import Change

    house.users.change("vera", Change(password_hash=PasswordHasher(1, 1024, 1).hash("vera's long password")))
    body = {"username": "vera", "password": "vera's long password"}
    for _ in range(2):
        assert house.client().post("/v1/auth", json=body).status_code == 200
    assert house.users.account("vera").password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a44_a_token_of_another_odin_with_the_same_secret_is_refused(make_house):
    first, second = make_house(issuer="odin:one"), make_house(issuer="odin:two")
    assert first.client("ada").get("/v1/jobs").status_code == 200
    assert second.client().get("/v1/jobs", headers=first.headers("ada")).status_code == 401


def test_a45_a_token_of_a_mebibyte_is_refused(house):
    answer = house.client().get("/v1/jobs", headers={"Authorization": "Bearer " + "a" * 2**20})
    assert answer.status_code == 401


def test_a46_there_is_no_default_password(empty, tmp_path):
    first = bootstrap(empty, tmp_path / "secrets", "root", None)
    assert first is not None
    assert len(first) >= 20
    assert empty.get("root").role is Role.ADMIN


def test_a53_the_first_password_is_told_once_and_kept_where_only_its_user_reads(empty, tmp_path):
    told = bootstrap(empty, tmp_path / "secrets", "root", None)
    kept = tmp_path / "secrets" / PASSWORD_FILE
    assert kept.read_text().strip() == told
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert bootstrap(empty, tmp_path / "secrets", "root", None) is None
    assert empty.count() == 1


def test_a53_a_given_password_is_not_told(empty, tmp_path):
    assert bootstrap(empty, tmp_path / "secrets", "Root", "four unrelated words here") is None
    assert empty.account("root") is not None
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("given", ["admin", "password", "root1234", "12345678"])
def test_a46_a_given_password_that_is_guessed_first_is_refused(empty, tmp_path, given):
    with pytest.raises(ValidationFailed):
        bootstrap(empty, tmp_path, "root", given)
    assert empty.count() == 0


def test_an_expired_token_does_not_keep_anyone_from_signing_in(house):
    old = Tokens(b"s" * 32, "odin:test", 60, clock=lambda: 1_000_000_000.0).issue(house.users.get("ada"))[0]
    client = house.client()
    client.headers["Authorization"] = f"Bearer {old}"
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["detail"]) == (401, "the token has expired; sign in again")
    assert client.post("/v1/auth", json=ADA).status_code == 200
