"""What Alembic runs for every command: on the connection of `storage.migrate`, in its transaction.

There is no alembic.ini and no address here: both would be a second place that says which database.
"""

from alembic import context

from testops.storage.migrate import OPTIONS

context.configure(connection=context.config.attributes["connection"], **OPTIONS)
context.run_migrations()
