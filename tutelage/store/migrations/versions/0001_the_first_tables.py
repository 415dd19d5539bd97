"""The first tables, as they were; what came later is in the steps after this one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    make_people()
    make_pairs()
    make_the_queue()
    make_datasets_and_lineage()


def make_people() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", Json, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('rater', 'reviewer', 'admin')", name=op.f("ck_people_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("name", name=op.f("uq_people_name")),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("for_person", sa.String(length=32), nullable=True),
        sa.Column("created_by", sa.String(length=32), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_by", sa.String(length=32), nullable=True),
        sa.Column("accepted_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('rater', 'reviewer', 'admin')", name=op.f("ck_invitations_role")),
        sa.ForeignKeyConstraint(["accepted_by"], ["people.id"], name=op.f("fk_invitations_accepted_by")),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_invitations_created_by")),
        sa.ForeignKeyConstraint(["for_person"], ["people.id"], name=op.f("fk_invitations_for_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("csrf_hash", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sessions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_person_id"), "sessions", ["person_id"], unique=False)
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_api_tokens_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(op.f("ix_api_tokens_person_id"), "api_tokens", ["person_id"], unique=False)
    op.create_table(
        "sign_in_failures",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_failures")),
    )
    op.create_index(op.f("ix_sign_in_failures_name_at_ms"), "sign_in_failures", ["name", "at_ms"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_audit_log_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_subject_at_ms"), "audit_log", ["subject", "at_ms"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("request_key", sa.String(length=100), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", Json, nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_idempotency_person_id")),
        sa.PrimaryKeyConstraint("person_id", "request_key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_ms"), "idempotency", ["created_ms"], unique=False)


def make_pairs() -> None:
    op.create_table(
        "pairs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("licence", sa.String(length=100), nullable=False),
        sa.Column("meta", Json, nullable=False),
        sa.Column("import_id", sa.String(length=32), nullable=True),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('draft', 'submitted', 'returned', 'accepted', 'rejected')", name=op.f("ck_pairs_state")
        ),
        sa.ForeignKeyConstraint(["author_id"], ["people.id"], name=op.f("fk_pairs_author_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
    )
    op.create_index(op.f("ix_pairs_author_id_id"), "pairs", ["author_id", "id"], unique=False)
    op.create_index(op.f("ix_pairs_state_id"), "pairs", ["state", "id"], unique=False)
    op.create_index(
        op.f("ix_pairs_state_withdrawn_ms_author_id"), "pairs", ["state", "withdrawn_ms", "author_id"], unique=False
    )
    op.create_table(
        "pair_revisions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("pair_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("messages", Json, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("editor_id", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["editor_id"], ["people.id"], name=op.f("fk_pair_revisions_editor_id")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_revisions_pair_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair_revisions")),
        sa.UniqueConstraint("pair_id", "number", name=op.f("uq_pair_revisions_pair_id_number")),
    )
    op.create_index(op.f("ix_pair_revisions_content_hash"), "pair_revisions", ["content_hash"], unique=False)
    op.create_table(
        "pair_events",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("pair_id", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "action IN ('drafted', 'edited', 'submitted', 'accepted', 'returned', 'rejected', 'withdrawn', 'imported')",
            name=op.f("ck_pair_events_action"),
        ),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_events_pair_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_pair_events_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair_events")),
    )
    op.create_index(op.f("ix_pair_events_pair_id"), "pair_events", ["pair_id"], unique=False)
    op.create_index(op.f("ix_pair_events_person_id"), "pair_events", ["person_id"], unique=False)
    op.create_table(
        "pair_tags",
        sa.Column("pair_id", sa.String(length=32), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_tags_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", "tag", name=op.f("pk_pair_tags")),
    )
    op.create_index(op.f("ix_pair_tags_tag_pair_id"), "pair_tags", ["tag", "pair_id"], unique=False)
    op.create_table(
        "pair_signatures",
        sa.Column("pair_id", sa.String(length=32), nullable=False),
        sa.Column("band", sa.Integer(), nullable=False),
        sa.Column("signature", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_signatures_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", "band", name=op.f("pk_pair_signatures")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_pair_signatures_signature_pair_id"), "pair_signatures", ["signature", "pair_id"], unique=False
    )


def make_the_queue() -> None:
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("messages", Json, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("meta", Json, nullable=False),
        sa.Column("author_id", sa.String(length=32), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["people.id"], name=op.f("fk_prompts_author_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_prompts_content_hash")),
    )
    op.create_table(
        "answers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("sampling", Json, nullable=False),
        sa.Column("author_id", sa.String(length=32), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["people.id"], name=op.f("fk_answers_author_id")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_answers_prompt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answers")),
    )
    op.create_index(op.f("ix_answers_prompt_id"), "answers", ["prompt_id"], unique=False)
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("reasons", Json, nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("gold_frac", sa.Float(), nullable=False),
        sa.Column("repeat_frac", sa.Float(), nullable=False),
        sa.Column("lease_seconds", sa.Integer(), nullable=False),
        sa.Column("models", Json, nullable=False),
        sa.Column("sampling", Json, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.String(length=32), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('comparison', 'ranking', 'thumbs', 'rating')", name=op.f("ck_projects_kind")),
        sa.CheckConstraint("state IN ('open', 'paused', 'closed')", name=op.f("ck_projects_state")),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_projects_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "guidelines",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=32), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_guidelines_created_by")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_guidelines_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guidelines")),
        sa.UniqueConstraint("project_id", "version", name=op.f("uq_guidelines_project_id_version")),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("answer_ids", Json, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("num_wanted", sa.Integer(), nullable=False),
        sa.Column("num_done", sa.Integer(), nullable=False),
        sa.Column("is_gold", sa.Boolean(), nullable=False),
        sa.Column("gold_value", Json, nullable=True),
        sa.Column("selection_rule", sa.String(length=32), nullable=False),
        sa.Column("selection_probability", sa.Float(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'done', 'withdrawn')", name=op.f("ck_items_state")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_items_project_id")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_items_prompt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
    )
    op.create_index(op.f("ix_items_project_id_id"), "items", ["project_id", "id"], unique=False)
    op.create_index(op.f("ix_items_project_id_prompt_id"), "items", ["project_id", "prompt_id"], unique=False)
    op.create_index(op.f("ix_items_project_id_state_id"), "items", ["project_id", "state", "id"], unique=False)
    op.create_index(
        "ix_items_queue",
        "items",
        ["project_id", "state", "is_gold", sa.literal_column("priority DESC"), "id"],
        unique=False,
    )
    op.create_table(
        "item_authors",
        sa.Column("item_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_item_authors_item_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_item_authors_person_id")),
        sa.PrimaryKeyConstraint("item_id", "person_id", name=op.f("pk_item_authors")),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("item_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("displayed", Json, nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=True),
        sa.Column("leased_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("skip_reason", sa.Text(), nullable=True),
        sa.Column("draft", Json, nullable=True),
        sa.CheckConstraint("state IN ('leased', 'done', 'skipped')", name=op.f("ck_assignments_state")),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_assignments_item_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_assignments_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_assignments_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("item_id", "person_id", "round", name=op.f("uq_assignments_item_id_person_id_round")),
    )
    op.create_index(
        op.f("ix_assignments_item_id_state_expires_ms"), "assignments", ["item_id", "state", "expires_ms"], unique=False
    )
    op.create_index(
        op.f("ix_assignments_person_id_project_id_id"), "assignments", ["person_id", "project_id", "id"], unique=False
    )
    op.create_index(
        op.f("ix_assignments_person_id_project_id_state"),
        "assignments",
        ["person_id", "project_id", "state"],
        unique=False,
    )
    op.create_table(
        "labels",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("request_key", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=True),
        sa.Column("item_id", sa.String(length=32), nullable=True),
        sa.Column("assignment_id", sa.String(length=32), nullable=True),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("answer_ids", Json, nullable=False),
        sa.Column("displayed", Json, nullable=False),
        sa.Column("value", Json, nullable=False),
        sa.Column("reasons", Json, nullable=False),
        sa.Column("critique", sa.Text(), nullable=False),
        sa.Column("rewrite", sa.Text(), nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("is_gold", sa.Boolean(), nullable=False),
        sa.Column("supersedes", sa.String(length=32), nullable=True),
        sa.Column("superseded_ms", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("meta", Json, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('comparison', 'ranking', 'thumbs', 'rating')", name=op.f("ck_labels_kind")),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name=op.f("fk_labels_assignment_id")),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_labels_item_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_labels_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_labels_project_id")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_labels_prompt_id")),
        sa.ForeignKeyConstraint(["supersedes"], ["labels.id"], name=op.f("fk_labels_supersedes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("person_id", "request_key", name=op.f("uq_labels_person_id_request_key")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_labels_supersedes")),
    )
    op.create_index(op.f("ix_labels_item_id"), "labels", ["item_id"], unique=False)
    op.create_index(
        op.f("ix_labels_person_id_project_id_id"), "labels", ["person_id", "project_id", "id"], unique=False
    )
    op.create_index(op.f("ix_labels_project_id_id"), "labels", ["project_id", "id"], unique=False)
    op.create_index(op.f("ix_labels_prompt_id"), "labels", ["prompt_id"], unique=False)


def make_datasets_and_lineage() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=True),
        sa.Column("created_by", sa.String(length=32), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('pairs', 'labels')", name=op.f("ck_datasets_kind")),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_datasets_created_by")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_datasets_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("num_records", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("chosen_by", Json, nullable=False),
        sa.Column("created_by", sa.String(length=32), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_snapshots_created_by")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_snapshots_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_snapshots_dataset_id_number")),
    )
    op.create_table(
        "snapshot_records",
        sa.Column("snapshot_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("pair_revision_id", sa.String(length=32), nullable=True),
        sa.Column("label_id", sa.String(length=32), nullable=True),
        sa.Column("facts", Json, nullable=False),
        sa.ForeignKeyConstraint(["label_id"], ["labels.id"], name=op.f("fk_snapshot_records_label_id")),
        sa.ForeignKeyConstraint(
            ["pair_revision_id"], ["pair_revisions.id"], name=op.f("fk_snapshot_records_pair_revision_id")
        ),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_records_snapshot_id")),
        sa.PrimaryKeyConstraint("snapshot_id", "position", name=op.f("pk_snapshot_records")),
    )
    op.create_index(op.f("ix_snapshot_records_label_id"), "snapshot_records", ["label_id"], unique=False)
    op.create_index(
        op.f("ix_snapshot_records_pair_revision_id"), "snapshot_records", ["pair_revision_id"], unique=False
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("origin", Json, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
    )
    op.create_table(
        "model_inputs",
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("snapshot_id", sa.String(length=32), nullable=True),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_inputs_model_id")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name=op.f("fk_model_inputs_snapshot_id")),
        sa.PrimaryKeyConstraint("model_id", "role", "name", name=op.f("pk_model_inputs")),
    )
    op.create_index(op.f("ix_model_inputs_snapshot_id"), "model_inputs", ["snapshot_id"], unique=False)
    op.create_table(
        "imports",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("num_read", sa.Integer(), nullable=False),
        sa.Column("num_added", sa.Integer(), nullable=False),
        sa.Column("num_already", sa.Integer(), nullable=False),
        sa.Column("num_left_out", sa.Integer(), nullable=False),
        sa.Column("left_out", Json, nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_imports_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
