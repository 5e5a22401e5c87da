#!/usr/bin/env python3
"""The token flow against a real OpenStack Keystone: not part of `cargo test`, as installing Keystone takes minutes.

    cargo build && python3 tests/keystone/run.py

Keystone (from a package index, SQLite-backed) runs on loopback, and the simulator, which checks no signatures, stands
for CSS. The daemon's own commands sign in with a password, find the project by its region, and read; then a wrong
password is tried. Everything is made under target/keystone and printed.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/upgrade-remediator"
PLACE = ROOT / "target/keystone"
PACKAGES = ["keystone==30.0.0"]
KEYSTONE = 5000


def run(*command, env=None, expect=0):
    """Runs a command, prints it with what it printed, and gives its output."""
    print("$", " ".join(str(part) for part in command[-6:]), flush=True)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    print((done.stdout + done.stderr).strip(), flush=True)
    assert done.returncode == expect, f"exit code {done.returncode}, and {expect} was expected"
    return done.stdout


def serve():
    """Keystone's own WSGI application, in this process."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from keystone.server import wsgi

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    # Keystone reads the arguments of the process.
    del sys.argv[1:]
    application = wsgi.initialize_public_application()
    with make_server("127.0.0.1", KEYSTONE, application, handler_class=Quiet) as server:
        server.serve_forever()


def call(method, path, body, token=None):
    """Calls Keystone as an administrator would."""
    request = urllib.request.Request(f"http://127.0.0.1:{KEYSTONE}{path}", method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("X-Auth-Token", token)
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data) as answer:
        text = answer.read()
        return answer.headers.get("X-Subject-Token"), json.loads(text) if text else None


def prepare():
    """Installs Keystone where it is not there yet, and begins with an empty database."""
    environment = PLACE / "venv"
    if not (environment / "bin/keystone-manage").exists():
        run(sys.executable, "-m", "venv", environment)
        run(environment / "bin/pip", "install", "--quiet", *PACKAGES)
    for name in ["keys", "credential-keys"]:
        shutil.rmtree(PLACE / name, ignore_errors=True)
    (PLACE / "keystone.db").unlink(missing_ok=True)
    (PLACE / "keystone.conf").write_text(
        f"[database]\nconnection = sqlite:///{PLACE}/keystone.db\n"
        f"[fernet_tokens]\nkey_repository = {PLACE}/keys\n"
        f"[credential]\nkey_repository = {PLACE}/credential-keys\n"
    )
    manage = [environment / "bin/keystone-manage", "--config-file", PLACE / "keystone.conf"]
    user = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    run(*manage, "db_sync")
    run(*manage, "fernet_setup", *user)
    run(*manage, "credential_setup", *user)
    run(*manage, "bootstrap", "--bootstrap-password", "administrator", "--bootstrap-region-id", "eu-west-101")
    return environment


def administrate():
    """Makes a project of the region's name and a user of it."""
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": "admin", "password": "administrator", "domain": {"name": "Default"}}},
    }
    scope = {"project": {"name": "admin", "domain": {"name": "Default"}}}
    admin, _ = call("POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
    project = {"name": "eu-west-101", "domain_id": "default"}
    _, made = call("POST", "/v3/projects", {"project": project}, admin)
    project = made["project"]["id"]
    user = {"name": "robot", "password": "made-up-password", "domain_id": "default"}
    _, made = call("POST", "/v3/users", {"user": user}, admin)
    user = made["user"]["id"]
    _, roles = call("GET", "/v3/roles?name=admin", None, admin)
    role = roles["roles"][0]["id"]
    call("PUT", f"/v3/projects/{project}/users/{user}/roles/{role}", None, admin)
    return project


def main():
    PLACE.mkdir(parents=True, exist_ok=True)
    environment = prepare()
    keystone = subprocess.Popen(
        [environment / "bin/python", __file__, "serve"],
        env={**os.environ, "OS_KEYSTONE_CONFIG_DIR": str(PLACE)},
        stderr=subprocess.DEVNULL,
    )
    simulator = None
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{KEYSTONE}/v3")
                break
            except OSError:
                time.sleep(0.2)
        project = administrate()
        scenario = PLACE / "scenario.toml"
        scenario.write_text(
            f'signatures = "ignored"\nproject_id = "{project}"\n[[cluster]]\nname = "logs"\n'
            '[[cluster.task]]\nkind = "upgrade"\nstart = "-2h"\nend = "-1m"\nstatus = "FAILED"\n'
        )
        simulator = subprocess.Popen(
            [BINARY, "simulator", "--listen", "127.0.0.1:5001", "--scenario", scenario],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1)
        configuration = PLACE / "config.toml"
        configuration.write_text(
            f'[journal]\nurl = "sqlite:{PLACE}/journal.db"\n'
            '[[project]]\nname = "keystone"\nregion = "eu-west-101"\ncredentials = "robot"\n'
            f'endpoint = "http://127.0.0.1:5001"\niam_endpoint = "http://127.0.0.1:{KEYSTONE}"\n'
            '[credentials.robot]\ntype = "password"\nuser = "robot"\ndomain = "Default"\n'
            'password = { env = "ROBOT" }\n[[policy]]\nname = "everything"\n'
        )
        good = {**os.environ, "ROBOT": "made-up-password", "UPGRADE_REMEDIATOR__LOG__FILTER": "debug"}
        wrong = {**good, "ROBOT": "wrong-password"}
        common = ["--config", configuration]
        told = run(BINARY, "doctor", *common, env=good)
        assert "1 cluster" in told, "the project was found, and listed"
        told = run(BINARY, "plan", *common, env=good)
        assert "logs" in told
        told = run(BINARY, "doctor", *common, env=wrong, expect=3)
        assert "401" in told and "wrong-password" not in told
        print("the token flow works against a real Keystone")
    finally:
        for process in filter(None, [keystone, simulator]):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
