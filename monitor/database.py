"""Database: opens, migrates, reads and writes the store's SQL, on SQLite and PostgreSQL.

One write is one transaction and ends by moving the change number. On SQLite a write
begins with ``BEGIN IMMEDIATE``, so that two writers queue instead of failing half-way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Insert,
    RowMapping,
    Select,
    Table,
    create_engine,
    event,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as NoneFree

from monitor.deployment import ALIVE
from monitor.errors import ConflictError, HoldfastError
from monitor.schema import VERSION_TABLE, changes, leaders, touched
from monitor.secrets import redact
from monitor.together import MANY, Answers

BUSY_SECONDS = 30
"""How long a statement waits for another writer before it gives up."""

_WRITABLE = "a volume that has room and may be written to"
RIGHT = {"is full": _WRITABLE, "readonly": _WRITABLE, "unable to open database file": _WRITABLE,
         "I/O error": _WRITABLE}
"""What SQLite says of a volume that is full or read-only -> what would be right."""

NO_ROOM = "no connection came free: others wait for its answers; right would be one that answers"
"""What is said once every connection of this process waits for the database."""
_MIGRATION_LOCK = 0x686F6C64  # any number; the same in every process


def utcnow() -> datetime:
    """The wall clock's time, aware UTC."""
    return datetime.now(UTC)


class Write:
    """One transaction that changes rows; ``changed`` says whether it did."""

    def __init__(self, connection: Connection, token: int | None = None) -> None:
        self.connection = connection
        self.token = token
        """The fencing token of the daemon that writes; None where nobody asks for one."""
        self.changed = False
        self.models: set[str] = set()
        """Whom the rows are about."""

    def about(self, table: Table, which: ColumnElement[bool]) -> None:
        """The rows that are written are about the models of these ones."""
        self.models.update(self.connection.execute(
            select(table.c.model).where(which).distinct()).scalars())

    def run(self, statement: Executable) -> int:
        """Rows that the statement changed."""
        kept = {"preserve_rowcount": True}  # which an INSERT does not tell otherwise
        rows: int = self.connection.execute(statement, execution_options=kept).rowcount
        self.changed = self.changed or rows > 0
        return rows

    def many(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """The statement once for each of these rows."""
        if rows:
            self.connection.execute(statement, rows)
            self.changed = True

    def fresh(self, table: Table, **values: Any) -> int | None:
        """The id of the inserted row; None when a unique key of the table stands in the way."""
        return self._returned(self.insert(table).on_conflict_do_nothing()
                              .values(**values).returning(table.c.id))

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT of the engine at hand, which knows ON CONFLICT."""
        if self.connection.dialect.name == "sqlite":
            return sqlite.insert(table)
        return postgresql.insert(table)

    def close(self) -> None:
        """Move the change number, and write down whom it is about; '' is anything else."""
        if not self.changed:
            return
        number = self.connection.execute(update(changes).values(number=changes.c.number + 1)
                                         .returning(changes.c.number)).scalar_one()
        made = self.insert(touched).values([{"model": model, "number": number}
                                            for model in sorted(self.models or {""})])
        self.connection.execute(made.on_conflict_do_update(
            index_elements=[touched.c.model], set_={"number": made.excluded.number}))

    def _returned(self, statement: Insert) -> int | None:
        found: int | None = self.connection.execute(statement).scalar_one_or_none()
        self.changed = self.changed or found is not None
        return found


class Database:
    """Where rows are kept; a context manager."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utcnow,
                 token: Callable[[], int] | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._token = token
        self._refusals: list[str] = []
        self._answers: Answers | None = None

    @property
    def refusal(self) -> str:
        """Why the newest write of this process was not kept; '' where it was, or none was tried."""
        return next(iter(self._refusals), "")

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = utcnow) -> Self:
        """The store at ``url``, migrated; safe when several processes open it at once.

        ``clock`` tells when rows that have no event time are written.
        """
        database = cls(_engine(url), clock)
        try:
            with database._failing_in_words():
                _migrate(database._engine)
        except HoldfastError:
            database.close()
            raise
        return database

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def fenced(self, token: Callable[[], int]) -> Self:
        """The same database for one who may write only while ``token()`` is the newest claimed:
        ``ConflictError`` otherwise, and nothing is written."""
        made = type(self)(self._engine, self._clock, token)
        made._refusals = self._refusals
        return made

    def ahead(self) -> Self:
        """The same database for work that is done ``together``."""
        made = type(self)(self._engine, self._clock, self._token)
        made._answers = Answers()
        return made

    def claimed(self) -> int:
        """The newest fencing token that a leader has claimed."""
        with self._read() as connection:
            token: int = connection.execute(select(leaders.c.token)).scalar_one()
            return token

    def claim(self, token: int, name: str) -> bool:
        """Whether ``token`` is the newest from now on, that of the leader ``name``."""
        same = (leaders.c.token == token) & (leaders.c.name == name)
        with self._write() as write:
            return write.run(update(leaders).where((leaders.c.token < token) | same)
                             .values(token=token, name=name)) == 1

    def change(self) -> int:
        """A number that moves with every write, of any process; one row is read."""
        with self._read() as connection:
            number: int = connection.execute(select(changes.c.number)).scalar_one()
            return number

    def touched(self, since: int) -> tuple[int, set[str]]:
        """The change number, and the models that were written about after ``since``.

        '' among them is a write about no model in particular.
        """
        with self._read() as connection:
            number: int = connection.execute(select(changes.c.number)).scalar_one()
            if number == since:
                return number, set()
            later = select(touched.c.model).where(touched.c.number > since)
            return number, set(connection.execute(later).scalars())

    def ready(self) -> None:
        """Raises ``HoldfastError`` unless the database answers and is migrated."""
        with self._read() as connection:
            found = _revision(connection)
        if found != _head():
            raise HoldfastError(f"the store is at schema {found}, this holdfast needs {_head()}; "
                                "restart holdfast so that it migrates the store")

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that only reads."""
        return self._read()

    def _rows(self, query: Select[Any], newest: int | None = None) -> Sequence[RowMapping]:
        """The rows of a query, at most so many; what an ``answerable`` reading asks by, once."""
        query = query.limit(MANY if newest is None else newest)
        if self._answers is not None:
            return self._answers.rows(query)
        with self._read() as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._failing_in_words(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, *models: str) -> Iterator[Write]:
        """One transaction; ``models`` are whom it is about, as far as that is known before."""
        with self._failing_in_words(self._refusals), _writer(self._engine) as connection:
            write = Write(connection, self._let(connection))
            write.models.update(models)
            yield write
            write.close()
        self._refusals.clear()

    def _let(self, connection: Connection) -> int | None:
        """The token of this write; others' claims wait until it is done."""
        if self._token is None:
            return None
        token = self._token()
        newest = connection.execute(
            select(leaders.c.token).with_for_update(read=True)).scalar_one()
        if newest != token:
            raise ConflictError(f"this daemon wrote as leader {token}, and {newest} leads; nothing "
                                "was written")
        return token

    @contextmanager
    def _failing_in_words(self, refusals: list[str] | None = None) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, NoneFree) as error:
            where = self._engine.url.render_as_string(hide_password=True)
            what = ((str(error.orig).strip() or "no answer").splitlines()[0]
                    if isinstance(error, DBAPIError) else NO_ROOM)
            right = next((f"; right would be {words}" for sign, words in RIGHT.items()
                          if sign in what), "")
            told = redact(f"store {where}: {what}{right}")
            if refusals is not None:
                refusals[:] = [told]
            raise HoldfastError(told) from error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername.startswith("sqlite"):
            return _sqlite(parsed.database, parsed)
        if parsed.drivername != "postgresql+psycopg":
            raise HoldfastError(f"store: {parsed.drivername}:// is not supported; right would be "
                                "sqlite:///FILE or postgresql+psycopg://HOST/DATABASE")
        return create_engine(parsed, pool_pre_ping=True, pool_size=5, connect_args={
            **ALIVE, "connect_timeout": 10,
            "options": f"-c lock_timeout={BUSY_SECONDS}s -c statement_timeout={4 * BUSY_SECONDS}s"
                       " -c idle_in_transaction_session_timeout=300s",
        })
    except (ArgumentError, NoSuchModuleError) as error:
        raise HoldfastError(f"store: {redact(url)!r} is not a database URL; right would be "
                            "sqlite:///FILE or postgresql+psycopg://HOST/DATABASE") from error


