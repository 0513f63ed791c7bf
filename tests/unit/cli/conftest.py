import numpy as np
import pandas as pd
import pytest

PUMPS, ROWS = 12, 400


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    """Twelve pumps at 20 Hz in three states; the folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    random = np.random.default_rng(0)
    row = np.tile(np.arange(ROWS), PUMPS)
    return pd.DataFrame(
        {
            "pumpId": np.repeat([f"p{one:02d}" for one in range(PUMPS)], ROWS),
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(row * 0.05, unit="s"),
            "pressure": random.normal(size=PUMPS * ROWS),
            "flow": random.normal(size=PUMPS * ROWS),
            "firmware": 3,
            "state": np.array(["idle", "run"])[row // 25 % 2],
        }
    )
