"""The launcher of the development server, against the operating system as it is."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.dev import Server, binaries
from ledgerviews.dev.account import Account
from ledgerviews.dev.folder import MARKER, Folder
from ledgerviews.dev.server import stop
from ledgerviews.dev.sockets import socket_folder
from ledgerviews.errors import LedgerviewsError, UsageError
from tests.servers import DEBIAN_15, ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

START = (sys.executable, "-m", "ledgerviews", "dev", "start", "--dir")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root switches to another account")


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that every account can reach; the servers in it are stopped at the end."""
    path = Path(tempfile.gettempdir()).resolve() / f"ledgerviews-test-{secrets.token_hex(6)}"
    path.mkdir()
    path.chmod(0o755)
    yield path
    for marker in list(path.rglob(MARKER)):
        stop(Folder.at(marker.parent), remove=True)
    shutil.rmtree(path)


def ask(server: Server, query: str, dbname: str = "postgres") -> object:
    """The single value of a query."""
    with psycopg.connect(server.url(dbname), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def processes(folder: Path) -> list[int]:
    """The processes whose command line names something in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and os.fsencode(folder) + b"/" in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def wait_until_gone(folder: Path) -> list[int]:
    """The processes of a folder that are left after some patience."""
    deadline = time.monotonic() + 10
    while (left := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def modes(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    """Who owns each path and what its permissions are."""
    return {path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in paths}


def fake_programs(folder: Path, script: str) -> Path:
    """A folder of PostgreSQL's programs in which the server itself is a shell script."""
    real = binaries.Binaries.find().bin_dir
    folder.mkdir()
    for program in real.iterdir():
        if program.name != "postgres":
            (folder / program.name).symlink_to(program)
    wrapper = f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/postgres --version\n{script}\n'
    (folder / "postgres").write_text(wrapper)
    (folder / "postgres").chmod(0o755)
    return folder


def test_start_attach_stop_start_again(base: Path) -> None:
    """A second start finds the same server, and rows and socket stay the same over a stop."""
    first = Server.start(base / "dev")
    first.create_database("kept")
    first.create_database("kept")
    second = Server.start(base / "dev")
    first.stop()
    gone = Server.attach(base / "dev")
    again = Server.start(base / "dev")

    assert (first.attached, second.attached, again.attached) == (False, True, False)
    assert (first.pid, first.url()) == (second.pid, second.url())
    assert gone is None
    assert again.url() == first.url()
    assert again.pid != first.pid
    assert ask(again, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1
    assert again.major == 18
    assert ask(again, "SHOW server_version") == again.version


def test_a_server_to_keep_is_durable_and_local(base: Path) -> None:
    """A server to keep keeps crash safety, opens no TCP port, and has one locale whatever the caller's."""
    server = Server.start(base / "dev")
    names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "TimeZone", "lc_messages")
    found = [ask(server, f"SHOW {name}") for name in names]

    assert found == ["on", "on", "on", "", "UTC", "C"]
    assert ask(server, "SELECT upper('ä')") == "Ä"
    assert ask(server, "SHOW server_encoding") == "UTF8"


def test_only_the_server_account_reaches_data_and_socket(base: Path) -> None:
    """Data and socket belong to the server's account alone, the folder around them to the caller."""
    server = Server.start(base / "dev")
    account = Account.for_server()

    for path in (base / "dev" / "data", Path(server.host)):
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (account.uid, 0o700)
    assert (base / "dev").stat().st_uid == os.geteuid()
    assert not (base / "dev").stat().st_mode & 0o022


def test_a_throw_away_server_leaves_nothing(base: Path) -> None:
    """A throw-away server trades crash safety for speed, takes settings, and its end deletes its folders."""
    with Server.start(base / "dev", throwaway=True, settings={"work_mem": "12MB"}) as server:
        found = [ask(server, f"SHOW {name}") for name in ("fsync", "full_page_writes", "work_mem")]

    assert found == ["off", "off", "12MB"]
    assert not (base / "dev").exists()
    assert not Path(server.host).exists()
    assert wait_until_gone(base / "dev") == []


def test_a_throw_away_server_dies_with_its_owner(base: Path) -> None:
    """A throw-away server and its folders go when the process that started it is killed with -9."""
    script = (
        "import sys, time; from ledgerviews.dev import Server; "
        "print(Server.start(sys.argv[1], throwaway=True).host, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, base / "dev"],
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        host = Path(owner.stdout.readline().strip())
        ran = host.is_dir()
        owner.kill()
    left = wait_until_gone(base / "dev")
    deadline = time.monotonic() + 10
    while (base / "dev").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert ran
    assert left == []
    assert not (base / "dev").exists()
    assert not host.exists()


def test_a_folder_to_keep_is_not_thrown_away(base: Path) -> None:
    """Rows to keep are never put into a server that deletes its folder, and the other way round."""
    Server.start(base / "dev").stop()

    with pytest.raises(UsageError, match="to be kept"):
        Server.start(base / "dev", throwaway=True)
    assert (base / "dev" / "data" / "PG_VERSION").exists()


def test_killed_server_starts_again(base: Path) -> None:
    """After kill -9 the server counts as stopped at once, and the next start recovers its rows."""
    server = Server.start(base / "dev")
    server.create_database("kept")
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)
    seen = Server.attach(base / "dev")
    again = Server.start(base / "dev")

    assert seen is None
    assert not again.attached
    assert ask(again, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1


def test_reused_process_id_does_not_lie(base: Path) -> None:
    """A postmaster.pid whose id went to another process neither reads as running nor stops a start."""
    server = Server.start(base / "dev")
    pid_file = base / "dev" / "data" / "postmaster.pid"
    text = pid_file.read_text()
    server.stop()
    account = Account.for_server()
    with subprocess.Popen(["sleep", "60"], cwd="/", **account.run_as()) as other:
        pid_file.write_text(text.replace(str(server.pid), str(other.pid), 1))
        seen = Server.attach(base / "dev")
        again = Server.start(base / "dev")
        alive = other.poll() is None
        other.kill()

    assert seen is None
    assert again.pid != other.pid
    assert ask(again, "SELECT 1") == 1
    assert alive


def test_a_server_of_other_hands_is_left_alone(base: Path) -> None:
    """A server that was started on the data folder without us is reported, not doubled."""
    Server.start(base / "dev").stop()
    data, account = base / "dev" / "data", Account.for_server()
    programs = binaries.Binaries.find().for_account(account, inside=base / "dev").bin_dir
    command: list[str | Path] = [programs / "postgres", "-D", data, "-k", data, "-h", ""]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd="/", stderr=quiet, stdout=quiet, **account.run_as()) as other:
        while "ready" not in (
            (data / "postmaster.pid").read_text() if (data / "postmaster.pid").exists() else ""
        ):
            time.sleep(0.02)
        try:
            with pytest.raises(LedgerviewsError, match=f"process {other.pid}.*uses") as caught:
                Server.start(base / "dev")
            kept = (data / "postmaster.pid").exists()
        finally:
            other.send_signal(signal.SIGINT)

    assert kept
    assert "pg_ctl stop" in str(caught.value)


def test_starts_at_once_share_one_server(base: Path) -> None:
    """Of starts at the same time one starts the server, and the others attach to it."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Server.start(base / "dev"), range(4)))

    assert sorted(server.attached for server in found) == [False, True, True, True]
    assert len({server.pid for server in found}) == 1


def test_half_made_data_folder_is_made_anew(base: Path) -> None:
    """What a killed initdb left is never used as a data folder."""
    folder = Folder.at(base / "dev")
    with folder.claimed(Account.for_server()):
        (folder.path / "data.new").mkdir()
        (folder.path / "data.new" / "PG_VERSION").write_text("18\n")
    server = Server.start(folder)

    assert ask(server, "SELECT 1") == 1
    assert not (folder.path / "data.new").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_interrupted_initdb_leaves_no_data_folder(base: Path, sent: signal.Signals) -> None:
    """A start that is ended while initdb runs leaves no process and no half-made folder in the way."""
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT)}
    command: list[str | Path] = [*START, base / "dev"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as starter:
        while not (base / "dev" / "data.new" / "PG_VERSION").exists():
            assert starter.poll() is None
            time.sleep(0.005)
        starter.send_signal(sent)
        code = starter.wait()
    made = (base / "dev" / "data").exists()
    left = wait_until_gone(base / "dev")
    server = Server.start(base / "dev")

    assert code == (-signal.SIGKILL if sent is signal.SIGKILL else 130)
    assert not made
    assert left == []
    assert ask(server, "SELECT 1") == 1


def test_interrupted_start_ends_the_server(base: Path) -> None:
    """Ctrl-C while the server starts ends it, and takes its socket's folder away."""
    Server.start(base / "dev").stop()
    programs = fake_programs(base / "programs", f"exec sleep 60 # {base}/dev/")
    command: list[str | Path] = [*START, base / "dev", "--bin-dir", programs]
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT)}
    folder = Folder.at(base / "dev")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as starter:
        sockets = socket_folder(folder.data, Account.for_server())
        while not (folder.is_alive() and sockets.exists()):
            assert starter.poll() is None
            time.sleep(0.005)
        time.sleep(0.2)
        starter.send_signal(signal.SIGINT)
        code = starter.wait()

    assert code == 130
    assert not folder.is_alive()
    assert not sockets.exists()


