import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from odin.model.errors import Conflict
from odin.model.users import Role
from odin.store.users import Change, NewUser

BOB = {"username": "bob", "password": "bob's long password", "firstname": "Bob", "lastname": "B", "role": "editor"}


def test_an_admin_makes_a_user_who_can_sign_in(house):
    answer = house.client("ada").post("/v1/users", json={"user": BOB})
    assert answer.status_code == 200
    assert answer.json() == {"user": {"username": "bob", "firstname": "Bob", "lastname": "B", "role": "editor"}}
    assert house.client().post("/v1/auth", json=BOB | {"firstname": None}).status_code == 200


def test_a_new_user_without_a_role_reads_only(house):
    answer = house.client("ada").post("/v1/users", json={"user": {"username": "bob", "password": "a long password"}})
    assert answer.json()["user"]["role"] == "viewer"


def test_a_name_that_is_taken_is_a_conflict_in_any_case(house):
    assert house.client("ada").post("/v1/users", json={"user": BOB | {"username": "VERA"}}).status_code == 409


def test_users_are_found_by_part_of_a_name(house):
    client = house.client("vera")
    assert [user["username"] for user in client.get("/v1/users").json()["users"]] == ["ada", "edda", "vera"]
    assert [user["username"] for user in client.get("/v1/users?q=da").json()["users"]] == ["ada", "edda"]
    assert client.get("/v1/users?q=%25").json()["users"] == []


def test_an_unknown_user_is_answered_with_the_nearest_names(house):
    answer = house.client("vera").get("/v1/users/eda")
    assert answer.status_code == 404
    assert "edda" in answer.json()["detail"]


def test_without_a_token_a_user_is_a_name_only(make_house):
    client = make_house(flags={"anonymous_read": "on"}).client()
    assert client.get("/v1/users/Ada").json() == {"user": {"username": "ada", "firstname": "Ada", "lastname": "Test"}}


@pytest.mark.parametrize("body", [{"firstname": "V"}, {"user": {"firstname": "V"}}])
def test_a_change_may_be_wrapped_or_not(house, body):
    answer = house.client("vera").put("/v1/users/vera", json=body)
    assert answer.status_code == 200
    assert answer.json()["user"]["firstname"] == "V"


def test_a_client_may_send_back_all_that_it_read(house):
    client = house.client("vera")
    whole = client.get("/v1/users/vera").json()["user"] | {"lastname": "New", "password": None}
    answer = client.put("/v1/users/vera", json=whole)
    assert answer.status_code == 200
    assert answer.json()["user"]["lastname"] == "New"


CHANGES = {"firstname": "X", "lastname": "X", "role": "admin", "password": "a brand new password"}
UNKNOWN = {"uid": 1, "id": 1, "passwordHash": "x", "password_hash": "x", "not_before": 0, "isAdmin": True}


@pytest.mark.parametrize(("actor", "target", "field"), [*product(("vera", "edda", "ada"), ("self", "other"), CHANGES)])
def test_a54_users_change_themselves_within_limits_and_admins_all(house, actor, target, field):
    name = actor if target == "self" else "edda" if actor == "vera" else "vera"
    body = {field: CHANGES[field], "currentPassword": f"{actor}'s long password"}
    answer = house.client(actor).put(f"/v1/users/{name}", json=body)
    own = target == "self" and field != "role"
    assert answer.status_code == (200 if actor == "ada" or own else 403)