def _sqlite(file: str | None, url: Any) -> Engine:
    if not file or file == ":memory:":
        raise HoldfastError("store: a database in memory forgets on restart and cannot be shared; "
                            "right would be sqlite:///FILE")
    if not Path(file).absolute().parent.is_dir():
        raise HoldfastError(f"store: there is no folder {Path(file).absolute().parent}; make it")
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}").close()
        # it is a write, even where nothing changes: of a new file only
        new = connection.execute("PRAGMA page_count").fetchone()[0] == 0
        for pragma in (*(["auto_vacuum=INCREMENTAL"] if new else []), "journal_mode=WAL",
                       "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("holdfast_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _writer(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(holdfast_write=True) as connection, connection.begin():
        yield connection


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _head() -> str | None:
    return ScriptDirectory.from_config(_alembic()).get_current_head()


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if _revision(connection) == _head():
            return
    with _writer(engine) as connection:
        if engine.dialect.name == "postgresql":  # SQLite holds its one write lock already
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        known = {script.revision for script in
                 ScriptDirectory.from_config(_alembic()).walk_revisions()}
        found = _revision(connection)
        if found is not None and found not in known:
            raise HoldfastError(f"the store is at schema {found}, which this holdfast does not "
                                "know: it was written by a newer one; install that one")
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.execute(select(changes.c.number)).first() is None:
            connection.execute(changes.insert().values(id=1, number=0))
