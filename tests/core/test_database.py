"""Serving connections keep what DATABASE_URL asks for, beside what Reverie needs."""

import psycopg
from psycopg import sql

from reverie.core.config import Settings, load_settings
from reverie.core.database import Database


async def test_options_of_the_url_are_kept_and_ours_win(settings: Settings) -> None:
    asked = "options=-c%20work_mem%3D17MB%20-c%20role%3Dnone"
    assert settings.database_url is not None
    url = f"{settings.database_url}{'&' if '?' in settings.database_url else '?'}{asked}"
    database = Database(load_settings(database_url=url, database_pool_size=2))
    await database.open()
    try:
        async with database.reading(None) as session:
            found = await session.fetch_one(b"SELECT current_setting('work_mem'), current_user::text")
    finally:
        await database.close()
    assert found == ("17MB", "reverie_app")


async def test_a_limit_for_requests_ends_no_maintenance(settings: Settings) -> None:
    database = Database(settings)
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        await owner.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '50ms'").format(name))
    async with database.maintenance() as connection:
        await connection.execute("SELECT pg_sleep(0.2)")
