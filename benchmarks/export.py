"""What the extract to Parquet costs over COPY in binary to /dev/null, in wall time and memory.

    python benchmarks/export.py [--rows 5000000] [--rounds 3] [--bin-dir FOLDER] [--others [PYTHON]]

Both are whole commands, run in turn on one throw-away server with event-shaped rows; the ratio is that of
the medians, and the memory the peak of the command's process. ``--others`` runs dlt and connectorx beside it
where they are installed, by another Python where they have an environment of their own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psycopg

from ledgerviews.dev import Server

RATIO_GOAL, MEMORY_GOAL_MB = 1.3, 350
SMALL = 500_000
MODELS = "bench_models"
EVENTS = """
CREATE MATERIALIZED VIEW public.bench_events AS
SELECT
    gen_random_uuid() AS event_id,
    g AS txn_id,
    CASE
        WHEN g % 100 = 0 THEN NULL WHEN g % 3 = 0 THEN 'heuristic@v1' ELSE 'lgbm@' || (g % 7)
    END AS model_id,
    md5(g::text) AS features_hash,
    jsonb_build_array(
        jsonb_build_object('label', 'groceries', 'confidence', (g % 9973) / 10000.0, 'source', 'model',
            'reasons', jsonb_build_array('keyword', 'amount')),
        jsonb_build_object('label', 'gifts', 'confidence', (g % 4999) / 10000.0, 'source', 'model',
            'reasons', jsonb_build_array('merchant'))
    ) AS candidates,
    (ARRAY['auto', 'model', 'heuristic'])[1 + g % 3] AS mode,
    timestamp '2025-01-01' + g * interval '6 seconds' AS created_at,
    (timestamp '2025-01-01' + g * interval '6 seconds')::date AS created_date,
    (g % 5)::integer AS candidate_count,
    (g % 1000) / 1000.0::double precision AS top_confidence,
    (g * 1.10)::numeric(12, 2) AS amount,
    g % 2 = 0 AS answered
FROM generate_series(1, {rows}) AS g
"""
DECLARATION = """
from ledgerviews.catalog import Export, Kind, Model
COLUMNS = ("event_id", "txn_id", "model_id", "features_hash", "candidates", "mode", "created_at",
           "created_date", "candidate_count", "top_confidence", "amount", "answered")
MODEL = Model.beside(
    __file__, kind=Kind.MATERIALIZED_VIEW, description="Events.", grain=("event_id",),
    columns=dict.fromkeys(COLUMNS, "."), export=Export(partition="created_date"),
)
"""
OTHERS = {
    "dlt (pyarrow backend)": """
import dlt, os
from dlt.sources.sql_database import sql_table
url = os.environ["BENCH_URL"].replace("postgresql://", "postgresql+psycopg://")
table = sql_table(url, table="bench_events", schema="public", backend="pyarrow")
pipeline = dlt.pipeline("bench", destination=dlt.destinations.filesystem("file://" + os.environ["BENCH_OUT"]))
pipeline.run(table, loader_file_format="parquet")
""",
    "connectorx": """
import connectorx, os, pyarrow.parquet, urllib.parse
url = urllib.parse.urlsplit(os.environ["BENCH_URL"])
given = dict(urllib.parse.parse_qsl(url.query))
host = urllib.parse.quote(given["host"], safe="")
url = f"postgresql://{url.username}@{host}:{given['port']}{url.path}"
table = connectorx.read_sql(url, "SELECT * FROM public.bench_events", return_type="arrow")
pyarrow.parquet.write_table(table, os.environ["BENCH_OUT"] + "/connectorx.parquet", compression="zstd")
""",
}


def main() -> None:
    """Measure and print; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000, help="event-shaped rows")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run, in turn")
    parser.add_argument("--bin-dir", type=Path, help="another PostgreSQL's programs")
    parser.add_argument(
        "--others", nargs="?", const=sys.executable, metavar="PYTHON", help="dlt and connectorx beside it"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bq-export-bench-") as parent:
        folder = Path(parent)
        folder.chmod(0o755)  # PostgreSQL's account works below it
        package = folder / MODELS
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "bench_events.py").write_text(DECLARATION, encoding="utf-8")
        (package / "bench_events.sql").write_text("SELECT 1;\n", encoding="utf-8")
        with Server.start(folder / "server", bin_dir=options.bin_dir, throwaway=True) as server:
            server.create_database("bench")
            met = [measure(server, folder, rows, options) for rows in (SMALL, options.rows)]
    sys.exit(0 if all(met) else 1)


