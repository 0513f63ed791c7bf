"""Ways in which other people's tools write a fleet's recordings, and what goes wrong on the way."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.fleets import ROWS


def lines(folder: Path, frame: pd.DataFrame) -> Path:
    rows = (
        {
            "device": row.device,
            "at": {"time": str(row.time)},
            "m": {"pressure": row.pressure, "flow": row.flow},
        }
        | {"state": row.state}
        for row in frame.itertuples()
    )
    (folder / "fleet.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder / "fleet.jsonl"


def zipped(folder: Path, frame: pd.DataFrame) -> Path:
    with zipfile.ZipFile(folder / "fleet.zip", "w") as archive:
        for device, rows in frame.groupby("device"):
            archive.writestr(f"{device}.csv", rows.to_csv(index=False))
    return folder / "fleet.zip"


def structured(folder: Path, frame: pd.DataFrame) -> Path:
    inner = pa.StructArray.from_arrays([pa.array(frame.pressure), pa.array(frame.flow)], ["pressure", "flow"])
    table = pa.table({"device": frame.device, "time": frame.time, "m": inner, "state": frame.state})
    pq.write_table(table, folder / "fleet.parquet")
    return folder / "fleet.parquet"


def document(indent: int | None, outer: str = "{}"):
    def write(folder: Path, frame: pd.DataFrame) -> Path:
        rows = frame.assign(time=frame.time.astype(str)).to_json(orient="records", indent=indent)
        (folder / "fleet.json").write_text(outer.format(rows))
        return folder / "fleet.json"

    return write


def packed(codec: str, ending: str):
    def write(folder: Path, frame: pd.DataFrame) -> Path:
        content = pa.compress(frame.to_csv(index=False).encode(), codec=codec, asbytes=True)
        (folder / f"fleet.csv{ending}").write_bytes(content)
        return folder / f"fleet.csv{ending}"

    return write


def annotated(folder: Path, frame: pd.DataFrame) -> Path:
    """As InfluxDB writes a query's tables, one for each device and field."""
    head = "#group,false,false,true,true,false,false,true,true\r\n#datatype,string,long,dateTime:RFC3339"
    head += ",dateTime:RFC3339,dateTime:RFC3339,double,string,string\r\n#default,_result,,,,,,,\r\n"
    head += ",result,table,_start,_stop,_time,_value,_field,device\r\n"
    text, span = "", "2026-01-01T00:00:00Z,2026-02-01T00:00:00Z"
    for field in ("pressure", "flow"):
        text += head
        for number, one in enumerate(frame.itertuples()):
            moment = f"{one.time.isoformat()}Z"
            text += f",,{number // ROWS},{span},{moment},{getattr(one, field)},{field},{one.device}\r\n"
        text += "\r\n"
    (folder / "query.csv").write_bytes(text.encode())
    return folder / "query.csv"


def halved(folder: Path, frame: pd.DataFrame) -> Path:
    table = pa.Table.from_pandas(frame.drop(columns="time"))
    times = pa.array(frame.time).cast(pa.timestamp("s"))
    table = table.append_column("day", times.cast(pa.date32())).append_column(
        "clock", times.cast(pa.time32("s"))
    )
    pq.write_table(table, folder / "fleet.parquet")
    return folder / "fleet.parquet"


def logged(folder: Path, frame: pd.DataFrame, log: str, entry: str) -> Path:
    frame.to_parquet(folder / "fleet.parquet")
    (folder / log).mkdir()
    (folder / log / entry).write_text("{}")
    return folder


def cut(folder: Path, content: bytes) -> Path:
    (folder / "fleet.csv.gz").write_bytes(content[: len(content) // 2])
    return folder / "fleet.csv.gz"


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name
