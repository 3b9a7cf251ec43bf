"""Settings: where values come from, what is refused, and what is shown of them."""

import os
from pathlib import Path

import pytest

from odin.model.errors import ValidationFailed
from odin.settings import RULES, Settings, check, describe, load, reference


def read(flags=None, config=None, **variables):
    return load(flags or {}, {"HOME": "/home/ada", "USER": "ada"} | variables, config)


def settings(**variables) -> Settings:
    return read(**variables).settings


def problems(**given):
    with pytest.raises(ValidationFailed) as caught:
        read(**given)
    return [str(problem) for problem in caught.value.problems]


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "odin.toml"
    path.write_text(text)
    return path


def refusals(**variables) -> str:
    return " ".join(str(problem) for problem in check(settings(**variables)))


def test_without_anything_given_the_defaults_start_a_server():
    found = settings()
    assert found.data == Path("/home/ada/.local/share/odin")
    assert found.shared == Path("/home/ada/.local/share/odin-shared")
    assert found.database_url == "sqlite:////home/ada/.local/share/odin/odin.db"
    assert (found.host, found.port, found.root_user) == ("127.0.0.1", 9003, "ada")
    assert found.local_cpus >= 1
    assert check(found) == []


def test_the_first_admin_is_called_as_who_starts_the_server():
    assert settings(USER="Ada").root_user == "ada"
    assert settings(USER="ada lovelace").root_user == "admin"


def test_derived_defaults_follow_the_data_folder():
    found = settings(ODIN_DATA="/srv/odin")
    assert (found.shared, found.database_url) == (Path("/srv/odin-shared"), "sqlite:////srv/odin/odin.db")


def test_what_pipelines_left_is_kept_for_ever_unless_told_otherwise():
    assert (settings().retain_days, settings().retain_bytes) == (None, None)
    found = settings(ODIN_RETAIN_DAYS="0.5", ODIN_RETAIN_BYTES="500G")
    assert (found.retain_days, found.retain_bytes) == (0.5, 500 * 10**9)


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path):
    file = toml(tmp_path, 'port = 1\nhost = "127.0.0.2"\nlog_level = "debug"\n')
    loaded = read({"port": 3, "host": None}, file, ODIN_PORT="2", ODIN_HOST="127.0.0.3")
    assert (loaded.settings.port, loaded.settings.host, loaded.settings.log_level) == (3, "127.0.0.3", "debug")
    assert loaded.origins["port"] == "--port"
    assert loaded.origins["host"] == "ODIN_HOST"
    assert loaded.origins["log_level"] == f"{file}:3"
    assert loaded.origins["executor"] == "default"


def test_a_flag_may_have_a_shorter_name_than_its_setting():
    loaded = read({"database": "sqlite:////srv/odin.db", "token_duration": "60"})
    assert (loaded.settings.database_url, loaded.settings.token_duration_s) == ("sqlite:////srv/odin.db", 60)
    assert loaded.origins["database_url"] == "--database"


def test_the_file_in_the_data_folder_is_read_by_itself(tmp_path):
    toml(tmp_path, "port = 7\n")
    assert settings(ODIN_DATA=str(tmp_path)).port == 7


def test_a_variable_names_another_file(tmp_path):
    assert settings(ODIN_CONFIG=str(toml(tmp_path, "port = 8\n"))).port == 8


def test_a_file_in_the_data_folder_cannot_move_the_data_folder(tmp_path):
    toml(tmp_path, 'data = "/elsewhere"\n')
    assert "use ODIN_DATA" in problems(ODIN_DATA="", flags={"data": None}, HOME=str(home_with(tmp_path)))[0]


def home_with(tmp_path: Path) -> Path:
    """A home whose usual data folder holds ``tmp_path``'s odin.toml."""
    usual = tmp_path / "home/.local/share/odin"
    usual.mkdir(parents=True)
    (tmp_path / "odin.toml").rename(usual / "odin.toml")
    return tmp_path / "home"


def test_relative_paths_in_a_file_start_from_its_folder(tmp_path):
    file = toml(tmp_path, 'data = "here"\n')
    assert read(config=file).settings.data == tmp_path / "here"


def test_mounts_may_be_a_table_or_one_variable(tmp_path):
    file = toml(tmp_path, '[local]\ncpus = 1.5\n[local.mounts]\n"/data" = "/srv/data"\n')
    found = read(config=file).settings
    assert (found.local_mounts, found.local_cpus) == ({"/data": "/srv/data"}, 1.5)
    assert settings(ODIN_LOCAL_MOUNTS="/a=/b, /c=/d").local_mounts == {"/a": "/b", "/c": "/d"}


