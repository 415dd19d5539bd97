"""The tables of the workspace's record: people, pairs, verdicts, the queue, datasets, and where models came from.

Rows that say what somebody wrote or judged are only ever added: an edit of a pair is a new revision, a correction of a
label is a new label that supersedes the old one, a snapshot of a dataset never changes. Columns that do change are
states and counters. Every id is a text that sorts by time (`tutelage.store.ids`), every time is
whole milliseconds since 1970, UTC. SQLite and PostgreSQL hold the same tables.

Leaves out: what may be done with the rows and by whom (the other modules of this room, and `tutelage.feedback`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Json = JSON().with_variant(JSONB(), "postgresql")


def _id() -> Column[str]:
    return Column("id", String(32), primary_key=True)


def _to(name: str, target: str, *, nullable: bool = False, **more: Any) -> Column[str]:
    return Column(name, String(32), ForeignKey(f"{target}.id"), nullable=nullable, **more)


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", name=column)


def _index_where(name: str, condition: str, *columns: str) -> Index:
    """An index of the rows that meet a condition."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


_IN_FORCE = "superseded_ms IS NULL AND withdrawn_ms IS NULL"
RATERS = f"(assignment_id IS NOT NULL OR source <> '') AND {_IN_FORCE}"
"""Labels in force that came through the queue or from a file, as the index of them has it, word for word."""
DECISIONS = f"assignment_id IS NULL AND source = '' AND {_IN_FORCE}"
"""Labels in force that came neither way: of a project's items, a reviewer's decisions."""


# --- people -----------------------------------------------------------------------------------------------------------

settings = Table(
    "settings", metadata, Column("name", String(64), primary_key=True), Column("value", Json, nullable=False)
)
"""Facts of the workspace itself: its secret, when it was made."""

people = Table(
    "people",
    metadata,
    _id(),
    Column("name", String(200), nullable=False, unique=True),  # what others see and what one signs in with
    Column("role", String(16), nullable=False),
    Column("password_hash", Text),  # argon2; none until the person has set one
    Column("active", Boolean, nullable=False, default=True),
    _ms("created_ms"),
    _ms("withdrawn_ms", nullable=True),  # their work was taken out of every dataset made after this
    _one_of("role", "rater", "reviewer", "admin"),
)

invitations = Table(
    "invitations",
    metadata,
    _id(),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("note", String(200), nullable=False, default=""),
    _to("for_person", "people", nullable=True),  # somebody who is here already and is to set a password
    _to("created_by", "people"),
    _ms("created_ms"),
    _ms("expires_ms"),
    _to("accepted_by", "people", nullable=True),
    _ms("accepted_ms", nullable=True),
    _ms("revoked_ms", nullable=True),
    _one_of("role", "rater", "reviewer", "admin"),
)

sessions = Table(
    "sessions",
    metadata,
    _id(),
    _to("person_id", "people", index=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("csrf_hash", String(64), nullable=False),
    _ms("created_ms"),
    _ms("expires_ms"),
    _ms("revoked_ms", nullable=True),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    _id(),
    _to("person_id", "people", index=True),
    Column("name", String(200), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    _ms("created_ms"),
    _ms("expires_ms", nullable=True),
    _ms("last_used_ms", nullable=True),
    _ms("revoked_ms", nullable=True),
)

sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    _id(),
    Column("name", String(200), nullable=False),
    _ms("at_ms"),
    Index(None, "name", "at_ms"),
)
"""Failed attempts of late, so that guessing is slowed whichever worker is asked."""

audit_log = Table(
    "audit_log",
    metadata,
    _id(),
    _ms("at_ms"),
    _to("person_id", "people", nullable=True),
    Column("action", String(64), nullable=False),
    Column("subject", String(64), nullable=False, default=""),  # the id it was done to
    Column("detail", Json, nullable=False, default=dict),
    Index(None, "subject", "at_ms"),
)

idempotency = Table(
    "idempotency",
    metadata,
    _to("person_id", "people", primary_key=True),
    Column("request_key", String(100), primary_key=True),
    Column("request_hash", String(64), nullable=False),  # of what was asked, so that a key is not used for two things
    Column("answer", Json),
    _ms("created_ms"),
    Index(None, "created_ms"),
)
"""What the API answered to a request that makes something: asked again under the same key, it answers the same."""

# --- pairs ------------------------------------------------------------------------------------------------------------

pairs = Table(
    "pairs",
    metadata,
    _id(),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),  # the newest revision's number
    _to("author_id", "people"),
    Column("source", Text, nullable=False, default=""),  # where it comes from: a file and line, a page, "written here"
    Column("licence", String(100), nullable=False, default=""),
    Column("meta", Json, nullable=False, default=dict),  # what an imported record held besides
    Column("import_id", String(32)),  # the import that brought it, if one did
    Column("search", Text, nullable=False, default=""),  # the newest revision's words, normalised, for finding it
    _ms("created_ms"),
    _ms("changed_ms"),
    _ms("withdrawn_ms", nullable=True),
    _one_of("state", "draft", "submitted", "returned", "accepted", "rejected"),
    Index(None, "state", "id"),
    Index(None, "author_id", "id"),
    Index(None, "state", "withdrawn_ms", "author_id"),  # counts are read from it alone
)

