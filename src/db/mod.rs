//! The database: pool, migrations, and the embedded private cluster.
