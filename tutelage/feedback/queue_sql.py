"""The statements of the queue, built once: what may be handed out to whom, in which order.

The bind parameters are `person`, `project`, `now` and few more. Leaves out: when which of them is asked
(`tutelage.feedback.queue`).
"""

from __future__ import annotations

from sqlalchemy import BindParameter, and_, bindparam, exists, false, func, or_, select, true

from tutelage.store import schema

ITEMS, ASSIGNMENTS, AUTHORS = schema.items, schema.assignments, schema.item_authors
PERSON: BindParameter[str] = bindparam("person")
PROJECT: BindParameter[str] = bindparam("project")
NOW: BindParameter[int] = bindparam("now")
_others = ASSIGNMENTS.alias("others")
_mine = ASSIGNMENTS.alias("mine")

_num_leased = select(func.count()).where(
    _others.c.item_id == ITEMS.c.id, _others.c.state == "leased", _others.c.expires_ms > NOW, _others.c.round == 0
)
HAS_PLACE = ITEMS.c.num_done + _num_leased.correlate(ITEMS).scalar_subquery() < ITEMS.c.num_wanted
# Looked up item by item: as NOT EXISTS, PostgreSQL would read all tasks that the person ever had, each time.
_had = select(_mine.c.id).where(_mine.c.item_id == ITEMS.c.id, _mine.c.person_id == PERSON).limit(1)
WROTE = exists().where(AUTHORS.c.item_id == ITEMS.c.id, AUTHORS.c.person_id == PERSON).correlate(ITEMS)
MAY_JUDGE = and_(_had.correlate(ITEMS).scalar_subquery().is_(None), ~WROTE)
IN_ORDER = (
    select(ITEMS.c.id, ITEMS.c.answer_ids)
    .where(ITEMS.c.project_id == PROJECT, ITEMS.c.state == "open", MAY_JUDGE)
    .order_by(ITEMS.c.priority.desc(), ITEMS.c.id)
    .limit(1)
)
NEXT_GOLD = IN_ORDER.where(ITEMS.c.is_gold == true())
NEXT_OF_ALL = IN_ORDER.where(ITEMS.c.is_gold == false(), HAS_PLACE)
_priority: BindParameter[float] = bindparam("priority")
_place: BindParameter[str] = bindparam("place")
UP_TO = (
    NEXT_OF_ALL.where(ITEMS.c.priority > _priority),
    NEXT_OF_ALL.where(ITEMS.c.priority == _priority, ITEMS.c.id <= _place),
)
"""Those up to a place in the order: in two, since an index is no use to one condition that has both."""
BEHIND = (
    NEXT_OF_ALL.where(ITEMS.c.priority == _priority, ITEMS.c.id > _place),
    NEXT_OF_ALL.where(ITEMS.c.priority < _priority),
)
PLACE_LOOKED_TO = (
    select(ITEMS.c.priority, ITEMS.c.id.label("place"))
    .where(ITEMS.c.project_id == PROJECT, ITEMS.c.state == "open", ITEMS.c.is_gold == false())
    .order_by(ITEMS.c.priority.desc(), ITEMS.c.id)
    .offset(bindparam("num_before"))
    .limit(1)
)
LAST = (
    select(ITEMS.c.priority, ITEMS.c.id.label("place"))
    .join(ASSIGNMENTS, ASSIGNMENTS.c.item_id == ITEMS.c.id)
    .where(
        ASSIGNMENTS.c.person_id == PERSON,
        ASSIGNMENTS.c.project_id == PROJECT,
        ASSIGNMENTS.c.round == 0,
        ITEMS.c.is_gold == false(),
    )
    .order_by(ASSIGNMENTS.c.id.desc())
    .limit(1)
)

HELD = (
    select(
        ASSIGNMENTS,
        or_(ITEMS.c.is_gold, ASSIGNMENTS.c.round > 0, and_(ITEMS.c.state == "open", HAS_PLACE)).label("has_place"),
    )
    .join(ITEMS, ITEMS.c.id == ASSIGNMENTS.c.item_id)
    .where(
        ASSIGNMENTS.c.person_id == PERSON,
        ASSIGNMENTS.c.project_id == PROJECT,
        ASSIGNMENTS.c.state == "leased",
        ITEMS.c.state != "withdrawn",
    )
    .order_by(ASSIGNMENTS.c.expires_ms.desc())
)
NUM_TASKS = select(func.count()).where(ASSIGNMENTS.c.person_id == PERSON, ASSIGNMENTS.c.project_id == PROJECT)
FIRST_TIMES = and_(
    ASSIGNMENTS.c.person_id == PERSON,
    ASSIGNMENTS.c.project_id == PROJECT,
    ASSIGNMENTS.c.state == "done",
    ASSIGNMENTS.c.round == 0,
)
NUM_FIRST_TIMES = select(func.count()).where(FIRST_TIMES)
_long_ago = (
    select(ASSIGNMENTS.c.item_id)
    .where(FIRST_TIMES)
    .order_by(ASSIGNMENTS.c.finished_ms, ASSIGNMENTS.c.id)
    .limit(bindparam("num_long_ago"))
    .subquery()
)
TO_REPEAT = (
    select(ITEMS.c.id, ITEMS.c.answer_ids)
    .join(_long_ago, _long_ago.c.item_id == ITEMS.c.id)
    .where(
        ITEMS.c.is_gold == false(),
        ITEMS.c.state != "withdrawn",
        ~exists()
        .where(_mine.c.item_id == ITEMS.c.id, _mine.c.person_id == PERSON, _mine.c.round == 1)
        .correlate(ITEMS),
    )
    .limit(500)
)

NEWEST = (
    select(schema.guidelines.c.version, schema.guidelines.c.text)
    .where(schema.guidelines.c.project_id == PROJECT)
    .order_by(schema.guidelines.c.version.desc())
    .limit(1)
)
PROMPT = (
    select(schema.prompts.c.messages)
    .join(ITEMS, ITEMS.c.prompt_id == schema.prompts.c.id)
    .where(ITEMS.c.id == bindparam("item"))
)
ANSWERS = select(schema.answers.c.id, schema.answers.c.text).where(
    schema.answers.c.id.in_(bindparam("ids", expanding=True))
)
GUIDELINE = select(schema.guidelines.c.text).where(
    schema.guidelines.c.project_id == PROJECT, schema.guidelines.c.version == bindparam("version")
)