pair_revisions = Table(
    "pair_revisions",
    metadata,
    _id(),
    _to("pair_id", "pairs"),
    Column("number", Integer, nullable=False),  # from 1
    Column(
        "messages", Json, nullable=False
    ),  # [{"role", "content"}], system first, ends with the assistant once submitted
    Column("content_hash", String(64), nullable=False, index=True),
    _to("editor_id", "people"),
    Column("note", Text, nullable=False, default=""),
    _ms("created_ms"),
    UniqueConstraint("pair_id", "number"),
)

pair_events = Table(
    "pair_events",
    metadata,
    _id(),
    _to("pair_id", "pairs", index=True),
    Column("revision", Integer, nullable=False),
    _to("person_id", "people", index=True),
    Column("action", String(16), nullable=False),
    Column("comment", Text, nullable=False, default=""),
    _ms("at_ms"),
    _one_of("action", "drafted", "edited", "submitted", "accepted", "returned", "rejected", "withdrawn", "imported"),
)

pair_tags = Table(
    "pair_tags",
    metadata,
    _to("pair_id", "pairs", primary_key=True),
    Column("tag", String(100), primary_key=True),
    Index(None, "tag", "pair_id"),
)

pair_signatures = Table(
    "pair_signatures",
    metadata,
    _to("pair_id", "pairs", primary_key=True),
    Column("band", Integer, primary_key=True),
    Column("signature", String(32), nullable=False),
    Index(None, "signature", "pair_id"),
    sqlite_with_rowid=False,  # a dozen rows a pair: each once, not once more in the table's own order
)
"""Bands of the MinHash of a pair's newest question: two pairs that share a band are candidates for near-duplicates."""

# --- what is judged ---------------------------------------------------------------------------------------------------

prompts = Table(
    "prompts",
    metadata,
    _id(),
    Column("messages", Json, nullable=False),  # ends with the user
    Column("content_hash", String(64), nullable=False, unique=True),
    Column("reference", Text),
    Column("meta", Json, nullable=False, default=dict),
    _to("author_id", "people", nullable=True),
    _ms("created_ms"),
)

answers = Table(
    "answers",
    metadata,
    _id(),
    _to("prompt_id", "prompts", index=True),
    Column("text", Text, nullable=False),
    Column(
        "model", String(200), nullable=False, default=""
    ),  # the workspace's or hub's name; empty where a person wrote it
    Column(
        "sampling", Json, nullable=False, default=dict
    ),  # temperature, top_p, max_new_tokens, seed, num_tokens, stopped
    _to("author_id", "people", nullable=True),  # the person who wrote it, where one did
    _ms("created_ms"),
)

