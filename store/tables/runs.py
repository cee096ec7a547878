"""The runs themselves: what was asked, how far it is, what happened, and what the machine does."""

from typing import Any

from sqlalchemy import Column, Integer
from sqlmodel import Field, SQLModel

from store.tables import columns


class Run(SQLModel, table=True):
    """One execution of a plan, with all that is needed to repeat it."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    status: str = Field(default="queued", index=True)  # queued running paused finished failed cancelled
    request: str | None = None  # what a person asked of the worker: pause or cancel
    created: float
    started: float | None = None
    finished: float | None = None
    passed: bool | None = None
    error: str | None = None
    waiting: str | None = None  # what the worker waits for: a server that is down, a cost cap
    concurrency: int | None = None  # how many calls at once a person asked for while it runs
    deleted: float | None = None  # when a person put it away; it can be brought back
    phase: str | None = None
    plan: str
    plan_hash: str = Field(index=True)
    plan_folder: str
    plan_file: str
    options: dict[str, Any] | None = columns.json()  # --limit, --only: part of what was asked
    eval_set: str | None = Field(default=None, index=True)  # version: a hash of the content
    eval_set_file: str | None = None
    data_summary: dict[str, Any] | None = columns.json()
    seed: int = 0
    environment: dict[str, Any] | None = columns.json()
    worker_pid: int | None = None
    worker_host: str | None = None
    heartbeat: float | None = None
    log: str | None = None


class Progress(SQLModel, table=True):
    """How far one piece of work of a phase is; overwritten as it goes."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    phase: str = Field(primary_key=True)
    item: str = Field(primary_key=True)
    position: int = Field(sa_column=Column(Integer, nullable=False))
    done: int
    total: int
    unit: str
    tokens: int = 0  # written by a model or a judge
    prompt_tokens: int = 0  # read
    prompt_seconds: float = 0.0  # of `seconds`, spent reading prompts
    slots: int | None = None  # rows that can be under way at once: slots, or calls to a server
    busy: int | None = None  # of these, under way now
    cost: float | None = None  # US dollars
    resumed_from: int = 0  # finished before this worker started: not part of the rate
    started: float | None = None
    updated: float | None = None
    seconds: float = 0.0


class Vitals(SQLModel, table=True):
    """What the machine is doing now, one row a device; overwritten as it goes."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    device: str = Field(primary_key=True)
    utilisation: float | None = None  # 0 to 1
    memory_used: int | None = None  # bytes
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    updated: float


class Event(SQLModel, table=True):
    """Something worth telling that happened in a run: an error, a fallback, a resume."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    time: float
    level: str  # info warning error
    phase: str
    message: str
