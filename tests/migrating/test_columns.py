"""Which column is what: guessed by name and type, said by maps, found by foreign keys."""

import pytest

from reverie.migrating.columns import Column, Key, Plan, WrongMap, maps, planned


def text(name: str) -> Column:
    return Column(name, "text", "S")


ID = Column("id", "bigint", "N")
WHEN = Column("created_at", "timestamp with time zone", "D")


def plan(
    *columns: Column, keys: tuple[Key, ...] = (), mapped: dict[str, str] | None = None, **tables: list[Column]
) -> Plan:
    return planned("episodes", columns, keys, tables, mapped or {}, ["id"])


def test_common_names_are_known_by_name_and_type() -> None:
    found = plan(
        ID, text("body"), WHEN, text("Owner"), text("thread_id"), Column("tags", "text[]", "A"),
        Column("people", "jsonb", "U"), Column("embedding", "vector", "U"), Column("mood", "integer", "N"),
        Column("metadata", "jsonb", "U"), text("author"),
    )  # fmt: skip
    assert found.fields == {
        "id": "id", "content": "body", "happened_at": "created_at", "user": "Owner", "conversation": "thread_id",
        "topics": "tags", "participants": "people", "meta": "metadata", "speaker": "author",
    }  # fmt: skip
    assert (found.rest, found.left_out, found.unique) == (["mood"], ["embedding"], True)


def test_a_better_name_goes_first_and_the_type_has_to_fit() -> None:
    found = plan(
        ID, Column("content", "bytea", "U"), text("text"), WHEN, Column("occurred_at", "date", "D"), text("summary")
    )
    assert (found.fields["content"], found.fields["happened_at"]) == ("text", "occurred_at")
    assert found.rest == ["created_at", "summary"]


def test_an_id_of_another_name_is_known_by_being_unique() -> None:
    found = planned("episodes", [text("slug"), text("content")], (), {}, {}, ["slug"])
    assert found.fields["id"] == "slug"


def test_maps_go_before_guesses() -> None:
    found = plan(ID, text("content"), text("body"), text("secret"), mapped={"body": "content", "secret": "-"})
    assert found.fields["content"] == "body"
    assert (found.rest, found.left_out) == (["content"], ["secret"])


PEOPLE = [ID, text("email"), text("name")]
THROUGH = [Column("episode_id", "bigint", "N"), Column("person_id", "bigint", "N"), text("note")]
KEYS = (
    Key("episode_people", "episode_id", "episodes", "id"),
    Key("episode_people", "person_id", "people", "id"),
    Key("episode_tags", "episode_id", "episodes", "id"),
    Key("audit", "episode_id", "episodes", "id"),
)


def test_tables_beside_it_are_found_by_their_keys() -> None:
    found = plan(
        ID, text("content"), keys=KEYS, episode_people=THROUGH, people=PEOPLE,
        episode_tags=[Column("episode_id", "bigint", "N"), text("tag")], audit=[text("what")],
    )  # fmt: skip
    assert {name: [str(one) for one in several] for name, several in found.related.items()} == {
        "participants": ["people.name by episode_people"],
        "topics": ["episode_tags.tag"],
    }


def test_another_column_of_such_a_table_can_be_meant() -> None:
    found = plan(
        ID,
        text("content"),
        keys=KEYS,
        mapped={"episode_people.note": "participants"},
        episode_people=THROUGH,
        people=PEOPLE,
    )
    assert [str(one) for one in found.related["participants"]] == ["episode_people.note"]
    with pytest.raises(WrongMap, match="has no column colour; it has episode_id, person_id, note"):
        plan(ID, text("content"), keys=KEYS, mapped={"episode_people.colour": "topics"}, episode_people=THROUGH)


@pytest.mark.parametrize(
    ("mapped", "says"),
    [
        ({"body": "content"}, "episodes has no column body; it has id, content"),
        ({"content": "id", "id": "id"}, "content was given for id already"),
        ({"content": "-"}, "No column of episodes looks like content"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_columns_there_are(mapped: dict[str, str], says: str) -> None:
    with pytest.raises(WrongMap, match=says):
        plan(ID, text("content"), mapped=mapped)


def test_maps_are_read() -> None:
    assert maps(["a = content", "b.c=topics", "d=-"]) == {"a": "content", "b.c": "topics", "d": "-"}
    for wrong, says in (("content", "COLUMN=FIELD"), ("=id", "COLUMN=FIELD"), ("a=colour", "one of id, content")):
        with pytest.raises(WrongMap, match=says):
            maps([wrong])
