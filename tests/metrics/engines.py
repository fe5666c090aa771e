"""The same rows in every engine that runs on this machine, each as a warehouse that can be measured."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import make_url

from kpid.warehouse import Warehouse, Watermark
from kpid.warehouse.mapped import MappedEntity, MappedWarehouse, source_of
from tests.metrics.random_rows import NOW

Tables = Mapping[str, pa.Table]


def fill(warehouse: Warehouse, tables: Tables) -> Warehouse:
    """Store rows as a sync would; the sources are called as those of mapped tables are."""
    with warehouse.batch() as batch:
        for entity, rows in tables.items():
            batch.upsert(entity, rows)
            batch.save_watermark(Watermark(source_of(entity), entity, None, NOW, NOW))
    return warehouse


def why_no_spark() -> str:
    """What is missing for Spark; the empty text if nothing is."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed (pip install 'kpid[spark]')"
    if shutil.which("java") is None:
        return "no Java on this machine (Debian: apt-get install openjdk-17-jre-headless)"
    return ""


def why_no_clickhouse() -> str:
    """What is missing for ClickHouse; the empty text if nothing is."""
    return "" if find_spec("chdb") is not None else "chdb is not installed (pip install chdb)"


def mapped_spark(tables: Tables) -> MappedWarehouse:
    """Spark in this process, or the server of ``$KPID_SPARK`` (``sc://127.0.0.1:15002``); the rows behind views."""
    from kpid.warehouse.spark import SparkEngine

    quiet_spark()
    quick = "spark.sql.shuffle.partitions=1&spark.sql.codegen.wholeStage=false&spark.sql.adaptive.enabled=false"
    engine = SparkEngine(make_url(f"{os.environ.get('KPID_SPARK', 'spark://local')}?{quick}"))
    for entity, rows in tables.items():
        engine._session.createDataFrame(rows).createOrReplaceTempView(f"src_{entity}")
    engine._session.sql(f"SELECT TIMESTAMP '{NOW:%Y-%m-%d %H:%M:%S}+00:00' AS at").createOrReplaceTempView("loads")
    return MappedWarehouse(engine, _mappings("src_{}", tables))


def quiet_spark() -> None:
    """One of Spark's own dependencies warns of another when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyspark.sql.types  # noqa: F401


def mapped_clickhouse(tables: Tables, folder: Path, *, quick: bool = False) -> MappedWarehouse:
    """ClickHouse in this process, the rows in tables of names of its own."""
    from kpid.warehouse.clickhouse import ClickHouseEngine

    engine = ClickHouseEngine(make_url(f"chdb:///{folder / 'ch'}{'?approximate=yes' if quick else ''}"))
    run = engine._run._session.query
    for entity, rows in tables.items():
        file = folder / f"{entity}.parquet"
        pq.write_table(rows, file)
        made = f"CREATE TABLE IF NOT EXISTS src_{entity} ENGINE = MergeTree ORDER BY tuple()"
        run(f"{made} AS SELECT * FROM file('{file}', 'Parquet')")
    at = f"toDateTime64('{NOW:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
    run(f"CREATE TABLE IF NOT EXISTS loads ENGINE = Memory AS SELECT {at} AS at")
    return MappedWarehouse(engine, _mappings("src_{}", tables))


def _mappings(name: str, tables: Tables) -> list[MappedEntity]:
    return [MappedEntity(entity, (name.format(entity),), {}, True, "SELECT max(at) AS at FROM loads") for entity in tables]
