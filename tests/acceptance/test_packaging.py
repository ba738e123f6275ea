"""What a team installs: the wheel and the source distribution, used away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import psycopg
import pytest

from ledgerviews import __version__

ROOT = Path(__file__).parents[2]


def _called(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an environment that holds nothing but PATH and what is given."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        timeout=240,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = _called(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel."""
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel, which sees this one's packages but not the checkout."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--isolated", "--python", str(python))
    done = _called(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-cache-dir", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    # A folder named in a .pth file is searched, but its own .pth files, the editable install, are not read.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def _package_files(folder: str) -> set[str]:
    """What the package must carry from a folder of the checkout."""
    wanted = {".py", ".sql", ".mako", ".typed"}
    return {
        str(file.relative_to(ROOT))
        for file in (ROOT / folder).rglob("*")
        if file.suffix in wanted or file.name == "py.typed"
    }


def test_the_wheel_carries_every_sql_file_and_the_migrations(wheel: Path) -> None:
    """The wheel holds the code of both programs, all SQL and the migrations, and no other name at the top."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    code = _package_files("ledgerviews") | _package_files("bq_export")
    migrations = _package_files("migrations")
    assert code <= names
    assert {f"ledgerviews/{name}" for name in migrations} <= names
    assert {"migrations/env.py", "migrations/script.py.mako"} <= migrations
    packages = {"ledgerviews", "bq_export"}
    assert {name.split("/")[0] for name in names} == {*packages, f"ledgerviews-{__version__}.dist-info"}
    assert [name for name in names if name.endswith(".pyc")] == []


def test_the_source_distribution_carries_the_same(built: Path) -> None:
    """The source distribution holds what the wheel is built from, and the Alembic settings."""
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}

    assert _package_files("ledgerviews") | _package_files("bq_export") | _package_files("migrations") <= names
    assert {"alembic.ini", "pyproject.toml", "README.md", "PKG-INFO"} <= names
    assert [name for name in names if name.startswith(("tests/", "."))] == [".gitignore"]


def test_the_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The environment of these tests imports the package from the wheel."""
    where = _called(installed / "python", "-c", "import ledgerviews as l; print(l.__file__)", cwd=tmp_path)
    version = _called(installed / "ledgerviews", "--version", cwd=tmp_path)

    assert where.stdout.startswith(str(installed.parent)), where.stdout + where.stderr
    assert __version__ in version.stdout


def test_the_installed_package_migrates_and_refreshes(
    installed: Path, application_url: str, tmp_path: Path
) -> None:
    """`ledgerviews db upgrade` and `refresh` work from any folder, without a checkout or an alembic.ini."""
    program = installed / "ledgerviews"

    upgraded = _called(program, "db", "upgrade", cwd=tmp_path, LEDGERVIEWS_DATABASE_URL=application_url)
    refreshed = _called(program, "refresh", cwd=tmp_path, LEDGERVIEWS_DATABASE_URL=application_url)
    status = _called(program, "status", cwd=tmp_path, LEDGERVIEWS_DATABASE_URL=application_url)

    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    assert refreshed.returncode == 0, refreshed.stdout + refreshed.stderr
    assert status.returncode == 0, status.stdout + status.stderr
    with psycopg.connect(application_url) as connection:
        assert connection.execute(
            "SELECT bool_and(ispopulated), count(*) FROM pg_matviews WHERE schemaname = 'public'"
        ).fetchone() == (True, 3)
