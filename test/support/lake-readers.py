"""Reads Delta tables with delta-rs (DataFusion), PyArrow, Polars and DuckDB, and says what each of them saw.

Takes a list of requests as JSON on stdin and answers with a list on stdout; lake-readers.ts has the types of both. What
an engine throws is its answer: {"error": text}. Longs, decimals and times (µs since 1970) are text, so that no digit is
lost; dates are YYYY-MM-DD.
"""

import datetime
import decimal
import functools
import json
import math
import os
import sys

import deltalake
import duckdb
import duckdb_extension_delta
import duckdb_extension_httpfs
import polars
import pyarrow
import pyarrow.compute

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DUCKDB_TYPES = {
    "byte": "TINYINT", "short": "SMALLINT", "integer": "INTEGER", "long": "BIGINT", "float": "FLOAT",
    "double": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN", "date": "DATE",
}  # fmt: skip


def plain(value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        time = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return str((time - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value)} {value!r}")


def answer_of(columns, rows, files_read=None):
    read = {} if files_read is None else {"filesRead": files_read}
    return {"columns": columns, "rows": [plain(row) for row in rows], **read}


def quoted(text, mark):
    return mark + text.replace(mark, mark + mark) + mark


class Where:
    """`column op value`, where the value is text in the form of the answers."""

    def __init__(self, where, table):
        self.column = where["column"]
        self.op = where["op"]
        self.text = where["value"]
        self.type = next(field.type for field in table.schema().fields if field.name == self.column).type
        self.arrow_type = pyarrow.schema(table.schema()).field(self.column).type

    def scalar(self):
        if self.type == "timestamp":
            return pyarrow.scalar(int(self.text), pyarrow.int64()).cast(self.arrow_type)
        if self.type == "string":
            return pyarrow.scalar(self.text, self.arrow_type)
        if self.type == "date":
            return pyarrow.scalar(datetime.date.fromisoformat(self.text), self.arrow_type)
        if self.type.startswith("decimal"):
            return pyarrow.scalar(decimal.Decimal(self.text), self.arrow_type)
        if self.type == "boolean":
            return pyarrow.scalar(self.text == "true", self.arrow_type)
        number = float(self.text) if self.type in ("double", "float") else int(self.text)
        return pyarrow.scalar(number, self.arrow_type)

    def expression(self, field, literal):
        if self.text is None:
            return field.is_null()
        return field == literal() if self.op == "=" else field >= literal()

    def sql(self, literal):
        name = quoted(self.column, '"')
        return f"{name} is null" if self.text is None else f"{name} {self.op} {literal(quoted(self.text, chr(39)))}"

    def duckdb_literal(self, text):
        if self.type == "timestamp":
            time = EPOCH + datetime.timedelta(microseconds=int(self.text))
            return f"TIMESTAMPTZ '{time.isoformat()}'"
        return f"CAST({text} AS {DUCKDB_TYPES.get(self.type, self.type)})"

    def datafusion_literal(self, text):
        if self.type == "timestamp":
            return f"arrow_cast({self.text}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
        kinds = {"string": "Utf8", "long": "Int64", "integer": "Int32", "short": "Int16", "byte": "Int8",
                 "double": "Float64", "float": "Float32", "boolean": "Boolean", "date": "Date32"}  # fmt: skip
        return f"arrow_cast({text}, '{kinds.get(self.type) or self.type.replace('decimal', 'Decimal128')}')"


def open_table(request):
    """At its newest version, or that of the request."""
    at = request.get("version")
    table = deltalake.DeltaTable(request["uri"], version=at, storage_options=request.get("storageOptions"))
    if "timestampMs" in request:
        table.load_as_version(EPOCH + datetime.timedelta(milliseconds=request["timestampMs"]))
    return table


def query_of(request, source, where):
    """SQL over the table `t`, which holds what the predicate leaves."""
    rows = f"select * from {source}" + (f" where {where}" if where else "")
    return f"with t as ({rows}) {request.get('sql', 'select * from t')}"


def ask_deltalake(request, table, where):
    query = query_of(request, "delta_table", where and where.sql(where.datafusion_literal))
    result = pyarrow.table(deltalake.QueryBuilder().register("delta_table", table).execute(query).read_all())
    return answer_of({field.name: str(field.type) for field in result.schema}, result.to_pylist())


def ask_pyarrow(request, table, where):
    dataset = table.to_pyarrow_dataset()
    chosen = where and where.expression(pyarrow.compute.field(where.column), where.scalar)
    files_read = len(list(dataset.get_fragments(filter=chosen)))
    result = dataset.to_table(filter=chosen)
    return answer_of({field.name: str(field.type) for field in result.schema}, result.to_pylist(), files_read)


def polars_literal(scalar):
    """A single value: by a column of one row Polars leaves out no file."""
    values = polars.from_arrow(pyarrow.array([scalar]))
    return polars.lit(values.item(), dtype=values.dtype)


def ask_polars(request, table, where):
    frame = polars.scan_delta(
        request["uri"], version=table.version(), storage_options=request.get("storageOptions")
    )
    if where:
        frame = frame.filter(where.expression(polars.col(where.column), lambda: polars_literal(where.scalar())))
    if "sql" in request:
        frame = polars.SQLContext(t=frame).execute(request["sql"])
    result = frame.collect()
    return answer_of({name: str(kind) for name, kind in result.schema.items()}, result.to_dicts())


@functools.cache
def connect_duckdb(options):
    storage_options = dict(options)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute("set timezone = 'UTC'")
    for extension in (duckdb_extension_delta, duckdb_extension_httpfs):
        folder = os.path.join(os.path.dirname(extension.__file__), "extensions", f"v{duckdb.__version__}")
        name = extension.__name__.rsplit("_", 1)[1]
        connection.execute(f"load {quoted(os.path.join(folder, f'{name}.duckdb_extension'), chr(39))}")
    if storage_options:
        scheme, endpoint = storage_options["AWS_ENDPOINT_URL"].split("://")
        text = lambda name: quoted(storage_options[name], "'")  # noqa: E731
        connection.execute(
            f"create secret (type s3, key_id {text('AWS_ACCESS_KEY_ID')}, secret {text('AWS_SECRET_ACCESS_KEY')}, "
            f"region {text('AWS_REGION')}, endpoint '{endpoint}', url_style 'path', use_ssl {scheme == 'https'})"
        )
    return connection


def files_scanned(plan):
    """`Scanning Files: "3/6"` somewhere in the plan; a scan without filters that prune shows none."""
    scanned = plan.get("extra_info", {}).get("Scanning Files")
    if scanned is not None:
        return int(scanned.split("/")[0])
    below = (files_scanned(child) for child in plan.get("children", []))
    return next((count for count in below if count is not None), None)


def ask_duckdb(request, table, where):
    connection = connect_duckdb(tuple(request.get("storageOptions", {}).items()))
    scan = f"delta_scan({quoted(request['uri'], chr(39))}, version => {table.version()})"
    query = query_of(request, scan, where and where.sql(where.duckdb_literal))
    result = connection.execute(query)
    columns = {name: str(kind) for name, kind, *_ in result.description}
    rows = [dict(zip(columns, row)) for row in result.fetchall()]
    if not where:
        return answer_of(columns, rows)
    plan = json.loads(connection.execute(f"explain (analyze, format json) {query}").fetchall()[0][1])
    return answer_of(columns, rows, files_scanned(plan))


ENGINES = {"deltalake": ask_deltalake, "pyarrow": ask_pyarrow, "polars": ask_polars, "duckdb": ask_duckdb}


def log_of(request, table):
    """What the log says by delta-rs's reading, without the rows."""
    metadata, protocol = table.metadata(), table.protocol()
    return {
        "version": table.version(),
        "schema": json.loads(table.schema().to_json())["fields"],
        "partitionColumns": metadata.partition_columns,
        "configuration": metadata.configuration,
        "protocol": [protocol.min_reader_version, protocol.min_writer_version],
        "transactions": {app_id: plain(table.transaction_version(app_id)) for app_id in request.get("appIds", [])},
        "files": table.file_uris(),
        "history": table.history(),
    }


def attempt(ask, *arguments):
    try:
        return ask(*arguments)
    except Exception as error:  # delta-rs has panics, too, which are no Exception
        return {"error": f"{type(error).__name__}: {error}"}


def answer(request):
    try:
        table = open_table(request)
        where = Where(request["where"], table) if "where" in request else None
    except Exception as error:
        return {"log": {"error": f"{type(error).__name__}: {error}"}}
    # PyArrow has no SQL.
    engines = request.get("engines", [name for name in ENGINES if name != "pyarrow" or "sql" not in request])
    return {
        "log": attempt(log_of, request, table),
        **{engine: attempt(ENGINES[engine], request, table, where) for engine in engines},
    }


json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)
