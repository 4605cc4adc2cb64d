CREATE TABLE IF NOT EXISTS meta (
    epoch TEXT NOT NULL -- names this database in the cursors of the revocation feed
);
INSERT INTO meta (epoch) SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM meta);

CREATE TABLE IF NOT EXISTS signing_key (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    private_pem TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS users (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    username           TEXT NOT NULL UNIQUE,
    password_hash      TEXT NOT NULL,
    email              TEXT NOT NULL UNIQUE,
    user_type          TEXT NOT NULL,
    is_admin           INTEGER NOT NULL,
    client_id          INTEGER NOT NULL,
    client_name        TEXT NOT NULL,
    groups             TEXT NOT NULL, -- JSON
    role_params        TEXT,          -- JSON
    sso_entity         TEXT,
    federation_id      INTEGER,
    disabled           INTEGER NOT NULL DEFAULT 0,
    exp_before         INTEGER NOT NULL DEFAULT 0, -- tokens that expire before this are signed out
    refresh_exp_before INTEGER NOT NULL DEFAULT 0  -- the same for refresh tokens, which live longer
);

CREATE TABLE IF NOT EXISTS tokens (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     INTEGER NOT NULL REFERENCES users (id),
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    hash        TEXT NOT NULL,
    exp_date    INTEGER,
    created     INTEGER NOT NULL,
    last_usage  INTEGER,
    deleted     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS tokens_by_user ON tokens (user_id);
INSERT INTO sqlite_sequence (name, seq) SELECT 'tokens', 24125
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'tokens');

-- The revocation feed. AUTOINCREMENT: a sequence number is never used again, even after its row is gone.
CREATE TABLE IF NOT EXISTS feed (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL CHECK (kind IN ('jti', 'user', 'purge_user', 'purge_client', 'purge_token')),
    jti      TEXT,    -- of kind jti
    id       INTEGER, -- of the other kinds
    exp      INTEGER, -- the token's exp or the user's exp_before
    forget   INTEGER NOT NULL -- when the entry can be deleted
);
CREATE INDEX IF NOT EXISTS feed_by_jti ON feed (jti);
