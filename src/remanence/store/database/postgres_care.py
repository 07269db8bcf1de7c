"""Looking after a store in PostgreSQL: vacuuming what was deleted, checking, counting bytes."""

from __future__ import annotations

from collections.abc import Sequence

from remanence.errors import RemanenceError
from remanence.store.database.base import Space
from remanence.store.database.postgres_connection import PostgresConnection
from remanence.store.record import Removal


def purge(connection: PostgresConnection, spaces: Sequence[Space]) -> tuple[dict[str, Removal], str]:
    """Let the server take deleted rows out of tables and indexes, and say what lies beyond the store's reach."""
    places: dict[str, Removal] = dict.fromkeys(
        ("text", "full-text index", "vectors", "history", "links", "dense index"), "removed"
    )
    tables = ["records", "links", "scopes", "queue", *(f"vectors_{space.number}" for space in spaces)]
    vacuumed = 0
    for table in tables:
        try:
            # One that is being vacuumed or indexed already is left to that
            connection.run(f"VACUUM (SKIP_LOCKED) {table}")
            vacuumed += 1
        except RemanenceError:
            continue
    # A server overwrites free space when it needs it, keeps the log as long as its settings say, and copies both
    places |= dict.fromkeys(("dead rows", "log", "replicas", "backups"), "may hold it")
    return (
        places,
        f"the rows are gone from every table, and VACUUM ran on {vacuumed} of {len(tables)}; what free space on the "
        "server's disk, its log, replicas and backups still hold is out of the store's reach",
    )


def check(connection: PostgresConnection, spaces: Sequence[Space], repair: bool) -> list[str]:
    """What is wrong with a store, one sentence each."""
    wrong = []
    for name, sort in connection.run(
        "SELECT c.relname, a.amname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam "
        "WHERE c.relnamespace = 'remanence'::regnamespace AND NOT i.indisvalid"
    ):
        wrong.append(f"the index {name} was left half made" + (": mended" if repair else ": run doctor to mend it"))
        if repair:
            connection.run(f'DROP INDEX "{name}"' if sort == "hnsw" else f'REINDEX INDEX "{name}"')
    if not connection.run("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('remanence.records_by_words')"):
        wrong.append("the full-text index is missing" + (": rebuilt" if repair else ": run doctor to rebuild it"))
        if repair:
            connection.run("CREATE INDEX records_by_words ON records USING gin (words)")
    with connection.transaction():
        for space in spaces:
            missing = (
                f"FROM records r LEFT JOIN vectors_{space.number} v ON v.row_id = r.row_id LEFT JOIN queue q "
                "ON q.space = ? AND q.row_id = r.row_id WHERE v.row_id IS NULL AND q.row_id IS NULL"
            )
            count = connection.run(f"SELECT count(*) {missing}", [space.number])[0][0]
            if count:
                wrong.append(
                    f"{count} versions have no vector and are not queued for one"
                    + (": queued" if repair else ": run doctor")
                )
                if repair:
                    connection.run(
                        f"INSERT INTO queue (space, row_id) SELECT ?::integer, r.row_id {missing}", [space.number] * 2
                    )
    return wrong


def sizes(connection: PostgresConnection) -> dict[str, int]:
    """Bytes on the server's disk, indexes included, by part; the full-text index on its own."""
    found = dict(
        connection.run(
            "SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c "
            "WHERE c.relnamespace = 'remanence'::regnamespace AND c.relkind = 'r'"
        )
    )
    words = connection.run("SELECT coalesce(pg_relation_size(to_regclass('remanence.records_by_words')), 0)")[0][0]
    vectors = sum(size for name, size in found.items() if name.startswith("vectors_"))
    return {
        "records": int(found.get("records", 0) - words),
        "full-text index": int(words),
        "vectors": int(vectors),
        "links": int(found.get("links", 0)),
        "total": int(sum(found.values())),
    }
