"""Several `holdfast run` on one store: one acts, others take over, and nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitor.assembly import opened
from monitor.config import load
from monitor.daemon import tick
from tests.servers.cluster import StandIn
from tests.story.running import Running
from tests.story.test_daemon import settle

DURATION = 6


def leads(daemon: Running) -> bool:
    return daemon.metrics()["holdfast_leader"] == 1


def test_kill_and_a_hung_api_hand_over_and_nothing_is_done_twice(
        tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settle(tmp_path, fine={"log": {"segments": ["vehicle"]}})
    config.write_text(config.read_text() + yaml.safe_dump(
        {"leader": {"lease": "holdfast", "duration": f"{DURATION}s"}}))
    daemons, doors = [], [stand_in.door() for _ in range(3)]
    try:
        for door in doors:
            monkeypatch.setenv("KUBECONFIG", str(door.kubeconfig))
            daemons.append(Running(config))
            daemons[0].until(lambda: leads(daemons[0]))
        first, second, third = daemons
        first.until(lambda: first.ticked("fine") >= 2)
        assert [leads(daemon) for daemon in daemons] == [True, False, False]
        for standby in (second, third):
            assert standby.client.get("/readyz").status_code == 200
            assert "fine" in standby.client.get("/").text
        first.process.kill()
        first.process.wait()
        second.until(lambda: leads(second) or leads(third))
        heir, last = (second, third) if leads(second) else (third, second)
        before = heir.ticked("fine")
        heir.until(lambda: heir.ticked("fine") > before)
        assert not leads(last)
        doors[daemons.index(heir)].open.clear()
        last.until(lambda: leads(last))
        assert heir.process.wait(60) == 1
        assert "lease is lost" in heir.said.read_text()
        before = last.ticked("fine")
        last.until(lambda: last.ticked("fine") > before)
        assert last.stop()[0] == 0
        assert stand_in.get("leases", "holdfast")["spec"]["holderIdentity"] == ""
        assert stand_in.get("leases", "holdfast")["spec"]["leaseTransitions"] == 3
    finally:
        for daemon in daemons:
            daemon.client.close()
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()
    _nothing_twice(config)


def _nothing_twice(config: Path) -> None:
    """The store holds what one daemon alone would have written."""
    with opened(load(config)) as parts:
        lines = [row.line for row in parts.store.verdicts("fine")]
        transitions = parts.store.transitions("fine")
        assert [item.version for item in parts.store.adoptions("fine")] == ["1"]
        (ticked,) = parts.store.ticks().values()
        assert not parts.store.past_troubles("fine")
    alone = config.with_name("alone.yaml")
    alone.write_text(config.read_text() + f"store: sqlite:///{config.with_name('alone.db')}\n")
    with opened(load(alone)) as parts:
        for _ in range(2):
            tick(parts.config.models[0], parts, ticked.at)
        assert lines == [row.line for row in parts.store.verdicts("fine")]
        assert [(item.before, item.after, item.cause) for item in transitions] == [
            (item.before, item.after, item.cause) for item in parts.store.transitions("fine")]
