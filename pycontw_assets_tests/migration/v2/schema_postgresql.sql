CREATE TABLE batches (
    batch_key VARCHAR NOT NULL,
    edition VARCHAR NOT NULL,
    partition_key VARCHAR NOT NULL,
    poll_id VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    campaign_name VARCHAR NOT NULL,
    send_at DOUBLE PRECISION,
    list_name VARCHAR,
    list_id VARCHAR,
    campaign_id VARCHAR,
    message_id VARCHAR,
    created_at DOUBLE PRECISION NOT NULL,
    campaign_intended_at DOUBLE PRECISION,
    send_intended_at DOUBLE PRECISION,
    accepted_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    remote_status VARCHAR,
    PRIMARY KEY (batch_key)
);
CREATE INDEX ix_batches_poll_id ON batches (poll_id);
CREATE TABLE editions (
    edition VARCHAR NOT NULL,
    begun VARCHAR NOT NULL,
    PRIMARY KEY (edition)
);
CREATE TABLE entitlements (
    partition_key VARCHAR NOT NULL,
    address_key VARCHAR(64) NOT NULL,
    edition VARCHAR NOT NULL,
    PRIMARY KEY (partition_key, address_key)
);
CREATE TABLE erased_attendees (
    partition_key VARCHAR NOT NULL,
    attendee_id BIGINT NOT NULL,
    PRIMARY KEY (partition_key, attendee_id)
);
CREATE TABLE events (
    event_id BIGINT NOT NULL,
    partition_key VARCHAR NOT NULL,
    edition VARCHAR NOT NULL,
    family VARCHAR NOT NULL,
    purged_at DOUBLE PRECISION,
    PRIMARY KEY (event_id),
    UNIQUE (partition_key)
);
CREATE TABLE grants (
    edition VARCHAR NOT NULL,
    address_key VARCHAR(64) NOT NULL,
    period INTEGER NOT NULL,
    partition_key VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    added_by_us BOOLEAN NOT NULL,
    intended_at DOUBLE PRECISION NOT NULL,
    granted_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    revoked_in VARCHAR,
    attempts INTEGER NOT NULL,
    retry_at DOUBLE PRECISION,
    PRIMARY KEY (edition, address_key, period)
);
CREATE INDEX ix_grants_revoked_in ON grants (revoked_in);
CREATE UNIQUE INDEX one_open_grant ON grants (edition, address_key) WHERE state <> 'revoked';
CREATE TABLE guest_list_state (
    id INTEGER NOT NULL,
    space_digest VARCHAR(64),
    size INTEGER,
    lacking INTEGER DEFAULT '0' NOT NULL,
    doubted_size INTEGER,
    doubted_in VARCHAR,
    PRIMARY KEY (id)
);
CREATE TABLE locks (
    name VARCHAR NOT NULL,
    partition_key VARCHAR NOT NULL,
    owner VARCHAR NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, partition_key)
);
CREATE TABLE members (
    partition_key VARCHAR NOT NULL,
    address_key VARCHAR(64) NOT NULL,
    profile_id VARCHAR,
    PRIMARY KEY (partition_key, address_key)
);
CREATE TABLE meta (
    name VARCHAR NOT NULL,
    value VARCHAR,
    PRIMARY KEY (name)
);
CREATE TABLE polls (
    partition_key VARCHAR NOT NULL,
    polled_at DOUBLE PRECISION NOT NULL,
    book_digest VARCHAR,
    known INTEGER NOT NULL,
    reread_count INTEGER NOT NULL,
    refresh_at DOUBLE PRECISION,
    content_digest VARCHAR NOT NULL,
    loaded_digest VARCHAR,
    problem VARCHAR,
    without_address INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (partition_key)
);
CREATE TABLE pool_lists (
    list_name VARCHAR NOT NULL,
    batch_key VARCHAR,
    released_at DOUBLE PRECISION,
    PRIMARY KEY (list_name),
    UNIQUE (batch_key)
);
CREATE TABLE problems (
    partition_key VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    cause VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    is_failure BOOLEAN NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (partition_key, subject, cause)
);
CREATE TABLE rate_slots (
    slot_id BIGSERIAL NOT NULL,
    name VARCHAR NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (slot_id)
);
CREATE INDEX rate_slots_by_time ON rate_slots (name, at);
CREATE TABLE remote_ids (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    remote_id VARCHAR,
    intended_at DOUBLE PRECISION,
    PRIMARY KEY (kind, name)
);
CREATE TABLE reports (
    name VARCHAR NOT NULL,
    day DATE NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE sales (
    edition VARCHAR NOT NULL,
    family VARCHAR NOT NULL,
    ticket VARCHAR NOT NULL,
    day DATE NOT NULL,
    sold INTEGER NOT NULL,
    usable INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    PRIMARY KEY (edition, family, ticket, day)
);
CREATE TABLE sent_alerts (
    cause VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    size INTEGER NOT NULL,
    raised_at DOUBLE PRECISION NOT NULL,
    sent_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (cause)
);
CREATE TABLE stale_events (
    partition_key VARCHAR NOT NULL,
    edition VARCHAR NOT NULL,
    PRIMARY KEY (partition_key)
);
CREATE TABLE unconfirmed_members (
    partition_key VARCHAR NOT NULL,
    address_key VARCHAR(64) NOT NULL,
    PRIMARY KEY (partition_key, address_key)
);
CREATE TABLE unreachable_attendees (
    partition_key VARCHAR NOT NULL,
    attendee_id BIGINT NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (partition_key, attendee_id)
);
CREATE TABLE unreachable_searches (
    partition_key VARCHAR NOT NULL,
    digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (partition_key)
);
CREATE TABLE waiting_events (
    partition_key VARCHAR NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (partition_key)
);
CREATE TABLE invitations (
    edition VARCHAR NOT NULL,
    address_key VARCHAR(64) NOT NULL,
    period INTEGER NOT NULL,
    batch_key VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR,
    profile_id VARCHAR,
    PRIMARY KEY (edition, address_key, period),
    FOREIGN KEY(batch_key) REFERENCES batches (batch_key)
);
CREATE INDEX ix_invitations_batch_key ON invitations (batch_key);
