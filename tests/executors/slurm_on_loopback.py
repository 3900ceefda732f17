"""Slurm with two nodes on this machine's loopback, begun and ended by process id; nothing of it outlives the block.

``python -m tests.executors.slurm_on_loopback COMMAND …`` runs a command beside it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
DEAD_SECONDS = 5  # after which a node that does not answer is down; Slurm's own default is 300

CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout={dead}
KillWait=10
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
{accounting}
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.%n.pid
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool.%n
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.%n.log
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=15
PartitionName=urgent Nodes={names} MaxTime=60 State=UP PriorityTier=9 PreemptMode=OFF
"""
DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser={user}
LogFile={home}/slurmdbd.log
PidFile={home}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={maria}
StorageUser=slurm
StoragePass=loopback
StorageLoc=slurm_acct_db
"""
GRANT = """\
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'loopback';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
FLUSH PRIVILEGES;
"""


@dataclass
class Cluster:
    """A running one.

    Attributes:
        home: Its folder.
        environment: What its commands need.
        daemons: Name → process; a node has its own name.
    """

    home: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground."""
        log = (self.home / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def start_node(self, name: str) -> None:
        """Start a node."""
        self.start(name, "slurmd", "-D", "-N", name, "-f", str(self.home / "slurm.conf"))

    def ask(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it says, or "" if it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    def wait_for(self, wanted: str, *command: str, seconds: float = 30.0) -> None:
        """Wait until a command says something.

        Raises:
            TimeoutError: If it does not in time; with the last lines of each log.
        """
        end = time.monotonic() + seconds
        while wanted not in self.ask(*command):
            if time.monotonic() > end:
                logs = "".join(f"== {path.name}\n{_tail(path)}" for path in sorted(self.home.glob("*.[lo][ou][gt]")))
                raise TimeoutError(f"{' '.join(command)} did not say {wanted!r} within {seconds:g} s\n{logs}")
            time.sleep(0.2)

    def ready(self) -> None:
        """Wait until both nodes take jobs."""
        for name in NODES:
            self.wait_for("idle", "sinfo", "--noheader", "--nodes", name, "--format", "%T")

    def end(self) -> None:
        """End every daemon, the last first, and every process of a job that is left."""
        self.ask("scancel", "--user", getpass.getuser())
        end = time.monotonic() + 20
        while self.ask("squeue", "--noheader") and time.monotonic() < end:
            time.sleep(0.2)
        for process in reversed(list(self.daemons.values())):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in _steps(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _steps(home: Path) -> list[int]:
    """Return the processes that were started under this cluster's configuration and still run."""
    mark = f"SLURM_CONF={home}/slurm.conf".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes() and int(path.parent.name) not in (os.getpid(), os.getppid()):
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def slurm(accounting: bool = False) -> Iterator[Cluster]:
    """Run Slurm with two nodes of one processor each.

    Args:
        accounting: With slurmdbd and a database, so that sacct answers.
    """
    home = Path(tempfile.mkdtemp(prefix="slurm-"))
    ports = _free_ports(5)
    words = {
        "home": str(home), "host": socket.gethostname().split(".")[0], "user": getpass.getuser(),
        "controller": ports[0], "dbd": ports[3], "maria": ports[4], "names": ",".join(NODES), "dead": DEAD_SECONDS,
        "cluster": "loopback",
    }  # fmt: skip
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={words['host']} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
        for name, port in zip(NODES, ports[1:3], strict=True)
    )
    lines = "AccountingStorageType=accounting_storage/none"
    if accounting:
        lines = (
            "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
            f"AccountingStoragePort={ports[3]}\nAccountingStoragePass={home}/munge.sock"
        )
    _write(home / "slurm.conf", CONF.format(**words, nodes=nodes, accounting=lines))
    _write(home / "slurmdbd.conf", DATABASE.format(**words))
    (home / "munge.key").write_bytes(os.urandom(128))
    (home / "munge.key").chmod(0o400)
    cluster = Cluster(home, {**os.environ, "SLURM_CONF": str(home / "slurm.conf"), "PATH": PATH})
    try:
        cluster.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={home}/munge.key", f"--socket={home}/munge.sock",
            f"--pid-file={home}/munged.pid", f"--seed-file={home}/munged.seed", f"--log-file={home}/munged.log",
        )  # fmt: skip
        _appears(home / "munge.sock")
        if accounting:
            _account(cluster, ports[4])
        cluster.start("slurmctld", "slurmctld", "-D", "-f", str(home / "slurm.conf"))
        for name in NODES:
            cluster.start_node(name)
        cluster.ready()
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(home, ignore_errors=True)


def _account(cluster: Cluster, port: int) -> None:
    """Start a database and slurmdbd, and wait until sacct can be asked."""
    home = cluster.home
    data, user = home / "database", f"--user={getpass.getuser()}"
    made = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        user,
        "--auth-root-authentication-method=normal",
    ]
    subprocess.run(made, check=True, env=cluster.environment, stdout=subprocess.DEVNULL)
    _write(home / "grant.sql", GRANT)
    cluster.start(
        "mariadbd", "mariadbd", "--no-defaults", f"--datadir={data}", user, "--bind-address=127.0.0.1", f"--port={port}",
        f"--socket={home}/database.sock", f"--pid-file={home}/database.pid", f"--init-file={home}/grant.sql",
    )  # fmt: skip
    _answers(port)
    cluster.start("slurmdbd", "slurmdbd", "-D")
    cluster.wait_for("Cluster", "sacctmgr", "list", "cluster")
    cluster.ask("sacctmgr", "--immediate", "add", "cluster", "loopback")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _appears(path: Path, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{path} did not appear within {seconds:g} s")
        time.sleep(0.05)


def _answers(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"nothing listens on port {port} after {seconds:g} s")
        time.sleep(0.2)


def _tail(path: Path, lines: int = 15) -> str:
    return "".join(f"{line}\n" for line in path.read_text(errors="replace").splitlines()[-lines:])


def main(command: Sequence[str]) -> int:
    """Run a command beside a cluster; ``--accounting`` before it starts the database too."""
    accounting = command[:1] == ["--accounting"]
    if not command[accounting:]:
        print("found no COMMAND; expected: python -m tests.executors.slurm_on_loopback [--accounting] COMMAND …")
        return 2
    with slurm(accounting) as cluster:
        return subprocess.run(command[accounting:], env=cluster.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
