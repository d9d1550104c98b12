"""Whether the process of this container does its work: `health.py api` or `health.py worker`; exit code 0 or 1."""

import http.client
import os
import sys

API_PORT = 8000
SECONDS = 5
SWEPT = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE application_name = 'reverie' AND datname = current_database()
          AND client_addr IS NOT DISTINCT FROM inet_client_addr()
          AND state_change > now() - interval '2 minutes'
    )
"""
"""The worker sweeps every few seconds, whatever else it does, so a connection from this address was used just now."""


def api(port: int) -> str | None:
    """What is wrong with the API of this container, None when it serves."""
    connection = http.client.HTTPConnection("localhost", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        said = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return f"The API does not answer: {error}"
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.OK else said


def worker(database_url: str) -> str | None:
    """What is wrong with the worker of this container, None when it works."""
    import psycopg

    plain = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        with psycopg.connect(plain, application_name="reverie-health", connect_timeout=SECONDS) as connection:
            row = connection.execute(SWEPT).fetchone()
    except psycopg.Error as error:
        return f"PostgreSQL does not let us in: {error}"
    return None if row and row[0] else "The worker has asked PostgreSQL nothing for two minutes."


def main(arguments: list[str]) -> str | int | None:
    """The message to end with, or None when all is well."""
    if arguments == ["api"]:
        return api(int(os.environ.get("REVERIE_PORT") or API_PORT))
    if arguments == ["worker"]:
        return worker(os.environ["DATABASE_URL"])
    return "Usage: health.py api | worker"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