projects = Table(
    "projects",
    metadata,
    _id(),
    Column("name", String(100), nullable=False, unique=True),  # `labels:NAME` for training
    Column("kind", String(16), nullable=False),
    Column("question", Text, nullable=False),  # what the rater is asked, e.g. "Which answer helps more?"
    Column("attributes", Json, nullable=False, default=list),  # of ratings: [{"name", "low", "high", "help"}]
    Column("reasons", Json, nullable=False, default=list),  # the reason tags on offer
    Column("overlap", Integer, nullable=False, default=1),  # labels wanted for each item
    Column("gold_frac", Float, nullable=False, default=0.0),
    Column("repeat_frac", Float, nullable=False, default=0.0),
    Column("lease_seconds", Integer, nullable=False, default=900),
    Column("models", Json, nullable=False, default=list),  # to sample answers from
    Column("sampling", Json, nullable=False, default=dict),
    Column("state", String(16), nullable=False, default="open"),
    _to("created_by", "people"),
    _ms("created_ms"),
    _one_of("kind", "comparison", "ranking", "thumbs", "rating"),
    _one_of("state", "open", "paused", "closed"),
)

guidelines = Table(
    "guidelines",
    metadata,
    _id(),
    _to("project_id", "projects"),
    Column("version", Integer, nullable=False),  # from 1
    Column("text", Text, nullable=False),  # markdown
    Column("note", Text, nullable=False, default=""),  # what is new in this version
    _to("created_by", "people"),
    _ms("created_ms"),
    UniqueConstraint("project_id", "version"),
)

items = Table(
    "items",
    metadata,
    _id(),
    _to("project_id", "projects"),
    _to("prompt_id", "prompts"),
    Column("answer_ids", Json, nullable=False),  # in their canonical order, which no rater sees
    Column("state", String(16), nullable=False, default="open"),
    Column("priority", Float, nullable=False, default=0.0),  # larger = sooner
    Column("num_wanted", Integer, nullable=False),
    Column("num_done", Integer, nullable=False, default=0),
    Column("is_gold", Boolean, nullable=False, default=False),
    Column("gold_value", Json),  # the verdict a gold item should get
    Column("selection_rule", String(32), nullable=False, default="all"),
    Column("selection_probability", Float),  # that the rule in force chose this item; None where it took every one
    _ms("created_ms"),
    _one_of("state", "open", "done", "withdrawn"),
    Index("ix_items_queue", "project_id", "state", "is_gold", text("priority DESC"), "id"),  # the order of the queue
    Index(None, "project_id", "prompt_id"),
    Index(None, "project_id", "id"),
    Index(None, "project_id", "state", "id"),
)

item_authors = Table(
    "item_authors",
    metadata,
    _to("item_id", "items", primary_key=True),
    _to("person_id", "people", primary_key=True),
)
"""Who wrote the prompt or one of the answers of an item, and so may not judge it."""

assignments = Table(
    "assignments",
    metadata,
    _id(),
    _to("project_id", "projects"),
    _to("item_id", "items"),
    _to("person_id", "people"),
    Column("round", Integer, nullable=False, default=0),  # 0, and 1 for the quiet repeat that measures self-agreement
    Column("state", String(16), nullable=False),
    Column("displayed", Json, nullable=False),  # answer ids in the order they are shown
    Column("guideline_version", Integer),  # the one shown
    _ms("leased_ms"),
    _ms("expires_ms"),
    _ms("finished_ms", nullable=True),
    Column("skip_reason", Text),
    Column("draft", Json),  # what the rater has entered so far
    UniqueConstraint("item_id", "person_id", "round"),
    Index(None, "person_id", "project_id", "state"),
    Index(None, "person_id", "project_id", "id"),
    Index(None, "item_id", "state", "expires_ms"),
    _index_where("ix_assignments_skipped", "state = 'skipped'", "project_id", "person_id"),
    _one_of("state", "leased", "done", "skipped"),
)