@pytest.mark.parametrize("field", UNKNOWN)
def test_a54_fields_that_users_do_not_have_are_refused(house, field):
    client = house.client("ada")
    for answer in (
        client.put("/v1/users/vera", json={field: UNKNOWN[field]}),
        client.post("/v1/users", json={"user": BOB | {field: UNKNOWN[field]}}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == field


@pytest.mark.parametrize("value", [1, True, [], {}, 1.5])
@pytest.mark.parametrize("field", ["username", "password", "role", "firstname"])
def test_a22_fields_of_users_are_texts(house, field, value):
    answer = house.client("ada").post("/v1/users", json={"user": BOB | {field: value}})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [field]


def test_all_that_is_wrong_is_said_at_once(house):
    answer = house.client("ada").post("/v1/users", json={"user": {"username": 1, "role": 2, "shoe": 3}})
    assert {error["path"] for error in answer.json()["errors"]} == {"username", "role", "shoe"}


def test_a54_a_user_is_not_renamed(house):
    assert house.client("ada").put("/v1/users/vera", json={"username": "vera2"}).status_code == 422


@pytest.mark.parametrize("name", ["..", "a/b", "a\nb", "me", "x" * 10_000, "аda", "", "a b"])
def test_a55_hostile_names_are_refused(house, name):
    answer = house.client("ada").post("/v1/users", json={"user": BOB | {"username": name}})
    assert answer.status_code in (400, 422)


def test_a54_the_last_admin_stays(house):
    client = house.client("ada")
    for answer in (client.delete("/v1/users/ada"), client.put("/v1/users/ada", json={"role": "viewer"})):
        assert answer.status_code == 409
        assert "last admin" in answer.json()["detail"]
    assert house.users.get("ada").role is Role.ADMIN


def test_a54_two_admins_who_delete_each_other_leave_one(house):
    users = house.users
    with ThreadPoolExecutor(2) as pool:
        for _ in range(200):
            for name in ("x", "y"):
                if users.account(name) is None:
                    users.create(NewUser(name, Role.ADMIN, "hash"))
            if users.account("ada") is not None:
                users.delete("ada")
            gate = threading.Barrier(2)

            def leave(other, gate=gate):
                gate.wait()
                try:
                    users.delete(other)
                except Conflict:
                    return 0
                return 1

            assert sum(pool.map(leave, ("x", "y"))) == 1
            assert len(users.list()) == 3


def test_a54_two_admins_who_demote_each_other_leave_one(house):
    users = house.users
    users.create(NewUser("bea", Role.ADMIN, "hash"))
    with ThreadPoolExecutor(2) as pool:

        def demote(name):
            try:
                users.change(name, Change(role=Role.VIEWER))
            except Conflict:
                return 0
            return 1

        assert sum(pool.map(demote, ("ada", "bea"))) == 1


def test_a54_ones_own_password_needs_the_current_one_or_a_fresh_sign_in(house, monkeypatch):
    body = {"password": "a brand new password"}
    client = house.client("vera")
    monkeypatch.setattr("odin.api.accounts.RECENT_SIGN_IN_S", -1.0)
    refused = client.put("/v1/users/vera", json=body)
    assert refused.status_code == 403
    assert "currentPassword" in refused.json()["detail"]
    assert client.put("/v1/users/vera", json=body | {"currentPassword": "wrong"}).status_code == 403
    monkeypatch.undo()
    assert client.put("/v1/users/vera", json=body).status_code == 200


def test_a52_a_weak_new_password_is_refused(house):
    body = {"password": "password1", "currentPassword": "vera's long password"}
    answer = house.client("vera").put("/v1/users/vera", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "password"


def test_a_uid_is_never_given_twice(house):
    first = house.users.create(NewUser("bob", Role.VIEWER, "hash")).uid
    house.users.delete("bob")
    assert house.users.create(NewUser("bob", Role.VIEWER, "hash")).uid > first


def test_a_request_with_the_same_key_makes_a_user_once(house):
    client = house.client("ada")
    headers = {"Idempotency-Key": "k1"}
    first, second = (client.post("/v1/users", json={"user": BOB}, headers=headers) for _ in range(2))
    assert first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"


def test_a100_no_answer_and_no_row_holds_a_password_or_its_plain_hash(house):
    import hashlib

    body = house.client("ada").post("/v1/users", json={"user": BOB}, headers={"Idempotency-Key": "k1"}).request.content
    kept = b"".join(path.read_bytes() for path in house.data.glob("odin.db*"))
    for leak in (BOB["password"].encode(), hashlib.sha256(body).hexdigest().encode()):
        assert leak not in kept