def test_a_secret_may_come_from_a_file(tmp_path):
    (tmp_path / "secret").write_text("s" * 40 + "\n")
    loaded = read(ODIN_SECRET_FILE=str(tmp_path / "secret"))
    assert (loaded.settings.secret, loaded.origins["secret"]) == ("s" * 40, "ODIN_SECRET_FILE")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ODIN_PORT": "ninety"}, "ODIN_PORT: must be a whole number from 0 to 65535, not 'ninety'"),
        ({"ODIN_PORT": "70000"}, "ODIN_PORT: must be a whole number from 0 to 65535, not '70000'"),
        ({"ODIN_EXECUTOR": "slurm"}, "ODIN_EXECUTOR: must be local or kubernetes, not 'slurm'"),
        ({"ODIN_ALLOW_REMOTE_LOCAL": "maybe"}, "ODIN_ALLOW_REMOTE_LOCAL: must be yes or no, not 'maybe'"),
        ({"ODIN_RETAIN_DAYS": "-1"}, "ODIN_RETAIN_DAYS: must be a number of days above 0, such as 30 or 0.5, not '-1'"),
        ({"ODIN_RETAIN_BYTES": "9x"}, "ODIN_RETAIN_BYTES: must be a number of bytes, such as 500G or 64Gi, not '9x'"),
        ({"ODIN_LOCAL_CPUS": "0"}, "ODIN_LOCAL_CPUS: must be a number of CPUs above 0, such as 4 or 0.5, not '0'"),
        ({"ODIN_LOCAL_CPUS": "nan"}, "ODIN_LOCAL_CPUS: must be a number of CPUs above 0, such as 4 or 0.5, not 'nan'"),
        ({"ODIN_TRUSTED_PROXIES": "me"}, "ODIN_TRUSTED_PROXIES: must be addresses or networks, such as 10.0.0.0/8, not 'me'"),
        ({"ODIN_LOCAL_MOUNTS": "data"}, "ODIN_LOCAL_MOUNTS: must map absolute paths to absolute paths, such as /data=/srv/data, not 'data'"),
        ({"ODIN_HOST": " "}, "ODIN_HOST: must be a text that is not empty, not ' '"),
        ({"ODIN_LEGACY_WS": "maybe"}, "ODIN_LEGACY_WS: must be yes or no, not 'maybe'"),
        ({"ODIN_PROT": "9"}, "ODIN_PROT: there is no setting ODIN_PROT; did you mean ODIN_PORT?"),
        ({"ODIN_DATABASE": "x"}, "ODIN_DATABASE: there is no setting ODIN_DATABASE; did you mean ODIN_DATABASE_URL?"),
        ({"ODIN_ROOT_USER": "A b"}, "ODIN_ROOT_USER: must be 1 to 64 lower-case letters, digits and . _ -, a letter or digit first, not 'A b'"),
        ({"ODIN_SECRET_FILE": "/none"}, "ODIN_SECRET_FILE: cannot read /none: No such file or directory"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_named_with_what_it_must_be(variables, message):
    assert problems(**variables) == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host = 'localhost'\nport = true", "2: must be a whole number from 0 to 65535, not True"),
        ("\nprot = 9003", "2: there is no setting prot; did you mean port?"),
        ("[server]\nport = 1", "2: there is no setting server_port; `odin-serve --check` lists them"),
        ("[local]\ncpu = 1", "2: there is no setting local_cpu; did you mean local_cpus?"),
        ("port = \n", "1:8: Invalid value"),
        ("allowed_hosts = [1]", "1: must be a list of texts, or one text with commas, not [1]"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_line(tmp_path, text, message):
    file = toml(tmp_path, text)
    assert problems(config=file) == [f"{file}:{message}"]


def test_every_problem_is_told_at_once(tmp_path):
    file = toml(tmp_path, "port = -1\nhots = 'x'\n")
    assert len(problems(config=file, ODIN_EXECUTOR="x", flags={"max_connections": "no"})) == 4


def test_a_file_that_is_not_there_is_an_error_when_it_was_named():
    assert problems(config=Path("/none.toml")) == ["/none.toml: cannot be read: No such file or directory"]


def test_variables_of_commands_tasks_and_others_are_not_settings():
    settings(ODIN_URL="x", ODIN_TOKEN="x", ODIN_TASK_ID="x", ODIN_TASK_NAME="x", ODIN_FAULT="", ODIN_COLOUR="x")
    settings(ODIN_SERVICE_HOST="10.0.0.1", ODIN_PORT_9003_TCP="x", ODIN_HOME="x")


def test_a_secret_given_twice_is_refused(tmp_path):
    given = problems(ODIN_SECRET="s" * 40, ODIN_SECRET_FILE=str(tmp_path / "x"))
    assert given == ["ODIN_SECRET_FILE: the value is given too; keep one of the two"]


def test_a100_secrets_are_in_no_table_message_or_repr(tmp_path):
    url = "sqlite://ada:hunter22@/srv/odin.db"
    loaded = read(ODIN_SECRET="s3cret-" * 6, ODIN_ROOT_PASS="pa://ss-word", ODIN_DATABASE_URL=url)
    shown = f"{describe(loaded)} {loaded.settings!r} {check(loaded.settings)}"
    assert not any(secret in shown for secret in ("s3cret-", "ss-word", "hunter22"))
    assert ("ODIN_DATABASE_URL", "sqlite://ada:********@/srv/odin.db", "ODIN_DATABASE_URL") in describe(loaded)
    url = "postgresql://ada:hunter22@db/odin?sslpassword=hunter22&password=hunter22&sslmode=require"
    shown = str(describe(read(ODIN_DATABASE_URL=url)))
    assert "hunter22" not in shown and "password=********&sslmode=require" in shown


def test_the_database_may_be_a_postgresql():
    for url in ("postgresql://odin@db/odin", "postgres://odin:pw@a:5432,b:5433/odin?sslmode=require"):
        assert refusals(ODIN_DATABASE_URL=url) == ""


def test_a46_a_short_secret_is_refused_and_a_long_one_is_not():
    for length in range(1, 32):
        assert "shorter than 32 bytes" in refusals(ODIN_SECRET="x" * length)
    assert refusals(ODIN_SECRET="x" * 32) == ""


def test_a105_the_local_executor_beyond_loopback_needs_a_word():
    assert "run programs as the server's user" in refusals(ODIN_HOST="0.0.0.0")
    assert "ODIN_ALLOW_REMOTE_LOCAL=yes" in refusals(ODIN_HOST="::")
    assert refusals(ODIN_HOST="0.0.0.0", ODIN_ALLOW_REMOTE_LOCAL="yes") == ""
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert refusals(ODIN_HOST=host) == ""


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ODIN_DATABASE_URL": "mysql://x/y"}, "or one of PostgreSQL"),
        ({"ODIN_DATABASE_URL": "sqlite:///odin.db"}, "an absolute path"),
        ({"ODIN_DATA": "/srv/o", "ODIN_SHARED": "/srv/o/shared"}, "must not lie in one another"),
        ({"ODIN_DATA": "/srv/o/data", "ODIN_SHARED": "/srv/o"}, "must not lie in one another"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(variables, sentence):
    assert sentence in refusals(**variables)


def test_anonymous_reads_are_on_only_while_on_loopback():
    assert settings().anonymous_reads
    assert not settings(ODIN_HOST="0.0.0.0").anonymous_reads
    assert settings(ODIN_HOST="0.0.0.0", ODIN_ANONYMOUS_READ="on").anonymous_reads
    assert not settings(ODIN_ANONYMOUS_READ="off").anonymous_reads
    assert not settings(ODIN_TRUSTED_PROXIES="127.0.0.1").anonymous_reads


def test_the_table_is_described_whole_and_in_order():
    names = [row[0] for row in reference()]
    assert names == [row[0] for row in describe(read())]
    assert len(names) == len(RULES)
    assert ("ODIN_TOKEN_DURATION", "43200", "how long a token is valid (seconds)") in reference()


@pytest.fixture
def as_another_user():
    """Acts as user 4711 where the tests run as root, who may be anybody."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(4711)
    yield os.geteuid()
    if before == 0:
        os.seteuid(0)


def test_on_a_data_claim_tasks_run_as_the_servers_user(as_another_user):
    claim = {"ODIN_EXECUTOR": "kubernetes", "ODIN_DATA_CLAIM": "odin-shared"}
    said = refusals(**claim, ODIN_KUBERNETES_RUN_AS=str(as_another_user + 1))
    assert f"set ODIN_KUBERNETES_RUN_AS={as_another_user}, or run the server as {as_another_user + 1}" in said
    assert refusals(**claim, ODIN_KUBERNETES_RUN_AS=str(as_another_user)) == ""
    assert refusals(ODIN_EXECUTOR="kubernetes", ODIN_KUBERNETES_RUN_AS=str(as_another_user + 1)) == ""


def test_images_are_pulled_as_kubernetes_does_unless_a_setting_says_otherwise():
    assert settings().kubernetes_pull_policy is None
    assert settings(ODIN_KUBERNETES_PULL_POLICY="Always").kubernetes_pull_policy == "Always"
    assert "must be Always or IfNotPresent or Never" in problems(ODIN_KUBERNETES_PULL_POLICY="always")[0]