labels = Table(
    "labels",
    metadata,
    _id(),
    _to("person_id", "people"),
    Column(
        "request_key", String(100), nullable=False
    ),  # the submitter's own name for the submit: said twice, stored once
    Column("kind", String(16), nullable=False),
    _to("project_id", "projects", nullable=True),
    _to("item_id", "items", nullable=True, index=True),
    _to("assignment_id", "assignments", nullable=True),
    _to("prompt_id", "prompts", index=True),
    Column("answer_ids", Json, nullable=False),  # canonical order; `value` counts in it
    Column("displayed", Json, nullable=False),  # answer ids in the order the rater saw them
    Column("value", Json, nullable=False),  # by kind, see `tutelage.store.labels`
    Column("reasons", Json, nullable=False, default=list),
    Column("critique", Text, nullable=False, default=""),
    Column("rewrite", Text, nullable=False, default=""),
    Column("guideline_version", Integer),
    Column("seconds", Float),  # from shown to submitted
    Column("round", Integer, nullable=False, default=0),
    Column("is_gold", Boolean, nullable=False, default=False),
    Column("supersedes", String(32), ForeignKey("labels.id"), unique=True),
    Column("superseded_ms", BigInteger),  # when a newer one took its place
    Column("source", Text, nullable=False, default=""),  # of an imported label: file and line
    Column("meta", Json, nullable=False, default=dict),
    _ms("created_ms"),
    _ms("withdrawn_ms", nullable=True),
    UniqueConstraint("person_id", "request_key"),
    Index(None, "project_id", "id"),
    Index(None, "person_id", "project_id", "id"),
    _index_where("ix_labels_raters", RATERS, "project_id", "person_id", "guideline_version"),  # counted from alone
    _index_where("ix_labels_decisions", DECISIONS, "project_id", "item_id"),
    _one_of("kind", "comparison", "ranking", "thumbs", "rating"),
)

# --- datasets and lineage ---------------------------------------------------------------------------------------------

datasets = Table(
    "datasets",
    metadata,
    _id(),
    Column("name", String(100), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    _to("project_id", "projects", nullable=True),  # of labels: the project they come from
    _to("created_by", "people", nullable=True),
    _ms("created_ms"),
    _one_of("kind", "pairs", "labels"),
)

snapshots = Table(
    "snapshots",
    metadata,
    _id(),
    _to("dataset_id", "datasets"),
    Column("number", Integer, nullable=False),  # from 1: NAME@1
    Column("content_hash", String(64), nullable=False),  # of the records as they are written for training
    Column("num_records", Integer, nullable=False),
    Column("why", Text, nullable=False, default=""),
    Column("chosen_by", Json, nullable=False, default=dict),  # the states, tags and sources that were asked for
    _to("created_by", "people", nullable=True),
    _ms("created_ms"),
    UniqueConstraint("dataset_id", "number"),
)

snapshot_records = Table(
    "snapshot_records",
    metadata,
    _to("snapshot_id", "snapshots", primary_key=True),
    Column("position", Integer, primary_key=True),
    _to("pair_revision_id", "pair_revisions", nullable=True, index=True),
    _to("label_id", "labels", nullable=True, index=True),
    Column("facts", Json, nullable=False, default=dict),  # what may change later and is kept as it was: tags, names
)

models = Table(
    "models",
    metadata,
    _id(),
    Column("name", String(200), nullable=False, unique=True),
    Column(
        "method", String(64), nullable=False, default=""
    ),  # "sft", "reward", "ppo" …; empty for what nobody here trained
    Column("run", String(200), nullable=False, default=""),  # the run's folder, which holds its whole config
    Column("origin", Json, nullable=False, default=dict),
    _ms("created_ms"),
)

model_inputs = Table(
    "model_inputs",
    metadata,
    _to("model_id", "models", primary_key=True),
    Column("role", String(32), primary_key=True),  # base, data, reference, reward, critic, teacher, prompts, ptx …
    Column("name", String(300), primary_key=True),  # a model's name, NAME@3, or a file
    _to("snapshot_id", "snapshots", nullable=True, index=True),
    Column("content_hash", String(64), nullable=False, default=""),
)

imports = Table(
    "imports",
    metadata,
    _id(),
    Column("file", Text, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("kind", String(16), nullable=False, default=""),  # pairs, labels, prompts; empty where the file held several
    Column("format", String(32), nullable=False, default=""),
    Column("num_read", Integer, nullable=False),  # = added + there already + left out, once it is finished
    Column("num_added", Integer, nullable=False),
    Column("num_already", Integer, nullable=False, default=0),
    Column("num_left_out", Integer, nullable=False, default=0),
    Column("left_out", Json, nullable=False, default=list),  # [{"line", "record", "field", "code", "problem"}]
    _to("person_id", "people"),
    _ms("at_ms"),
    _ms("finished_ms", nullable=True),  # none while it runs, and where it was interrupted
)
