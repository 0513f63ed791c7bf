# dump.sh FOLDER KEEP: MLflow's database as FOLDER/mlflow-TIME.dump for pg_restore, and all but the newest KEEP go.
set -eu
cd "$1"
# libpq knows nothing of SQLAlchemy's name of its driver.
pg_dump --format=custom --no-owner --file=.mlflow.unfinished --dbname="postgresql${MLFLOW_BACKEND_STORE_URI#postgresql+psycopg}"
pg_restore --list .mlflow.unfinished >/dev/null
mv .mlflow.unfinished "mlflow-$(date -u +%Y%m%dT%H%M%SZ).dump"
ls mlflow-*.dump | sort -r | tail -n "+$(($2 + 1))" | xargs -r rm