def test_failed_start_says_why_and_leaves_nothing(base: Path) -> None:
    """A server that does not come up is reported in PostgreSQL's own words, and nothing of it runs on."""
    with pytest.raises(LedgerviewsError, match="ended while it started") as caught:
        Server.start(base / "dev", settings={"shared_buffers": "plenty"})

    assert 'invalid value for parameter "shared_buffers": "plenty"' in str(caught.value)
    assert wait_until_gone(base / "dev") == []
    assert not socket_folder(base / "dev" / "data", Account.for_server()).exists()
    assert Server.attach(base / "dev") is None


def test_failed_throw_away_start_leaves_no_folder(base: Path) -> None:
    """A throw-away server that does not come up takes its folder along."""
    with pytest.raises(LedgerviewsError, match="plenty"):
        Server.start(base / "dev", throwaway=True, settings={"shared_buffers": "plenty"})

    assert not (base / "dev").exists()


def test_other_major_version_is_refused(base: Path) -> None:
    """A data folder of another major version is named with both versions, and left as it is."""
    Server.start(base / "dev").stop()
    (base / "dev" / "data" / "PG_VERSION").write_text("15\n")

    with pytest.raises(UsageError, match=r"is of PostgreSQL 15, .* PostgreSQL 18") as caught:
        Server.start(base / "dev")
    assert "ledgerviews dev remove" in str(caught.value)


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason="no PostgreSQL 15 in Debian's place")
def test_other_programs_start_their_own_version(base: Path) -> None:
    """The same launcher starts the system's PostgreSQL 15, and an attached server offers its programs."""
    started = Server.start(base / "dev", bin_dir=DEBIAN_15)
    attached = Server.start(base / "dev", bin_dir=DEBIAN_15)

    assert started.major == 15
    assert attached.attached
    assert attached.bin_dir == DEBIAN_15
    assert str(ask(attached, "SHOW server_version")).startswith("15.")


