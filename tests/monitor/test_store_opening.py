"""Opening a store: migrations, several processes at once, deaths, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import threading
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, event

from monitor.config import Limits
from monitor.engine import Postgres
from monitor.errors import ConflictError, HoldfastError
from monitor.schema import VERSION_TABLE, metadata
from monitor.state import ModelState
from monitor.store import Folded, Store
from tests.data import ROOT
from tests.monitor.backends import at, folded, store, url

__all__ = ["store", "url"]


def test_migrations_make_the_declared_tables(url: str) -> None:
    Store.open(url).close()
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_many_processes_may_open_an_empty_database_at_once(url: str) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            try:
                Store.open(url).ready()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


def test_what_migrations_and_pages_need_is_packaged() -> None:
    """An installed holdfast has every file beside its modules."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"]["monitor"]
    packaged = {file for pattern in patterns for file in (ROOT / "monitor").glob(pattern)}
    beside = {file for folder in ("migrations", "templates")
              for file in (ROOT / "monitor" / folder).rglob("*")
              if file.is_file() and "__pycache__" not in file.parts}
    assert beside
    assert packaged >= beside


def test_only_one_of_two_writers_advances_a_model(url: str) -> None:
    won: list[int] = []
    lost: list[ConflictError] = []

    def advance(name: int) -> None:
        with Store.open(url) as store:
            try:
                store.advance("m", 0, ModelState(champion=str(name)), at=at(0), cause="x")
                won.append(name)
            except ConflictError as error:
                lost.append(error)

    threads = [threading.Thread(target=advance, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(url) as store:
        assert store.recorded("m").state.champion == str(won[0])
    assert (len(won), len(lost)) == (1, 3)


def test_a_store_knows_itself_from_others(store: Store, tmp_path: Path) -> None:
    number = store.change()
    itself = store.deployment()
    assert re.fullmatch("[0-9a-f]{8}", itself)
    assert store.deployment() == store.fenced(lambda: 0).deployment() == itself
    assert store.touched(-1)[0] == store.change() == number  # no page reads anything anew
    assert f":{itself}" not in store.touched(-1)[1]
    with Store.open(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert other.deployment() != itself


def test_a_store_of_schema_0011_keeps_its_name(url: str) -> None:
    Store.open(url).close()
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in ("DROP TABLE holdfast_untended", "DROP TABLE holdfast_deployment",
                          "INSERT INTO holdfast_touched (model, number) VALUES (':0a1b2c3d', -1)",
                          "UPDATE holdfast_schema SET version_num = '0011'"):
            connection.exec_driver_sql(statement)
    with Store.open(url) as store:
        assert store.deployment() == "0a1b2c3d"
        assert store.touched(-2)[1] == set()


def test_killed_before_any_statement_a_step_is_done_whole_or_not_at_all(url: str) -> None:
    steps = [folded(0, "stable"), folded(1, "retraining", "m/1", action="retrain")]
    state = ModelState(phase="retraining", episode="m/1")
    Store.open(url).close()
    for statement in range(1, 40):
        killed = _forked_and_killed(url, statement, steps, state)
        with Store.open(url) as store:
            rows = (len(store.verdicts("m")), len(store.episodes("m")),
                    len(store.transitions("m")), len(store.decisions("m")))
            number = store.recorded("m").number
        assert (number, rows) == ((0, (0, 0, 0, 0)) if killed else (1, (2, 1, 2, 1)))
        if not killed:
            break
    assert not killed
    assert statement > 8


def _forked_and_killed(url: str, statement: int, steps: list[Folded], state: ModelState) -> bool:
    """Whether a child that dies before its so many-th statement died before it was through."""
    child = os.fork()
    if not child:
        store, done = Store.open(url), 0

        def die(*_: object) -> None:
            nonlocal done
            done += 1
            if done == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(store._engine, "before_cursor_execute", die)
        store.advance("m", 0, state, verdicts=steps, at=at(2), cause="x")
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_an_unreachable_store_says_so_without_its_password() -> None:
    with pytest.raises(HoldfastError, match="store postgresql") as failed:
        Store.open("postgresql+psycopg://me:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(failed.value)


def test_a_store_whose_answers_all_are_waited_for_says_so(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs keeps every connection: the daemon goes on and says so, as it does of
    one that is away."""
    monkeypatch.setattr(store._engine.pool, "_timeout", 0.05)
    with ExitStack() as held:
        for _ in range(15):  # five, and ten more
            held.enter_context(store.reading())
        with pytest.raises(HoldfastError, match="no connection came free"):
            store.ticked("quiet", at(0), 0.1, True)
        assert "no connection came free" in store.refusal
    store.ticked("quiet", at(0), 0.1, True)
    assert store.refusal == ""


def test_postgresql_that_vanished_is_given_up_after_a_minute(postgres: str) -> None:
    """By the store and by a log: nothing on this machine can make a server vanish."""
    with Store.open(postgres) as opened, opened.reading() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = [driver.info.get_parameters()]
    engine = Postgres(postgres, Limits())
    told.append(engine._connected().info.get_parameters())
    engine.close()
    for asked in told:
        assert asked["tcp_user_timeout"] == "60000"
        assert (asked["keepalives_idle"], asked["keepalives_count"]) == ("30", "3")


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense", "sqlite://", "sqlite:////no/where/s.db"])
def test_a_store_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(HoldfastError, match=r"right would be|make it"):
        Store.open(url)


def test_a_store_of_a_newer_holdfast_is_refused(store: Store, url: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(HoldfastError, match="newer"):
        Store.open(url)
    with pytest.raises(HoldfastError, match="9999"):
        store.ready()