def measure(server: Server, folder: Path, rows: int, options: argparse.Namespace) -> bool:
    """Fill the relation, time both ways in turn, and print; whether the goals are met."""
    url = server.url("bench")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP MATERIALIZED VIEW IF EXISTS public.bench_events")
        connection.execute(EVENTS.format(rows=rows).encode())
        connection.execute("VACUUM ANALYZE public.bench_events")
    environment = {
        **os.environ,
        "LEDGERVIEWS_DATABASE_URL": url,
        "LEDGERVIEWS_MODELS": MODELS,
        "BENCH_URL": url,
        "BENCH_OUT": str(folder),
    }
    copy = "COPY (SELECT * FROM public.bench_events) TO STDOUT (FORMAT binary)"
    psql = [str(server.bin_dir / "psql"), "-X", "-q", "-d", url, "-c", copy, "-o", os.devnull]
    ours = [sys.executable, "-m", "bq_export", "files", "--to", str(folder / "out")]
    root = Path(__file__).parents[1]
    environment["PYTHONPATH"] = f"{folder}:{root}"
    walls: dict[str, list[float]] = {"copy": [], "ours": []}
    cpus: dict[str, list[float]] = {"copy": [], "ours": []}
    peak = 0
    for _ in range(options.rounds):
        for name, command in (("copy", psql), ("ours", ours)):
            before = _server_cpu(server.pid)
            wall, memory, cpu = _timed(command, environment)
            walls[name].append(wall)
            cpus[name].append(cpu + _server_cpu(server.pid) - before)
            peak = max(peak, memory)
    ratio = median(walls["ours"]) / median(walls["copy"])
    size = (folder / "out" / "bench_events.parquet").stat().st_size
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    print(f"PostgreSQL {server.version}, {rows:,} rows, {os.cpu_count()} cores, load {load}")
    for name, shown in (("copy", "COPY binary > /dev/null"), ("ours", "bq-export files")):
        all_runs = ", ".join(f"{wall:.2f}" for wall in walls[name])
        print(
            f"  {shown:<25} {median(walls[name]):8.2f} s of {all_runs}; "
            f"{median(cpus[name]):.2f} s of CPU, client and server"
        )
    print(f"  Parquet                   {size / 1e6:8,.0f} MB")
    print(f"  ratio                     {ratio:8.2f}     (goal at 5M rows: at most {RATIO_GOAL})")
    print(f"  peak memory               {peak:8} MB  (goal: under {MEMORY_GOAL_MB})")
    if options.others and rows > SMALL:
        for name, code in OTHERS.items():
            _other(name, code, options.others, environment)
    return peak < MEMORY_GOAL_MB and (rows <= SMALL or ratio <= RATIO_GOAL)


def _other(name: str, code: str, python: str, environment: dict[str, str]) -> None:
    try:
        wall, memory, _ = _timed([python, "-c", code], {**environment, "PYTHONPATH": ""})
    except subprocess.CalledProcessError as exc:
        lines = exc.stderr.decode(errors="replace").strip().splitlines()
        print(f"  {name:<25} not measured: {lines[-1][:90] if lines else exc.returncode}")
        return
    print(f"  {name:<25} {wall:8.2f} s, {memory} MB")


def _server_cpu(postmaster: int) -> float:
    """Seconds of CPU that the server's processes have used which have ended."""
    time.sleep(0.2)  # the session that was just closed is to be among them
    fields = Path(f"/proc/{postmaster}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _timed(command: list[str], environment: dict[str, str]) -> tuple[float, int, float]:
    """Wall seconds, the peak of resident memory in MB, and seconds of CPU, of one command."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:3], stderr=told)
    return time.perf_counter() - started, usage.ru_maxrss // 1024, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