def test_folder_with_other_files_is_refused(base: Path) -> None:
    """A folder with somebody's files neither becomes a server's nor can be removed."""
    (base / "dev").mkdir()
    (base / "dev" / "thesis.txt").write_text("all of it")

    with pytest.raises(UsageError, match="left alone"):
        Server.start(base / "dev")
    with pytest.raises(UsageError, match="no folder of ledgerviews dev"):
        stop(Folder.at(base / "dev"), remove=True)
    assert [path.name for path in (base / "dev").iterdir()] == ["thesis.txt"]


def test_long_folder_name_fits_a_socket(base: Path) -> None:
    """A folder whose name is longer than a socket's path may be works all the same."""
    server = Server.start(base / ("long" * 30) / "öd 'dir', & more")

    assert ask(server, "SELECT 1") == 1
    assert len(os.fsencode(server.host)) < 90


@as_root
def test_unreachable_data_folder_is_refused(base: Path) -> None:
    """A folder that the server's account cannot reach is refused with the closed parent's name, unchanged."""
    (base / "closed").mkdir(mode=0o700)
    before = modes([base, base / "closed"])

    with pytest.raises(UsageError, match=f"cannot enter {base / 'closed'},"):
        Server.start(base / "closed" / "dev")
    assert modes([base, base / "closed"]) == before
    assert Account.for_server().can_own_below(base)
    assert not Account.for_server().can_own_below(base / "closed")


@as_root
def test_unreachable_programs_are_copied(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that the server's account cannot reach run from a copy in our folder; theirs stay closed."""
    site = base / "closed" / "site-packages"
    for part in binaries.PARTS:
        shutil.copytree(binaries.Binaries.find().bin_dir.parents[2] / part, site / part)
    (base / "closed").chmod(0o700)
    before = modes([base, base / "closed", *site.rglob("*")])
    monkeypatch.setattr(binaries, "_site", lambda: site)
    server = Server.start(base / "dev")
    running = Path(f"/proc/{server.pid}/exe").readlink()

    assert running.is_relative_to(base / "dev")
    assert modes([base, base / "closed", *site.rglob("*")]) == before
    assert ask(server, "SELECT 1") == 1


@as_root
def test_socket_folder_of_another_user_is_refused(base: Path) -> None:
    """A socket's folder that somebody else made first is not used."""
    sockets = socket_folder(base / "dev" / "data", Account.for_server())
    sockets.mkdir(mode=0o700)
    os.chown(sockets, 1, 1)
    try:
        with pytest.raises(LedgerviewsError, match="made by another user"):
            Server.start(base / "dev")
        assert list(sockets.iterdir()) == []
    finally:
        sockets.rmdir()
    assert ask(Server.start(base / "dev"), "SELECT 1") == 1


@as_root
def test_nothing_outside_the_folder_changes(base: Path) -> None:
    """Starting, stopping and removing change no permission of a parent or of the programs."""
    programs = binaries.Binaries.find().bin_dir
    watched = [base, *base.parents, programs, *programs.parents, *programs.iterdir()]
    before = modes(watched)
    Server.start(base / "dev").stop()
    stop(Folder.at(base / "dev"), remove=True)

    assert modes(watched) == before
