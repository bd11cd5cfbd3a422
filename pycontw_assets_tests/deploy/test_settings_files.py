"""The configuration files under ``deploy/`` agree with the programs that they configure."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.config_schema import ensure_workspace_config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.local_stack import bootstrap, compose
from pycontw_assets.orchestration.instance import INSTANCE_CONFIG
from pycontw_assets.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
UNITS = sorted((DEPLOY / "systemd").iterdir())


def document(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


# -- variables ----------------------------------------------------------------------------------------


def named_in(name: str) -> list[str]:
    """Return every variable of a file, also those in comments."""
    return re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (DEPLOY / name).read_text(encoding="utf-8"), re.M)


def test_the_example_names_every_variable_and_no_other() -> None:
    # Our own first: the rest are variables that somebody added and did not describe for production.
    assert sorted(named_in("env.example")) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_sets_defaults_or_choices_for_production() -> None:
    chosen = {"PYCONTW_ENV": "production", "PYCONTW_DRY_RUN": "1"}
    chosen |= {"GATHER_API_URL": "https://api.gather.town", "KLAVIYO_API_URL": "https://a.klaviyo.com"}
    given = {name: value for name, value in compose.read_variables(DEPLOY / "env.example", {}).items() if value}
    defaults = {name: str(Settings.model_fields[name.lower()].default) for name in given}
    assert given == defaults | chosen


def test_shell_compose_and_the_settings_read_a_quoted_backslash_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("GATHER_SPACE_ID='AbCd\\Py Venue'\nKKTIX_EVENTS='{\"90001\": null}'\n")
    by_shell = subprocess.run(
        ["/bin/sh", "-c", f'. {file}; printf \'%s|%s\' "$GATHER_SPACE_ID" "$KKTIX_EVENTS"'],
        capture_output=True,
        text=True,
    ).stdout
    by_compose = "|".join(compose.read_variables(file, {}).values())
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, ".env")
    settings = load_settings()
    assert by_shell == by_compose == f'{settings.gather_space_id}|{{"90001": null}}'
    assert settings.kktix_events == {"90001": None}


def test_the_sandbox_sets_all_production_variables_but_generated_keys() -> None:
    given = compose.read_variables(DEPLOY / "sandbox.env", {})
    assert Settings(_env_file=None, **{name.lower(): given[name] for name in given}).missing_in_production() == [
        "VAULT_KEY"
    ]


# -- Dagster ------------------------------------------------------------------------------------------


def test_the_instance_is_the_one_of_the_commands_with_another_storage_and_launcher() -> None:
    instance = document("dagster.yaml")
    # Explicit there, and Dagster's default here.
    assert instance.pop("run_retries") == {"enabled": False}
    of_the_commands = yaml.safe_load(INSTANCE_CONFIG)
    assert instance.pop("storage") != of_the_commands.pop("storage")
    del of_the_commands["run_launcher"]  # there the code server starts the runs
    assert instance == of_the_commands


def test_dagster_accepts_the_instance_with_secrets_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    variables = document("compose.yaml")["x-instance"]
    for name in variables:
        monkeypatch.setenv(name, "1")
    assert InstanceRef.from_dir(str(tmp_path)).custom_instance_class_data is None
    database = document("dagster.yaml")["storage"]["postgres"]["postgres_db"]
    # With the default driver of newer SQLAlchemy, Dagster's NOTIFY is a syntax error, and every tick fails.
    assert database.pop("scheme") == "postgresql+psycopg2"
    assert {value["env"] for value in database.values()} <= set(variables)


def test_the_workspace_asks_the_code_server_of_the_compose_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_HOST", "code")
    monkeypatch.setenv("CODE_PORT", "4000")
    workspace = document("workspace.yaml")
    (target,) = workspace["load_from"]
    assert ensure_workspace_config(workspace, "workspace.yaml")
    assert {target["grpc_server"][name]["env"] for name in ("host", "port")} == {"CODE_HOST", "CODE_PORT"}
    assert target["grpc_server"]["location_name"] == "pycontw_assets.definitions"


# -- Kubernetes ---------------------------------------------------------------------------------------


def test_the_chart_gets_the_limits_and_times_of_the_instance() -> None:
    values, instance = document("helm-values.yaml"), document("dagster.yaml")
    daemon, runs = values["dagsterDaemon"], instance["concurrency"]["runs"]
    assert daemon["runCoordinator"]["config"]["queuedRunCoordinator"] == {
        "maxConcurrentRuns": runs["max_concurrent_runs"],
        "tagConcurrencyLimits": runs["tag_concurrency_limits"],
    }
    assert daemon["runMonitoring"]["maxRuntimeSeconds"] == instance["run_monitoring"]["max_runtime_seconds"]
    assert daemon["runRetries"]["enabled"] is False
    assert values["retention"]["sensor"]["purgeAfterDays"] == instance["retention"]["sensor"]["purge_after_days"]
    storage = instance["storage"]["postgres"]["postgres_db"]
    assert values["postgresql"]["postgresqlScheme"] == storage["scheme"]
    timeout = {"name": "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"}
    assert daemon["env"] == [
        {**timeout, "value": document("compose.yaml")["services"]["daemon"]["environment"][timeout["name"]]}
    ]


def test_every_pod_runs_one_image_without_rights_or_secrets() -> None:
    text = (DEPLOY / "helm-values.yaml").read_text(encoding="utf-8")
    values = document("helm-values.yaml")
    (code,) = values["dagster-user-deployments"]["deployments"]
    pods = (values["dagsterWebserver"], values["dagsterDaemon"], code)
    assert len({str(pod["image"]) for pod in pods}) == 1
    runs = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    contexts = [*(pod["podSecurityContext"] for pod in pods), runs["podSpecConfig"]["securityContext"]]
    (user,) = re.findall(r"^USER (\d+):", DOCKERFILE, re.M)
    assert all(context["runAsNonRoot"] and context["runAsUser"] == int(user) for context in contexts)
    assert all(pod["resources"]["limits"]["memory"] for pod in pods)
    assert "postgresqlPassword" not in text.replace("generatePostgresqlPasswordSecret", "")
    assert code["envSecrets"] == [{"name": "pycontw-assets-env"}]
    assert code["includeConfigInLaunchedRuns"]["enabled"]


# -- the image ----------------------------------------------------------------------------------------


def test_the_image_context_and_the_local_stack_hold_the_same_files() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.M) for source in line.split()[:-1]}
    assert "*" in lines
    of_the_image = {"deploy/requirements.txt", "deploy/dagster.yaml", "deploy/workspace.yaml"}
    assert let_in == copied == {*bootstrap.SOURCES, *of_the_image}
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_installs_the_pins_of_the_constraints_and_checks_every_file() -> None:
    text = (DEPLOY / "requirements.txt").read_text(encoding="utf-8")
    requirements = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)(?: \\\n +--hash=sha256:[0-9a-f]{64})+$", text, re.M)
    assert len(requirements) == len(re.findall(r"^[^#\s]", text, re.M)) > 80
    python = re.search(r"^ARG PYTHON=([0-9.]+)-", DOCKERFILE, re.M)
    assert python
    environment = {"python_version": python[1], "python_full_version": f"{python[1]}.0"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pins = {
        (canonicalize_name(pin.name), str(pin.specifier).removeprefix("=="))
        for pin in constraints
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    installed = {(canonicalize_name(name), version) for name, version in requirements}
    assert {name for name, _ in installed - pins} == {"setuptools"}, "it builds our package, and is no library of it"
    assert "--require-hashes --no-deps -r requirements.txt" in DOCKERFILE


def test_git_ignores_the_files_with_secrets() -> None:
    secrets = ["deploy/env", "deploy/.env", ".env"]
    done = subprocess.run(["git", "check-ignore", *secrets], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == secrets


def test_the_image_is_pinned_in_stages_and_not_roots() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert stages == ["python:${PYTHON}", "python:${PYTHON}"]
    assert re.search(r"^ARG PYTHON=3\.1[0-3]-slim-\w+$", DOCKERFILE, re.M)
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.M) == ["10001:10001"]
    assert "-c constraints.txt" in DOCKERFILE
    secrets = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert not [name for name in secrets if name in DOCKERFILE]


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# -- secrets and personal data ------------------------------------------------------------------------


def test_the_web_interface_of_systemd_reaches_neither_ledger_nor_vault() -> None:
    unit = (DEPLOY / "systemd" / "pycontw-assets-webserver.service").read_text(encoding="utf-8")
    closed = {path for line in re.findall(r"^InaccessiblePaths=(.*)", unit, re.M) for path in line.split()}
    settings = Settings(_env_file=None, pycontw_home=Path("/var/lib/private/pycontw-assets"))
    ledger = settings.ledger_file
    private = [settings.home / "vault", settings.sandbox_key_file, settings.duckdb_file, ledger, f"{ledger}-wal"]
    assert {f"-{path}" for path in private} <= closed
    assert not [path for path in closed if settings.dagster_folder.is_relative_to(path.removeprefix("-"))]


def test_no_page_puts_a_secret_on_a_command_line() -> None:
    secrets = "|".join(
        name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)
    )
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            assert not re.findall(
                rf"(?:--from-literal|--env|--setenv|-e|export)[ =](?:{secrets}|\S*password)\S*=", block
            ), page


# -- systemd and cron ---------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # On this machine the programs are not in /opt.
        text = unit.read_text(encoding="utf-8").replace("/opt/pycontw-assets/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text)
    names = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "pycontw" in line] == []


def test_the_units_have_no_rights_and_the_interface_no_keys() -> None:
    services = {unit.name: unit.read_text(encoding="utf-8") for unit in UNITS if unit.suffix == ".service"}
    assert len(services) == 3
    for text in services.values():
        for line in ("DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=\n"):
            assert line in text
    assert "EnvironmentFile" not in services["pycontw-assets-webserver.service"]
    assert "--host 127.0.0.1 --port 3000 --read-only" in services["pycontw-assets-webserver.service"]


def test_timer_cron_and_sensor_have_the_same_interval() -> None:
    minutes = str(Settings.model_fields["poll_interval_seconds"].default // 60)
    assert f"OnCalendar=*:0/{minutes}\n" in (DEPLOY / "systemd" / "pycontw-assets-poll.timer").read_text(
        encoding="utf-8"
    )
    (line,) = re.findall(r"^\*.*", (DEPLOY / "crontab.example").read_text(encoding="utf-8"), re.M)
    assert line.startswith(f"*/{minutes} * * * * pycontw-assets ")
    # cron turns every per cent sign into a line end.
    assert "%" not in line
    assert "flock --nonblock" in line


def test_the_cron_line_polls_with_its_file_and_never_twice_at_once(
    tmp_path: Path,
) -> None:
    (line,) = re.findall(r"^\*.*", (DEPLOY / "crontab.example").read_text(encoding="utf-8"), re.M)
    (tmp_path / "env").write_text("GATHER_SPACE_ID='AbCd\\Py Venue'\n")
    program = tmp_path / "pycontw-assets"
    program.write_text(
        '#!/bin/sh\necho "$1 $GATHER_SPACE_ID"\n[ "$1" = poll ] && [ -z "$INNER" ] && INNER=1 sh -c "$LINE"\n'
    )
    program.chmod(0o755)
    command = line.split(" pycontw-assets ", 1)[1].replace("/etc/pycontw-assets/env", str(tmp_path / "env"))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYCONTW_HOME": str(tmp_path), "LINE": command}
    subprocess.run(["/bin/sh", "-c", command], env=environment, check=True)
    assert (tmp_path / "poll.log").read_text() == "poll AbCd\\Py Venue\n"
